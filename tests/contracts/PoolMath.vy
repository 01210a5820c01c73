# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Pool maths
@license AGPL-3.0-only
@author Perpool
@notice A pool's ledger without the pool, and the internal functions of interest and liquidation, for tests to call.
@dev Deployed as a pool is, by whoever answers `pool_config`.
"""
from interfaces import IPool
from contracts.modules import accounts
from contracts.modules import ledger
from contracts.modules import liquidation
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import rate_model
from contracts.modules import supply

initializes: market
initializes: accounts
initializes: ledger[market := market]
initializes: supply[accounts := accounts, ledger := ledger, market := market]

exports: (supply.state, supply.accrued_state)


@deploy
def __init__():
    market.__init__()
    # the token's funding is what borrowers of USDT against it collect while it is positive
    direction: int256 = -1
    if market.CONFIG.collateral == market.CONFIG.funding_token:
        direction = 1
    ledger.__init__(direction)


@external
def put(state: IPool.State):
    """
    @notice Set all totals. What follows from others, and the last three, are not looked at.
    """
    clock: uint256 = packing._with_flags(state.updated_at, state.flags)
    ledger._store(
        ledger.Totals(
            cash=state.cash,
            debt_assets=state.debt_assets,
            debt_shares=state.debt_shares,
            clock=packing._with_funding(clock, state.funding_time, state.funding_wad),
            borrow_rate=0,
            interest=0,
        )
    )
    supply.supply_word = packing._pack_halves(state.charged_assets, state.supply_shares)
    accounts.shares_of[self] = state.reserve_shares


@external
def charge():
    """
    @notice The fee becomes shares of the reserve.
    """
    supply._store(supply._charge(supply._claims_of(ledger._load())))


@external
@view
def virtual_shares() -> uint256:
    return market.CONFIG.virtual_shares


@external
@view
def to_shares(assets: uint256) -> (uint256, uint256):
    """
    @notice Rounded down and up, of the totals as stored.
    """
    claims: supply.Claims = supply._claims_of(ledger._load())
    return supply._to_shares_down(claims, assets), supply._to_shares_up(claims, assets)


@external
@view
def to_assets(shares: uint256) -> (uint256, uint256):
    """
    @notice Rounded down and up, of the totals as stored.
    """
    claims: supply.Claims = supply._claims_of(ledger._load())
    return supply._to_assets_down(claims, shares), supply._to_assets_up(claims, shares)


@external
@view
def owed(debt_shares: uint256) -> uint256:
    totals: ledger.Totals = ledger._load()
    return ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)


@external
@view
def debt_shares_up(assets: uint256) -> uint256:
    totals: ledger.Totals = ledger._load()
    return ledger._debt_shares_up(assets, totals.debt_assets, totals.debt_shares)


@external
@view
def shares_repaid(assets: uint256, debt_shares: uint256) -> uint256:
    """
    @param assets At most what the shares owe.
    """
    totals: ledger.Totals = ledger._load()
    debt: uint256 = ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
    return ledger._shares_repaid(assets, debt, debt_shares, totals.debt_assets, totals.debt_shares)


@external
def write_off(debt_shares: uint256):
    """
    @notice Realise bad debt.
    """
    ledger._store(supply._write_off(ledger._load(), msg.sender, debt_shares))


@external
@pure
def base_rate(leg: IPool.LegParameters, debt: uint256, assets: uint256) -> uint256:
    return rate_model._base_rate(leg, debt, assets)


@external
@pure
def premium(pass_through: uint256, directed_funding: int256) -> uint256:
    return rate_model._premium(pass_through, directed_funding)


@external
@pure
def interest(debt: uint256, rate: uint256, elapsed: uint256) -> uint256:
    return rate_model._interest(debt, rate, elapsed)


@external
@pure
def terms(
    leg: IPool.LegParameters, debt_value: uint256, collateral_value: uint256, dust_value: uint256
) -> (uint256, uint256, bool):
    """
    @notice See `liquidation`.
    """
    return liquidation._terms(leg, debt_value, collateral_value, dust_value)
