# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title The next steps of a carry strategy
@license AGPL-3.0-only
@notice They follow from what it has and from nothing else: there is no plan to remember, and whoever calls next goes on from
        there. A step that pools, venue or market refuse is left out, and what comes after it makes do.
"""
from interfaces import ICarryStrategy
from interfaces import ICarryVault
from contracts.modules.carry import book
from contracts.modules.carry import hedging
from contracts.modules.carry import modes
from contracts.modules.carry import pools
from contracts.modules.carry import targets
from contracts.modules.carry import terms

uses: book
uses: hedging
uses: modes
uses: pools
uses: terms


@internal
@view
def _is_due(held: book.Book, mode: ICarryVault.Mode) -> bool:
    """
    @param mode That it should be in.
    """
    if mode != modes.current:
        return True
    nav: uint256 = book._nav(held)
    if targets._tokens_down(held.cash, held.price) > nav // 100:
        return True
    if mode == ICarryVault.Mode.LEND:
        # strangers may give collateral, or pay debt: so little is left until there is more to do
        dust: uint256 = nav // 1000
        return (
            max(held.short, held.collateral) > dust
            or targets._tokens_down(held.debt, held.price) > dust
            or pools._lendable() > nav // 100
        )
    p: ICarryVault.Parameters = terms.PARAMETERS
    deployable: uint256 = pools._deployable()
    if deployable > nav // 100:
        return True
    collateral: uint256 = held.collateral + deployable
    plan: targets.Plan = targets._plan(p, held.price, collateral, book._net(held), p.may_sell)
    return targets._is_off(
        p, held.price, collateral, held.debt, held.short, book._equity(held), plan.short
    )


@internal
def _rebalance() -> bool:
    """
    @dev After `exits._sync`, with no order pending.
    """
    held: book.Book = book._read()
    mode: ICarryVault.Mode = modes.current
    funding: int256 = 0
    carry: int256 = 0
    mode, funding, carry = modes._wanted(held)
    if not self._is_due(held, mode):
        return False
    has_moved: bool = mode != modes.current
    if has_moved:
        modes._switch(mode, funding, carry)
    if mode == ICarryVault.Mode.CARRY:
        has_moved = self._carry(held.price) or has_moved
    else:
        has_moved = self._lend(held.price) or has_moved
    if not has_moved:
        return False
    held = book._read()
    log ICarryStrategy.Rebalanced(
        mode=mode,
        price_e36=held.price,
        collateral=held.collateral,
        debt=held.debt,
        short=held.short,
        equity=book._equity(held),
        cash=held.cash,
    )
    return True


@internal
def _carry(price: uint256) -> bool:
    has_moved: bool = pools._deploy()
    p: ICarryVault.Parameters = terms.PARAMETERS
    held: book.Book = book._read()
    plan: targets.Plan = targets._plan(p, price, held.collateral, book._net(held), p.may_sell)
    if plan.sell > 0:
        if pools._sell(targets._value_down(plan.sell, price), price):
            has_moved = True
            # what the sale did not take
            pools._deploy()
        else:
            # what cannot be sold, the hedge gives way for
            plan = targets._plan(p, price, held.collateral, book._net(held), False)
    has_ordered: bool = False
    has_borrowed: bool = False
    has_ordered, has_borrowed = hedging._adjust(plan.short)
    # what was borrowed for an order that was refused goes back, and counts for nothing
    has_repaid: bool = pools._repay() and not has_borrowed
    has_bought: bool = False
    if plan.buy > 0 and book._loan()[1] == 0:
        has_bought = pools._buy(price)
        pools._deploy()
    return has_moved or has_ordered or has_repaid or has_bought


@internal
def _lend(price: uint256) -> bool:
    has_moved: bool = hedging._adjust(0)[0]
    has_moved = pools._repay() or has_moved
    held: book.Book = book._read()
    if held.short == 0 and held.pending == 0:
        if held.debt > 0:
            has_moved = pools._sell(held.debt, price) or has_moved
        if book._loan()[1] == 0:
            has_moved = pools._withdraw_collateral() or has_moved
            has_moved = pools._buy(price) or has_moved
    return pools._lend() or has_moved
