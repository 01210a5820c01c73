# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Positions of the reverse pool
@license AGPL-3.0-only
@notice Collateral in tokens and debt shares, one word an account (`packing` halves); what new risk is held to.
"""
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import hooks
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import tokens
from contracts.modules import wad_math
from interfaces import ICallbacks
from interfaces import IHook
from interfaces import IPool
from interfaces import IPriceOracle

uses: accounts
uses: hooks
uses: ledger
uses: market

PRICE_SCALE: constant(uint256) = 10**36
CALM_VOLATILITY: constant(uint256) = 10**18
STRESSED_VOLATILITY: constant(uint256) = 2 * 10**18

# on the pool's balance of tokens
collateral_cap: uint256


@external
@view
@reentrant
def position(account: address) -> (uint256, uint256):
    """
    @notice (token collateral, debt shares)
    """
    return self._position(account)


@external
@view
@reentrant
def debt_shares_of(account: address) -> uint256:
    return accounts._debt_shares(account)


@external
@view
def debt_of(account: address) -> uint256:
    """
    @notice What the account owes as of now, rounded up.
    """
    totals: ledger.Totals = ledger._peek()
    return ledger._owed(accounts._debt_shares(account), totals.debt_assets, totals.debt_shares)


@external
@view
def borrow_ltv() -> uint256:
    """
    @notice The LTV that new debt is held to at the volatility of now.
    """
    return self._borrow_ltv(staticcall IPriceOracle(market.CONFIG.price_oracle).volatility())


@internal
@view
def _position(account: address) -> (uint256, uint256):
    word: uint256 = accounts.position_word[account]
    return (word & packing.MAX_UINT128), (word >> 128)


@internal
def _set_position(account: address, collateral: uint256, debt_shares: uint256):
    accounts.position_word[account] = packing._pack_halves(collateral, debt_shares)


@internal
def _settle(totals: ledger.Totals, account: address, collateral: uint256, debt_shares: uint256):
    """
    @notice Stores the totals and a position whose debt changed, and tells the hook.
    """
    ledger._store(totals)
    self._set_position(account, collateral, debt_shares)
    if packing._clock_flags(totals.clock) & packing.HOOK_FLAG != 0:
        hooks._tell(totals.clock, account, IHook.Side.BORROWERS, debt_shares)


@internal
def _exchange(
    account: address, collateral_out: uint256, receiver: address, repaid: uint256, data: Bytes[1024]
):
    """
    @notice Collateral out, the caller's `on_collateral` where there is data, repayment in.
    """
    tokens._push(market.CONFIG.collateral, receiver, collateral_out)
    if len(data) > 0:
        extcall ICallbacks(msg.sender).on_collateral(account, repaid, collateral_out, data)
    tokens._pull_due(market.CONFIG.asset, repaid)


@internal
@view
def _check_new_risk(collateral: uint256, debt: uint256):
    lower: uint256 = 0
    upper: uint256 = 0
    volatility: uint256 = 0
    lower, upper, volatility = staticcall IPriceOracle(
        market.CONFIG.price_oracle
    ).price_bounds_and_volatility()
    value: uint256 = wad_math._mul_div_down(collateral, lower, PRICE_SCALE)
    if debt > wad_math._share_of_down(value, self._borrow_ltv(volatility)):
        errors._unhealthy()


@internal
@view
def _borrow_ltv(volatility: uint256) -> uint256:
    """
    @notice max_ltv up to 100 % a year, falling linearly to stressed_ltv at 200 %.
    """
    leg: IPool.LegParameters = market.CONFIG.leg
    if volatility <= CALM_VOLATILITY:
        return leg.max_ltv
    if volatility >= STRESSED_VOLATILITY:
        return leg.stressed_ltv
    return leg.max_ltv - wad_math._share_of_up(
        leg.max_ltv - leg.stressed_ltv, volatility - CALM_VOLATILITY
    )
