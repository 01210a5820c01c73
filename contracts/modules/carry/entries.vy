# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Deposits, as a carry strategy sees them
@license AGPL-3.0-only
@notice A deposit gets the hedge and the debt that go with its tokens put on as it comes in, so that it changes no ratio and
        pays for that itself: it counts for what the rest is worth more, and for no more than it brought less what its order costs.
@dev Of both price bounds the one counts at which the rest is worth more.
"""
from interfaces import ICarryVault
from contracts.modules import carry_errors
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.carry import book
from contracts.modules.carry import modes
from contracts.modules.carry import orders
from contracts.modules.carry import pools
from contracts.modules.carry import targets
from contracts.modules.carry import terms
from contracts.modules.carry import trades

uses: book
uses: modes
uses: orders
uses: pools
uses: terms
uses: trades


@internal
def _enter(assets: uint256) -> (uint256, uint256, uint256):
    """
    @return Tokens taken, tokens that the rest is worth more for it, and what it was worth before.
    """
    lower: uint256 = 0
    upper: uint256 = 0
    lower, upper = staticcall terms.PRICES.price_bounds()
    held: book.Book = book._read()
    bound: uint256 = lower
    if held.money + convert(held.cash, int256) < convert(held.debt, int256):
        bound = upper
    nav: uint256 = self._nav_at(held, bound)

    taken: uint256 = assets
    cost: uint256 = 0
    if modes.current == ICarryVault.Mode.CARRY and held.short > 0:
        taken = min(assets, self._largest(held))
        tokens._pull_exactly(terms.TOKEN, taken)
        cost = self._hedge(held, taken, lower, bound)
    else:
        tokens._pull_exactly(terms.TOKEN, taken)
        book.idle += taken
        if modes.current == ICarryVault.Mode.LEND:
            pools._lend()
    nav_after: uint256 = self._nav_at(book._read(), bound)
    return taken, min(taken - min(taken, cost), nav_after - min(nav_after, nav)), nav


@internal
@view
def _nav_at(held: book.Book, price: uint256) -> uint256:
    valued: book.Book = held
    valued.price = price
    return book._nav(valued)


@internal
@view
def _largest(held: book.Book) -> uint256:
    """
    @notice Tokens whose hedge is one trade.
    """
    return wad_math._mul_div_down(
        targets._tokens_down(trades.max_trade, held.price), held.collateral, held.short
    )


@internal
def _hedge(held: book.Book, assets: uint256, lower: uint256, bound: uint256) -> uint256:
    """
    @notice Supplies the tokens and orders their part of the hedge at its whole margin, all or nothing. So the hedge ratio
            stays, and margin and debt only move towards what they should be.
    @param lower Of the price bounds, at which the venue may fill it.
    @return What that costs in tokens at `bound`, by the venue's fee and its price.
    """
    if held.collateral == 0:
        carry_errors._order_refused()
    pools._supply(assets)
    size: uint256 = wad_math._mul_div_down(held.short, assets, held.collateral)
    fee: uint256 = wad_math._share_of_up(size, staticcall terms.VENUE.fee())
    margin: uint256 = targets._margin(size, held.price, terms.PARAMETERS.margin_ratio)
    margin += targets._value_up(fee, held.price)
    if not pools._borrow(margin):
        carry_errors._order_refused()
    if orders._order(-convert(size, int256), convert(margin, int256), held.price) == 0:
        carry_errors._order_refused()
    fill: uint256 = min(staticcall terms.VENUE.mark_price(), lower)
    return fee + wad_math._mul_div_up(size, bound - fill, bound)
