# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title How a carry vault moves its short
@license AGPL-3.0-only
@notice Size and margin in one order: as far as one trade goes, and upwards the venue's room, with the margin that the short has
        to have then. What is missing of it is borrowed, up to the ceiling; where that is not enough the short is made as small
        as its margin allows.
"""
from contracts.modules import wad_math
from contracts.modules.carry import book
from contracts.modules.carry import orders
from contracts.modules.carry import pools
from contracts.modules.carry import targets
from contracts.modules.carry import terms
from contracts.modules.carry import trades

uses: book
uses: orders
uses: pools
uses: terms
uses: trades

WAD: constant(uint256) = 10**18


@internal
def _adjust(target_short: uint256) -> (bool, bool):
    """
    @return Whether the venue took an order, and whether anything was borrowed.
    """
    held: book.Book = book._read()
    equity: int256 = book._equity(held)
    short: uint256 = self._reachable(held.short, target_short, held.price)
    need: int256 = self._margin_needed(held, short, equity)
    borrowed: bool = False
    if need > convert(book.cash, int256):
        missing: uint256 = convert(need, uint256) - book.cash
        headroom: uint256 = self._headroom(held)
        borrowed = headroom > 0 and pools._borrow(min(missing, headroom))
        if not borrowed or missing > headroom:
            short = min(short, self._affordable(held, equity))
            short = self._reachable(held.short, short, held.price)
            need = self._margin_needed(held, short, equity)
    size_delta: int256 = convert(held.short, int256) - convert(short, int256)
    need = min(need, convert(book.cash, int256))
    has_ordered: bool = size_delta != 0 and orders._order(size_delta, need, held.price) != 0
    if not has_ordered:
        # without the size, its margin at least
        need = min(self._margin_needed(held, held.short, equity), convert(book.cash, int256))
        has_ordered = need != 0 and orders._order(0, need, held.price) != 0
    if has_ordered:
        orders._settle()
    return has_ordered, borrowed


@internal
@view
def _reachable(short: uint256, target: uint256, price: uint256) -> uint256:
    """
    @notice The short that one order can make of it on the way to the target. Making it smaller takes no room.
    """
    largest: uint256 = targets._tokens_down(trades.max_trade, price)
    if target >= short:
        return short + min(target - short, min((staticcall terms.VENUE.room())[0], largest))
    return short - min(short - target, largest)


@internal
@view
def _margin_needed(held: book.Book, short: uint256, equity: int256) -> int256:
    """
    @notice USDT to put in, or to take out, with an order that leaves the short at `short`. What a closed one leaves comes
            out by itself.
    """
    if short == 0:
        return 0
    margin: uint256 = targets._margin(short, held.price, terms.PARAMETERS.margin_ratio)
    traded: uint256 = max(short, held.short) - min(short, held.short)
    fee: uint256 = wad_math._share_of_up(
        targets._value_up(traded, held.price), staticcall terms.VENUE.fee()
    )
    return convert(margin + fee, int256) - equity


@internal
@view
def _headroom(held: book.Book) -> uint256:
    """
    @notice USDT that may be borrowed below the ceiling.
    """
    most: uint256 = wad_math._share_of_down(
        targets._value_down(held.collateral, held.price), terms.PARAMETERS.ltv_ceiling
    )
    return most - min(most, held.debt)


@internal
@view
def _affordable(held: book.Book, equity: int256) -> uint256:
    """
    @notice The short that equity and cash are the margin of. As it is where that is nearly as much: else the fee of one order
            would be a reason for the next.
    """
    money: uint256 = convert(max(equity + convert(book.cash, int256), 0), uint256)
    short: uint256 = targets._tokens_down(
        wad_math._mul_div_down(money, WAD, terms.PARAMETERS.margin_ratio), held.price
    )
    if short < held.short and held.short - short < held.short // 100:
        return held.short
    return short
