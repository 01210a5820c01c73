# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Redemptions, as a carry strategy sees them
@license AGPL-3.0-only
@notice A redemption closes its part of the short, gets its part of everything else, and pays its part of the debt. The first
        half is an order at the venue; once that is confirmed the part is set apart, and the second half turns it into tokens.
        Where the venue settles at once both are one call of the vault's.
@dev What the order was filled at is the redeemer's alone; funding, and whatever else happens to the position until his part is
     set apart, is his as much as everybody's. What has not come out of the position for him he owes less, a unit of debt for
     a unit of margin, and where that is more than his debt he gets tokens for it at the price; what came out too much he owes.
     Set apart, his loan bears its own interest, and nothing of it is in the way of the rest or of other redemptions: where it
     takes more collateral than his, the rest lose that, before they would lose more.
@dev ROUNDING. Parts of what there is down, of what is owed up.
"""
from interfaces import ICarryStrategy
from interfaces import IPerpVenue
from contracts.modules import carry_errors
from contracts.modules import errors
from contracts.modules import tokens
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


# A redemption between its halves.
struct Part:
    tokens: uint256
    usdt: uint256
    collateral: uint256
    debt_shares: uint256


# The redemption whose order is at the venue; no controller where there is none.
struct Order:
    controller: address
    id: uint256
    shares: uint256
    total: uint256
    closing: uint256  # tokens of the short


parts: HashMap[address, Part]
order: Order


@internal
def _sync() -> (bool, bool):
    """
    @notice Takes in what the venue has done since. Every call that changes something comes after it.
    @return Whether no order is pending, and whether the redemption that had ordered is set apart by this.
    """
    if not orders._settle():
        return False, False
    order: Order = self.order
    if order.controller == empty(address):
        return True, False
    # where it is not, nothing has changed but time, and the request goes on waiting
    is_apart: bool = staticcall terms.VENUE.status(order.id) == IPerpVenue.Status.CONFIRMED
    if is_apart:
        held: book.Book = book._read()
        if held.cash > book.cash:
            # what has come out of the position has not been paid yet
            return False, False
        self._set_apart(
            order,
            held,
            staticcall terms.VENUE.last_cost(self)
            - convert(targets._value_down(order.closing, held.price), int256),
        )
    self.order = empty(Order)
    return True, is_apart


@internal
def _begin(controller: address, shares: uint256, total: uint256) -> (uint256, bool, uint256):
    """
    @return Shares that it is for, whether they are set apart already, and where not USDT that the order should bring.
    """
    held: book.Book = book._read()
    taken: uint256 = shares
    # dust aside, what the forward pool's cash allows now; the venue's room is no limit, closing takes none
    if held.lent > held.collateral // 1000:
        taken = min(
            taken, wad_math._mul_div_down(pools._withdrawable(), total, book.forward_shares)
        )
    if taken == 0:
        errors._insufficient_cash()
    order: Order = Order(
        controller=controller,
        id=0,
        shares=taken,
        total=total,
        closing=wad_math._mul_div_up(held.short, taken, total),
    )
    if order.closing == 0:
        self._set_apart(order, held, 0)
        return taken, True, 0
    margin_out: uint256 = 0
    order.id, margin_out = self._close(
        held, order.closing, self._part_down(held.money, taken, total)
    )
    self.order = order
    return taken, self._sync()[1], margin_out


@internal
def _close(held: book.Book, closing: uint256, money: int256) -> (uint256, uint256):
    """
    @notice Orders a part of the short closed, and out of the position what that part is worth at the price it should fill at.
    @param money The part's.
    @return The order's id, and what should come out in USDT.
    """
    cost: uint256 = targets._value_up(closing, max(held.price, staticcall terms.VENUE.mark_price()))
    cost += wad_math._share_of_up(cost, staticcall terms.VENUE.fee())
    margin_out: int256 = max(money - convert(cost, int256), 0)
    # closed whole, all of it comes out by itself
    margin_delta: int256 = 0 if closing == held.short else -margin_out
    id: uint256 = orders._order(convert(closing, int256), margin_delta, held.price)
    if id == 0:
        carry_errors._order_refused()
    return id, convert(margin_out, uint256)


@internal
@pure
def _part_down(money: int256, part: uint256, whole: uint256) -> int256:
    if money < 0:
        return -convert(wad_math._mul_div_up(convert(-money, uint256), part, whole), int256)
    return convert(wad_math._mul_div_down(convert(money, uint256), part, whole), int256)


@internal
def _set_apart(order: Order, held: book.Book, cost: int256):
    """
    @notice Takes the shares' part of everything out of what the rest has.
    @param cost USDT that closing their part of the short took beyond what it is worth now; it is out of the position already.
    """
    shares: uint256 = order.shares
    total: uint256 = order.total
    # by its equity, not by its money: what the venue has closed of the others' short meanwhile he does not pay
    money: int256 = (
        self._part_down(book._equity(held) + convert(book.cash, int256) + cost, shares, total)
        - cost
    )
    part: Part = empty(Part)
    part.usdt = min(convert(max(money, 0), uint256), book.cash)
    money -= convert(part.usdt, int256)
    book.cash -= part.usdt
    part.tokens = wad_math._mul_div_down(book.idle, shares, total)
    book.idle -= part.tokens
    lent: uint256 = wad_math._mul_div_down(held.lent, shares, total)
    got: uint256 = pools._take_back(
        min(wad_math._mul_div_down(book.forward_shares, shares, total), pools._withdrawable())
    )
    part.tokens += got

    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = staticcall terms.REVERSE.position(self)
    collateral -= min(collateral, book.apart_collateral)
    debt_shares -= min(debt_shares, book.apart_debt_shares)
    # with what the forward pool cannot pay now
    part.collateral = min(
        wad_math._mul_div_down(collateral, shares, total) + lent - min(lent, got), collateral
    )
    money -= convert(wad_math._mul_div_up(held.debt, shares, total), int256)
    if money > 0:
        gained: uint256 = targets._tokens_down(convert(money, uint256), held.price)
        part.collateral = min(part.collateral + gained, collateral)
    elif held.debt > 0:
        owed: uint256 = convert(-money, uint256)
        part.debt_shares = min(wad_math._mul_div_up(owed, debt_shares, held.debt), debt_shares)
    book.apart_collateral += part.collateral
    book.apart_debt_shares += part.debt_shares
    self.parts[order.controller] = part
    log ICarryStrategy.SetApart(
        controller=order.controller,
        tokens=part.tokens,
        usdt=part.usdt,
        collateral=part.collateral,
        debt_shares=part.debt_shares,
    )


@internal
def _finish(controller: address, brought: uint256) -> (uint256, uint256, uint256):
    """
    @notice Pays the part's debt from its USDT, then from what is brought, then from its tokens, and sends the rest.
    @return Tokens and USDT sent, USDT pulled.
    """
    part: Part = self.parts[controller]
    self.parts[controller] = empty(Part)
    price: uint256 = staticcall terms.PRICES.liquidation_price()
    left: uint256 = 0
    paid: uint256 = 0
    left, paid = self._pay_off(part, brought, price)
    pulled: uint256 = paid - min(paid, part.usdt)

    # what is left of its own USDT buys tokens; where it cannot, it is sent as it is
    surplus: uint256 = part.usdt - min(part.usdt, paid)
    bought: uint256 = trades._buy(surplus, price)
    if bought > 0:
        surplus = 0
    sent: uint256 = left + bought
    tokens._push(terms.TOKEN, terms.VAULT, sent)
    tokens._push(terms.USDT, terms.VAULT, surplus)
    return sent, surplus, pulled


@internal
def _pay_off(part: Part, brought: uint256, price: uint256) -> (uint256, uint256):
    """
    @notice Takes the part's debt and collateral out of the loan. A debt left behind that is too small for the pool is paid
            with it, at the rest's cost.
    @return Tokens of the part that are left, and the USDT that it took, of the vault's what is over its own.
    """
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = staticcall terms.REVERSE.position(self)
    mine: uint256 = part.collateral
    if collateral < book.apart_collateral:
        # liquidated meanwhile
        mine = wad_math._mul_div_down(mine, collateral, book.apart_collateral)
    mine += part.tokens
    apart: uint256 = book.apart_debt_shares
    book.apart_collateral -= part.collateral
    book.apart_debt_shares = apart - part.debt_shares

    debt: uint256 = staticcall terms.REVERSE_POOL.debt_of(self)
    owed: uint256 = 0
    if debt_shares > 0:
        # where less is owed than was set apart, it is owed by all parts alike
        owed = wad_math._mul_div_up(debt, part.debt_shares, max(debt_shares, apart))
    paid: uint256 = min(part.usdt + brought, owed)
    if paid > part.usdt:
        tokens._pull_exactly(terms.USDT, paid - part.usdt)
    dust: uint256 = debt - owed
    if dust >= terms.MIN_DEBT or owed == 0:
        dust = 0
    in_hand: uint256 = part.tokens
    sale: uint256 = owed - paid + dust
    if sale > 0:
        collateral_out: uint256 = targets._most_tokens_for(
            sale, price, terms.PARAMETERS.max_slippage
        )
        # a few units more, which rounding takes of a small sale, within what the pool lets go for what is paid
        collateral_out = min(collateral_out + min(targets._tokens_down(paid, price), 2), collateral)
        success: bool = False
        spent: uint256 = 0
        success, spent = trades._sell_to_repay(collateral_out, sale, owed + dust)
        if not success:
            errors._slippage()
        in_hand += collateral_out - spent
        spent = wad_math._mul_div_up(spent, owed - paid, sale)
        mine -= min(mine, spent)
    elif owed > 0:
        pools._pay(owed)

    kept: uint256 = min(mine, in_hand)
    book.idle += in_hand - kept
    if mine > kept:
        extcall terms.REVERSE.withdraw_collateral(mine - kept, self, self)
    return mine, paid
