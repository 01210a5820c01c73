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
from contracts.modules import ledger
from contracts.modules import liquidation
from contracts.modules import market
from contracts.modules import rate_model

initializes: market
initializes: ledger[market := market]

exports: (ledger.state, ledger.accrued_state)


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
    @notice Set all totals.
    """
    ledger._store(state)


@external
@view
def virtual_shares() -> uint256:
    return market.VIRTUAL_SHARES


@external
@view
def to_shares(assets: uint256) -> (uint256, uint256):
    """
    @notice Rounded down and up, of the totals as stored.
    """
    state: IPool.State = ledger._load()
    return ledger._to_shares_down(state, assets), ledger._to_shares_up(state, assets)


@external
@view
def to_assets(shares: uint256) -> (uint256, uint256):
    """
    @notice Rounded down and up, of the totals as stored.
    """
    state: IPool.State = ledger._load()
    return ledger._to_assets_down(state, shares), ledger._to_assets_up(state, shares)


@external
@view
def owed(debt_shares: uint256) -> uint256:
    state: IPool.State = ledger._load()
    return ledger._owed(debt_shares, state.debt_assets, state.debt_shares)


@external
@view
def debt_shares_up(assets: uint256) -> uint256:
    state: IPool.State = ledger._load()
    return ledger._debt_shares_up(assets, state.debt_assets, state.debt_shares)


@external
@view
def shares_repaid(assets: uint256, debt_shares: uint256) -> uint256:
    """
    @param assets At most what the shares owe.
    """
    state: IPool.State = ledger._load()
    debt: uint256 = ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
    return ledger._shares_repaid(assets, debt, debt_shares, state.debt_assets, state.debt_shares)


@external
def write_off(debt_shares: uint256):
    """
    @notice Realise bad debt.
    """
    ledger._store(ledger._write_off(ledger._load(), msg.sender, debt_shares))


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
