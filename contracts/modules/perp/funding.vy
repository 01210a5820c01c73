# pragma version 0.4.3
"""
@title Funding between the sides of a perp market
@license AGPL-3.0-only
@author Perpool
@notice Two indices in USDT a token that only rise: what longs have paid to shorts since the beginning, and what shorts
        have paid to longs. A position receives by one and pays by the other,
            size * |rate| * mark * time / year
        The liquidity pool stands between the sides. What receivers get is locked as it accrues, and is never more than
        is free: beyond that the index rises less, for both sides. What payers owe comes in as they are settled.

        A rate holds from the call that found it to the next one, and no longer than its round is good for: nobody is
        charged for the past by a round that comes in now. Where there is no fresh price the last mark seen is
        accrued with: stopping exits for a price, or not charging for the time without one, would be worse.
@dev ROUNDING. Indices and what is received down, what is paid and what is locked up; the difference stays with the
     liquidity pool. `receipts_e36` and `dues_e36` are exact: they rise by the whole size of a side, and fall by the size
     of whoever is settled.
"""

from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import positions
from contracts.modules.perp import terms
from interfaces import IFundingOracle
from interfaces import IPerpMarket

uses: terms

WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86400
PRICE_SCALE: constant(uint256) = 10**36
# 10,000 % a year; with it a rate times any price fits a word
LARGEST_RATE: constant(int256) = 100 * 10**18


@internal
@view
def _accrue(before: IPerpMarket.State, mark: uint256) -> IPerpMarket.State:
    """
    @notice The state as of now, with what the funding oracle says now for the time to come.
    """
    state: IPerpMarket.State = before
    until: uint256 = min(block.timestamp, before.rate_until)
    if until > before.accrued_at and before.rate_wad != 0:
        state = self._move_indices(before, mark, until - before.accrued_at)
    rate: int256 = 0
    rate_until: uint256 = 0
    rate, rate_until = self._rate()
    state.rate_wad = rate
    state.rate_until = rate_until
    state.mark_e36 = mark
    state.accrued_at = block.timestamp
    return state


@internal
@view
def _move_indices(before: IPerpMarket.State, mark: uint256, elapsed: uint256) -> IPerpMarket.State:
    state: IPerpMarket.State = before
    shorts_receive: bool = before.rate_wad > 0
    receiving: uint256 = before.short_size if shorts_receive else before.long_size
    paying: uint256 = before.long_size if shorts_receive else before.short_size
    rate: uint256 = convert(abs(before.rate_wad), uint256)
    delta: uint256 = wad_math._share_of_down(mark, rate)
    delta = wad_math._mul_div_down(delta, elapsed, YEAR)
    if receiving > 0:
        # what is stored is never negative
        free: uint256 = convert(books._free(before), uint256)
        delta = min(delta, wad_math._mul_div_down(free, PRICE_SCALE, receiving))
    if shorts_receive:
        state.positive_e36 += delta
    else:
        state.negative_e36 += delta
    state.receipts_e36 += receiving * delta
    state.dues_e36 += paying * delta
    return state


@internal
@view
def _settle(before: books.Books) -> (books.Books, int256):
    """
    @notice Moves what has accrued to a position into its margin, or charges it.
    @return The books, and what was received (positive) or paid.
    """
    after: books.Books = before
    receipt: uint256 = 0
    due: uint256 = 0
    receipt, due = self._accrued_e36(before.state, before.position)
    after.state.receipts_e36 -= receipt
    after.state.dues_e36 -= due
    after.position.positive_e36 = before.state.positive_e36
    after.position.negative_e36 = before.state.negative_e36
    funding: int256 = self._net(receipt, due)
    if funding < 0:
        return positions._charge(after, convert(-funding, uint256)), funding
    received: uint256 = convert(funding, uint256)
    after.state.liquidity -= received
    return positions._add_margin(after, received), funding


@internal
@view
def _owed(state: IPerpMarket.State, position: books.Position) -> int256:
    """
    @notice What `_settle` would move.
    """
    receipt: uint256 = 0
    due: uint256 = 0
    receipt, due = self._accrued_e36(state, position)
    return self._net(receipt, due)


@internal
@pure
def _accrued_e36(state: IPerpMarket.State, position: books.Position) -> (uint256, uint256):
    """
    @return What a position receives and what it pays, times 1e36.
    """
    size: uint256 = convert(abs(position.size), uint256)
    positive: uint256 = size * (state.positive_e36 - position.positive_e36)
    negative: uint256 = size * (state.negative_e36 - position.negative_e36)
    if position.size < 0:
        return positive, negative
    return negative, positive


@internal
@pure
def _net(receipt_e36: uint256, due_e36: uint256) -> int256:
    if receipt_e36 >= due_e36:
        return convert((receipt_e36 - due_e36) // PRICE_SCALE, int256)
    return -convert(wad_math._mul_div_up(due_e36 - receipt_e36, 1, PRICE_SCALE), int256)


@internal
@view
def _horizon(state: IPerpMarket.State, mark: uint256) -> uint256:
    """
    @notice What the receiving side gets in `adl_horizon` at the present rate. Rounded up.
    """
    size: uint256 = state.short_size if state.rate_wad > 0 else state.long_size
    return self._horizon_of(state, size, mark)


@internal
@view
def _horizon_of(state: IPerpMarket.State, size: uint256, mark: uint256) -> uint256:
    # the product of the two is below 2**92, a notional below 2**120
    rate_and_time: uint256 = (convert(abs(state.rate_wad), uint256) * terms.PARAMETERS.adl_horizon)
    return wad_math._mul_div_up(books._value_up(size, mark), rate_and_time, WAD * YEAR)


@internal
@view
def _rate() -> (int256, uint256):
    """
    @return The last round's median, and until when it is good; 0 where it no longer is.
    """
    feed: IFundingOracle.Feed = staticcall IFundingOracle(terms.FUNDING_ORACLE).feed(terms.TOKEN)
    until: uint256 = feed.observed_at + terms.PARAMETERS.funding_max_age
    if feed.observed_at == 0 or until <= block.timestamp:
        return 0, 0
    return max(-LARGEST_RATE, min(feed.median_wad, LARGEST_RATE)), until
