# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a carry vault has
@license AGPL-3.0-only
@notice Tokens, USDT and forward shares are counted as they come and go; loan and position are the pool's and the venue's to
        say. What belongs to redemptions that are half done is set apart and in none of it, and neither is what waits to be
        settled or claimed.
@dev ROUNDING. Debt and the short's value up, everything else down.
"""
from ethereum.ercs import IERC4626
from interfaces import ICarryVault
from interfaces import IPerpVenue
from contracts.modules import wad_math
from contracts.modules.carry import targets
from contracts.modules.carry import terms

uses: terms


# `money` is the position without the short itself: margin, funding and what the short was sold for. It does not depend
# on the price.
struct Book:
    price: uint256
    idle: uint256
    lent: uint256
    collateral: uint256
    debt: uint256
    short: uint256
    money: int256
    cash: uint256
    pending: uint256  # the venue's request in flight


idle: uint256
cash: uint256
forward_shares: uint256
# of the loan, what belongs to redemptions that are half done
apart_collateral: uint256
apart_debt_shares: uint256


@internal
@view
def _read() -> Book:
    return self._read_at(staticcall terms.PRICES.liquidation_price())


@internal
@view
def _read_at(price: uint256) -> Book:
    book: Book = empty(Book)
    book.price = price
    book.idle = self.idle
    if self.forward_shares > 0:
        book.lent = staticcall IERC4626(terms.FORWARD).convertToAssets(self.forward_shares)
    book.collateral, book.debt = self._loan()
    position: IPerpVenue.Position = staticcall terms.VENUE.position(self)
    # the vault never goes long
    book.short = convert(max(-position.size, 0), uint256)
    book.money = (
        convert(position.margin, int256)
        + position.funding
        + convert(position.entry_notional, int256)
    )
    book.cash = self.cash + position.escrow + position.credit
    book.pending = position.pending
    return book


@internal
@view
def _loan() -> (uint256, uint256):
    """
    @notice (collateral, debt) without what is set apart. After a liquidation there may be less than that.
    """
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = staticcall terms.REVERSE.position(self)
    if debt_shares <= self.apart_debt_shares:
        return collateral - min(collateral, self.apart_collateral), 0
    debt: uint256 = wad_math._mul_div_up(
        staticcall terms.REVERSE_POOL.debt_of(self),
        debt_shares - self.apart_debt_shares,
        debt_shares,
    )
    return collateral - min(collateral, self.apart_collateral), debt


@internal
@view
def _equity(book: Book) -> int256:
    """
    @notice The position's, at the book's price.
    """
    return book.money - convert(targets._value_up(book.short, book.price), int256)


@internal
@view
def _net(book: Book) -> int256:
    """
    @notice equity + cash - debt
    """
    return self._equity(book) + convert(book.cash, int256) - convert(book.debt, int256)


@internal
@view
def _nav(book: Book) -> uint256:
    """
    @notice Tokens that everything is worth at the book's price.
    """
    return targets._nav(
        book.idle + book.lent + book.collateral,
        book.short,
        book.money + convert(book.cash, int256) - convert(book.debt, int256),
        book.price,
    )


@internal
@view
def _holdings() -> ICarryVault.Holdings:
    book: Book = self._read()
    return ICarryVault.Holdings(
        price_e36=book.price,
        idle=book.idle,
        lent=book.lent,
        collateral=book.collateral,
        debt=book.debt,
        short=book.short,
        equity=self._equity(book),
        cash=book.cash,
    )
