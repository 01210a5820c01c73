# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What can be read of a perp venue
@license AGPL-3.0-only
@author Perpool
@notice As of now, funding accrued.
"""

from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import funding
from contracts.modules.perp import positions
from contracts.modules.perp import requests
from contracts.modules.perp import terms
from contracts.modules.perp import trading
from interfaces import IPerpMarket
from interfaces import IPerpVenue

uses: books
uses: funding
uses: requests
uses: terms

WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86400
PRICE_SCALE: constant(uint256) = 10**36


@external
@view
def funding_rate() -> int256:
    """
    @notice WAD a year that accrues from the next call on, positive is paid by longs to shorts.
    """
    return funding._rate()[0]


@external
@view
def state() -> IPerpMarket.State:
    return books.state_


@external
@view
def accrued_state() -> IPerpMarket.State:
    return self._accrued()


@external
@view
def free_liquidity() -> (uint256, uint256):
    """
    @notice (USDT that no position can claim, what of it a horizon of funding needs)
    """
    state: IPerpMarket.State = self._accrued()
    return convert(books._free(state), uint256), funding._horizon(state, state.mark_e36)


@external
@view
def position(account: address) -> IPerpVenue.Position:
    held: books.Position = books.positions[account]
    pending: uint256 = 0
    escrow: uint256 = 0
    pending, escrow = requests._escrow(account)
    return IPerpVenue.Position(
        size=held.size,
        entry_notional=held.entry_notional,
        margin=held.margin,
        funding=funding._owed(self._accrued(), held),
        pending=pending,
        escrow=escrow,
        credit=books.credit_of[account],
    )


@external
@view
def equity(account: address) -> int256:
    """
    @notice Margin, accrued funding and unrealised profit or loss at mark.
    """
    held: books.Position = books.positions[account]
    state: IPerpMarket.State = funding._accrue(books.state_, terms._mark())
    return funding._owed(state, held) + positions._equity(held, state.mark_e36)


@external
@view
def pnl(account: address) -> int256:
    """
    @notice Unrealised profit or loss at mark.
    """
    return positions._pnl(books.positions[account], terms._mark())


@external
@view
def largest_gain(account: address) -> uint256:
    """
    @notice The most that a position can still gain.
    """
    return positions._largest_gain(books.positions[account])


@external
@view
def liquidation_price(account: address) -> uint256:
    """
    @notice Mark beyond which the position may be liquidated: a short above it, a long below it; 0 for none. From
                size * p * (1 - maintenance) = entry - margin - funding    for a long
                size * p * (1 + maintenance) = entry + margin + funding    for a short
            Rounded towards the entry, so that it may come too early by a unit of USDT of notional. A long whose profit
            has reached its largest may be liquidated far above, where the margin it needs has outgrown its equity.
    """
    held: books.Position = books.positions[account]
    if held.size == 0:
        return 0
    size: uint256 = convert(abs(held.size), uint256)
    entry: int256 = convert(held.entry_notional, int256)
    margin: int256 = convert(held.margin, int256) + funding._owed(self._accrued(), held)
    maintenance: uint256 = terms.PARAMETERS.maintenance_margin
    if held.size < 0:
        # at least 1: one that owes more than it sold for may be liquidated at any price
        backing: uint256 = convert(max(entry + margin, 0), uint256)
        bare: uint256 = wad_math._mul_div_down(backing, PRICE_SCALE, size)
        return max(wad_math._mul_div_down(bare, WAD, WAD + maintenance), 1)
    if entry <= margin:
        return 0
    owed: uint256 = wad_math._mul_div_up(convert(entry - margin, uint256), PRICE_SCALE, size)
    return wad_math._mul_div_up(owed, WAD, WAD - maintenance)


@external
@view
def room() -> (uint256, uint256):
    """
    @notice Tokens by which an account could go shorter and longer now, before anything of its own. A token more locks its
            price, or `largest_long_gain` of it, and asks for a horizon of funding where its side receives; and the
            sides may differ by no more than the cap or than they do already. (0, 0) where there is no price.
    """
    mark: uint256 = terms._mark_or(0)
    low: uint256 = 0
    high: uint256 = 0
    low, high = terms._bounds_or_none()
    if mark == 0 or low == 0:
        return 0, 0
    state: IPerpMarket.State = funding._accrue(books.state_, mark)
    spare: int256 = books._free(state) - convert(funding._horizon(state, mark), int256)
    if spare <= 0:
        return 0, 0
    free: uint256 = convert(spare, uint256)
    horizon_wad: uint256 = wad_math._mul_div_up(
        convert(abs(state.rate_wad), uint256), terms.PARAMETERS.adl_horizon, YEAR
    )
    short_wad: uint256 = WAD
    long_wad: uint256 = terms.PARAMETERS.largest_long_gain
    if state.rate_wad > 0:
        short_wad += horizon_wad
    else:
        long_wad += horizon_wad
    cap: uint256 = max(
        wad_math._mul_div_down(terms.PARAMETERS.exposure_cap, PRICE_SCALE, mark),
        trading._skew(state),
    )
    shorter: uint256 = self._beyond(cap, state.long_size, state.short_size)
    longer: uint256 = self._beyond(cap, state.short_size, state.long_size)
    return (
        min(shorter, self._sizes_for(free, short_wad, mark)),
        min(longer, self._sizes_for(free, long_wad, max(high, mark))),
    )


@internal
@view
def _accrued() -> IPerpMarket.State:
    state: IPerpMarket.State = books.state_
    return funding._accrue(state, terms._mark_or(state.mark_e36))


@internal
@pure
def _beyond(cap: uint256, against: uint256, along: uint256) -> uint256:
    """
    @notice How far one side may grow until it is larger than the other by the cap.
    """
    limit: uint256 = against + cap
    return limit - along if limit > along else 0


@internal
@pure
def _sizes_for(free: uint256, locked_wad: uint256, price: uint256) -> uint256:
    """
    @return Tokens, rounded down with three units of USDT kept for what rounding up takes.
    """
    notional: uint256 = wad_math._mul_div_down(free, WAD, locked_wad)
    if notional <= 3:
        return 0
    return wad_math._mul_div_down(notional - 3, PRICE_SCALE, price)
