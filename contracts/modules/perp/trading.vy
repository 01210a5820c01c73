# pragma version 0.4.3
"""
@title What a request does to a position
@license AGPL-3.0-only
@author Perpool
@notice Increasing fills at the worse of mark and bound, and is held to the venue's room; decreasing fills at mark, and is
        held to nothing but the position itself. Where a request cannot be filled, the reason says why and the books are
        worth nothing.
"""

from contracts.modules import perp_errors as errors
from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import funding
from contracts.modules.perp import positions
from contracts.modules.perp import terms
from interfaces import IPerpMarket

uses: funding
uses: positions
uses: terms


struct Order:
    size_delta: int256
    margin_delta: int256  # what arrived, or is to be taken out
    limit_price_e36: uint256
    reduces: bool


# Prices that an order asks for; 0 where it does not.
struct Prices:
    mark: uint256
    low: uint256
    high: uint256


struct Fill:
    reason: String[32]  # why there is none
    price_e36: uint256
    realised: int256
    fee: uint256
    cost: int256  # notional and fee; negative is what selling brought
    credited: uint256  # taken out of the position; the caller gives it to the account


@internal
@pure
def _reduces(size: int256, size_delta: int256) -> bool:
    return (size > 0 and size_delta < 0) or (size < 0 and size_delta > 0)


@internal
@view
def _fill(before: books.Books, order: Order, prices: Prices) -> (books.Books, Fill):
    """
    @param before With funding settled.
    """
    after: books.Books = before
    fill: Fill = empty(Fill)
    if order.margin_delta > 0:
        after = positions._add_margin(after, convert(order.margin_delta, uint256))
    if order.size_delta != 0:
        after, fill = self._trade(after, order, prices)
    elif before.position.size == 0:
        fill.reason = errors.NO_POSITION
    if fill.reason != "":
        return after, fill

    if after.position.size == 0:
        fill.credited = after.position.margin
        return positions._take_margin(after, fill.credited), fill
    if order.margin_delta < 0:
        fill.credited = convert(-order.margin_delta, uint256)
        if fill.credited > after.position.margin:
            profit: uint256 = fill.credited - after.position.margin
            if convert(profit, int256) > positions._pnl(after.position, prices.mark):
                fill.reason = errors.INSUFFICIENT_MARGIN
                return after, fill
            after = positions._realise(after, profit)
        after = positions._take_margin(after, fill.credited)
    fill.reason = self._check_margin(after, order, prices.mark)
    return after, fill


@internal
@view
def _trade(before: books.Books, order: Order, prices: Prices) -> (books.Books, Fill):
    after: books.Books = before
    fill: Fill = empty(Fill)
    size: uint256 = convert(abs(order.size_delta), uint256)
    sells: bool = order.size_delta < 0
    notional: uint256 = 0
    if order.reduces != self._reduces(before.position.size, order.size_delta):
        # liquidated or deleveraged since it was asked for
        fill.reason = errors.NO_POSITION
        return after, fill
    if order.reduces and size > convert(abs(before.position.size), uint256):
        fill.reason = errors.SIDE_WOULD_FLIP
        return after, fill
    fill.price_e36 = prices.mark
    if not order.reduces:
        fill.price_e36 = (min(prices.low, prices.mark) if sells else max(prices.high, prices.mark))
    if (
        (fill.price_e36 < order.limit_price_e36)
        if sells
        else (fill.price_e36 > order.limit_price_e36)
    ):
        fill.reason = errors.LIMIT_PRICE
        return after, fill
    if order.reduces:
        notional = books._value_up(size, prices.mark)
        fill.fee = wad_math._share_of_up(notional, terms.PARAMETERS.fee)
        if positions._equity(before.position, prices.mark) < convert(fill.fee, int256):
            fill.reason = errors.INSUFFICIENT_MARGIN
            return after, fill
        after, fill.realised = positions._decrease(after, size, prices.mark)
    else:
        after = positions._forfeit(after, prices.mark)
        after, notional = positions._increase(after, sells, size, fill.price_e36)
        fill.fee = wad_math._share_of_up(notional, terms.PARAMETERS.fee)
        fill.reason = self._check_increase(before.state, after, notional, fill.fee, prices.mark)
        if fill.reason != "":
            return after, fill
    fill.cost = convert(fill.fee, int256)
    if sells:
        fill.cost -= convert(notional, int256)
    else:
        fill.cost += convert(notional, int256)
    return self._charge_fee(after, fill.fee), fill


@internal
@view
def _charge_fee(before: books.Books, fee: uint256) -> books.Books:
    after: books.Books = positions._charge(before, fee)
    insured: uint256 = wad_math._share_of_down(fee, terms.PARAMETERS.fee_to_insurance)
    after.state.liquidity -= insured
    after.state.insurance += insured
    return after


@internal
@view
def _check_increase(
    before: IPerpMarket.State, after: books.Books, notional: uint256, fee: uint256, mark: uint256
) -> String[32]:
    """
    @notice Why the venue does not take an increase: dust, no equity for the fee, the cap on what longs and shorts differ by,
            or liquidity that is not free beyond a horizon.
    """
    if notional == 0:
        return errors.ZERO_AMOUNT
    if abs(after.position.size) > books.LARGEST_SIZE:
        return errors.TOO_LARGE
    if positions._equity(after.position, mark) < convert(fee, int256):
        return errors.INSUFFICIENT_MARGIN
    skew: uint256 = self._skew(after.state)
    if skew > self._skew(before) and books._value_up(skew, mark) > terms.PARAMETERS.exposure_cap:
        return errors.EXPOSURE_CAP
    horizon: int256 = convert(funding._horizon(after.state, mark), int256)
    if books._free(after.state) < horizon:
        return errors.NO_ROOM
    return ""


@internal
@view
def _check_margin(after: books.Books, order: Order, mark: uint256) -> String[32]:
    """
    @notice Whether what is left of a position stands: at the initial margin where it has grown or margin was taken out,
            else at any equity, so that a holder can always make it smaller.
    """
    takes: bool = order.margin_delta < 0
    if order.size_delta == 0 and not takes:
        return ""
    needed: int256 = 0
    if takes or not order.reduces:
        needed = positions._margin_needed(after.position, mark, terms.PARAMETERS.initial_margin)
    if positions._equity(after.position, mark) < needed:
        return errors.INSUFFICIENT_MARGIN
    return ""


@internal
@pure
def _skew(state: IPerpMarket.State) -> uint256:
    """
    @return Tokens by which longs and shorts differ.
    """
    return max(state.long_size, state.short_size) - min(state.long_size, state.short_size)
