# pragma version 0.4.3
"""
@title Positions of a perp market
@license AGPL-3.0-only
@author Perpool
@notice What a position is worth, and how it is increased, decreased, charged and relieved of its profit. The liquidity
        pool takes every loss and pays every profit, out of what it has locked for it.
@dev ROUNDING. Against the position: what it sells for and its closed part of the entry of a short down, what it buys
     for and the closed part of the entry of a long up.
"""

from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import terms

uses: terms


@internal
@view
def _largest_gain(position: books.Position) -> uint256:
    return position.entry_notional if position.size < 0 else position.gain_left


@internal
@view
def _pnl(position: books.Position, mark: uint256) -> int256:
    """
    @notice Unrealised profit or loss; 0 without a position.
    """
    size: uint256 = convert(abs(position.size), uint256)
    entry: int256 = convert(position.entry_notional, int256)
    if position.size < 0:
        return entry - convert(books._value_up(size, mark), int256)
    profit: int256 = convert(books._value_down(size, mark), int256) - entry
    return min(profit, convert(position.gain_left, int256))


@internal
@view
def _equity(position: books.Position, mark: uint256) -> int256:
    """
    @notice Margin and unrealised profit of a position whose funding is settled.
    """
    return convert(position.margin, int256) + self._pnl(position, mark)


@internal
@view
def _margin_needed(position: books.Position, mark: uint256, margin_wad: uint256) -> int256:
    size: uint256 = convert(abs(position.size), uint256)
    needed: uint256 = wad_math._share_of_up(books._value_up(size, mark), margin_wad)
    return convert(needed, int256)


@internal
@view
def _add_margin(before: books.Books, usdt_amount: uint256) -> books.Books:
    after: books.Books = before
    after.position.margin += usdt_amount
    after.state.margins += usdt_amount
    return after


@internal
@view
def _take_margin(before: books.Books, usdt_amount: uint256) -> books.Books:
    """
    @notice Out of the margin, for the caller to put somewhere else.
    """
    after: books.Books = before
    after.position.margin -= usdt_amount
    after.state.margins -= usdt_amount
    return after


@internal
@view
def _forfeit(before: books.Books, mark: uint256) -> books.Books:
    """
    @notice What a long's value has risen beyond its largest gain is nobody's. Before it is added to, its entry moves up by
            that: else the gain that comes with the addition would pay it out.
    """
    if before.position.size <= 0:
        return before
    value: uint256 = books._value_down(convert(before.position.size, uint256), mark)
    most: uint256 = before.position.entry_notional + before.position.gain_left
    if value <= most:
        return before
    after: books.Books = before
    after.position.entry_notional += value - most
    after.state.long_entries += value - most
    return after


@internal
@view
def _increase(
    before: books.Books, sells: bool, size: uint256, price: uint256
) -> (books.Books, uint256):
    """
    @return The books, and the notional.
    """
    after: books.Books = before
    notional: uint256 = 0
    if sells:
        notional = books._value_down(size, price)
        after.position.size -= convert(size, int256)
        after.state.short_size += size
        after.state.short_entries += notional
    else:
        notional = books._value_up(size, price)
        gain: uint256 = wad_math._share_of_down(notional, terms.PARAMETERS.largest_long_gain)
        after.position.size += convert(size, int256)
        after.position.gain_left += gain
        after.state.long_size += size
        after.state.long_entries += notional
        after.state.long_gains += gain
    after.position.entry_notional += notional
    return after, notional


@internal
@view
def _decrease(before: books.Books, size: uint256, mark: uint256) -> (books.Books, int256):
    """
    @notice Closes a part of a position at mark, or all of it. A part's share of the lock is released with it, so that
            what is free never falls.
    @return The books, and the profit or loss, which has gone into or out of the margin as far as there is any.
    """
    after: books.Books = before
    whole: uint256 = convert(abs(before.position.size), uint256)
    entry: uint256 = 0
    realised: int256 = 0
    if before.position.size < 0:
        entry = wad_math._mul_div_down(before.position.entry_notional, size, whole)
        realised = convert(entry, int256) - convert(books._value_up(size, mark), int256)
        after.position.size += convert(size, int256)
        after.state.short_size -= size
        after.state.short_entries -= entry
    else:
        entry = wad_math._mul_div_up(before.position.entry_notional, size, whole)
        gain: uint256 = wad_math._mul_div_down(before.position.gain_left, size, whole)
        realised = convert(books._value_down(size, mark), int256) - convert(entry, int256)
        realised = min(realised, convert(gain, int256))
        after.position.size -= convert(size, int256)
        after.position.gain_left -= gain
        after.state.long_size -= size
        after.state.long_entries -= entry
        after.state.long_gains -= gain
    after.position.entry_notional -= entry
    if realised < 0:
        return self._charge(after, convert(-realised, uint256)), realised
    profit: uint256 = convert(realised, uint256)
    after.state.liquidity -= profit
    return self._add_margin(after, profit), realised


@internal
@view
def _charge(before: books.Books, usdt_amount: uint256) -> books.Books:
    """
    @notice Takes what a position owes for the liquidity pool: out of the margin, and what that does not cover out of
            the unrealised profit. The entry moves by it, so that equity falls by the whole amount, and as much less is
            locked as did not come in. Where there is no such profit the entry makes a loss of it, down to a short's
            entry of zero: such a position is worth nothing to anybody and what is beyond that is lost.
    """
    from_margin: uint256 = min(usdt_amount, before.position.margin)
    after: books.Books = self._take_margin(before, from_margin)
    after.state.liquidity += from_margin
    if from_margin == usdt_amount:
        return after
    return self._worsen_entry(after, usdt_amount - from_margin)


@internal
@view
def _realise(before: books.Books, usdt_amount: uint256) -> books.Books:
    """
    @notice Turns unrealised profit into margin and leaves the size. What the liquidity pool pays it no longer locks.
    @param usdt_amount At most the profit.
    """
    after: books.Books = self._worsen_entry(before, usdt_amount)
    after.state.liquidity -= usdt_amount
    return self._add_margin(after, usdt_amount)


@internal
@view
def _worsen_entry(before: books.Books, usdt_amount: uint256) -> books.Books:
    after: books.Books = before
    if before.position.size < 0:
        lower: uint256 = min(usdt_amount, before.position.entry_notional)
        after.position.entry_notional -= lower
        after.state.short_entries -= lower
    elif before.position.size > 0:
        gain: uint256 = min(usdt_amount, before.position.gain_left)
        after.position.entry_notional += usdt_amount
        after.position.gain_left -= gain
        after.state.long_entries += usdt_amount
        after.state.long_gains -= gain
    return after
