"""The rules of the machines: every entry point of both pools, drawn from a seeded generator.

A rule looks at the model to choose what is likely to go through, or to fail at an edge, and gives
one `Step`, or None where there is nothing to do. Its weight is how often it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.market import RESERVE_WINDOW
from perpool.reference.pool import Pool
from perpool.reference.reverse import borrow_ltv
from perpool.reference.wad import WAD
from perpool.reference.world import NOBODY
from tests.invariants.arena import ACTORS, FAILING_HOOK, GOOD_HOOK, PEOPLE, POOLS, PUPPET
from tests.invariants.hand import Hand
from tests.invariants.steps import Step
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP

Rule = Callable[[Hand], Step | None]
YEAR_FUNDING = (-3, 3)
"""Bounds of funding in the fuzz, times 100 % a year."""


# -- lenders --


def deposit(hand: Hand) -> Step:
    name, caller = hand.pool_name(), hand.anyone()
    pool = hand.pool(name)
    most = min(pool.asset.balances[caller] // 4, pool.supply_room(pool.accrued()))
    most = most or pool.asset.balances[caller] // 50
    return Step(
        "deposit", name, "deposit", (hand.amount(most), hand.receiver(caller, name)), caller
    )


def mint(hand: Hand) -> Step:
    name, caller = hand.pool_name(), hand.anyone()
    pool = hand.pool(name)
    state = pool.accrued()
    most = pool.ledger.to_shares_down(state, pool.asset.balances[caller] // 8)
    return Step("mint", name, "mint", (hand.amount(most), hand.receiver(caller, name)), caller)


def _holder_and_caller(hand: Hand, pool: Pool) -> tuple[str, str]:
    holder = hand.one_of(pool.shares)
    if hand.actor is None and hand.chance(0.2):
        spenders = [
            who for (whom, who), shares in pool.allowances.items() if whom == holder and shares
        ]
        return holder, hand.rng.choice(spenders or ACTORS)
    return holder, holder


def withdraw(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    holder, caller = _holder_and_caller(hand, pool)
    most = pool.max_withdraw(holder)
    args = hand.amount(most), hand.receiver(caller, name), holder
    return Step("withdraw", name, "withdraw", args, caller)


def redeem(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    holder, caller = _holder_and_caller(hand, pool)
    args = hand.amount(pool.max_redeem(holder)), hand.receiver(caller, name), holder
    return Step("redeem", name, "redeem", args, caller)


def transfer(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    holder = hand.one_of(pool.shares)
    receiver = hand.anyone() if hand.chance(0.9) else hand.receiver(holder, name)
    args = receiver, hand.amount(pool.shares[holder])
    return Step("transfer", name, "transfer", args, holder)


def approve(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    holder = hand.one_of(pool.shares)
    shares = hand.rng.choice((MAX, 0, hand.amount(pool.shares[holder])))
    return Step("approve", name, "approve", (hand.anyone(), shares), holder)


def transfer_from(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    given = [pair for pair, shares in pool.allowances.items() if shares and pool.shares[pair[0]]]
    holder, caller = hand.rng.choice(given) if given else (hand.anyone(), hand.anyone())
    most = min(pool.shares[holder], pool.allowances[holder, caller])
    args = holder, hand.receiver(caller, name), hand.amount(most)
    return Step("transferFrom", name, "transferFrom", args, caller)


# -- the reverse pool --


def supply_collateral(hand: Hand) -> Step:
    caller = hand.anyone()
    most = hand.machine.model.token.balances[caller] // 10
    args = hand.amount(most), hand.receiver(caller, "reverse")
    return Step("supply_collateral", "reverse", "supply_collateral", args, caller)


def borrow(hand: Hand) -> Step:
    account = hand.one_of(hand.machine.model.reverse.collateral_of)
    caller = hand.acting_for(account)
    args = hand.amount(hand.borrow_room(account)), account, hand.receiver(caller, "reverse")
    return Step("borrow", "reverse", "borrow", args, caller)


def repay(hand: Hand) -> Step:
    name = hand.pool_name()
    pool = hand.pool(name)
    account = hand.one_of(pool.debt_shares)
    caller = account if hand.chance(0.7) else hand.anyone()
    return Step("repay", name, "repay", (hand.amount(pool.debt_of(account)), account), caller)


def withdraw_collateral(hand: Hand) -> Step:
    model = hand.machine.model
    account = hand.one_of(model.reverse.collateral_of)
    caller = hand.acting_for(account)
    most = model.reverse.collateral_of[account]
    if model.reverse.debt_shares[account]:
        ltv = borrow_ltv(model.reverse.leg, model.prices.volatility)
        most = min(most, max(hand.borrow_room(account), 0) * WAD // ltv * PRICE_SCALE // hand.price)
    args = hand.amount(most), account, hand.receiver(caller, "reverse")
    return Step("withdraw_collateral", "reverse", "withdraw_collateral", args, caller)


def supply_collateral_and_borrow(hand: Hand) -> Step:
    account = hand.anyone()
    caller = hand.acting_for(account)
    collateral = hand.amount(hand.machine.model.token.balances[caller] // 10, edges=0.08)
    usdt = hand.amount(hand.borrow_room(account, collateral), edges=0.1)
    args = collateral, usdt, account, hand.receiver(caller, "reverse")
    return Step(
        "supply_collateral_and_borrow", "reverse", "supply_collateral_and_borrow", args, caller
    )


def repay_and_withdraw_collateral(hand: Hand) -> Step:
    pool = hand.machine.model.reverse
    account = hand.one_of(pool.debt_shares)
    caller = hand.acting_for(account)
    debt = pool.debt_of(account)
    usdt = MAX if hand.chance(0.4) else hand.amount(debt)
    part = min(usdt, debt) * pool.collateral_of[account] // max(debt, 1)
    tokens = MAX if usdt == MAX and hand.chance(0.5) else hand.amount(part * 9 // 10)
    args = usdt, tokens, account, hand.receiver(caller, "reverse")
    return Step(
        "repay_and_withdraw_collateral", "reverse", "repay_and_withdraw_collateral", args, caller
    )


def deleverage(hand: Hand) -> Step:
    pool = hand.machine.model.reverse
    account = hand.one_of(pool.debt_shares)
    caller = hand.acting_for(account)
    debt, collateral = pool.debt_of(account), pool.collateral_of[account]
    usdt = MAX if hand.chance(0.2) else hand.amount(debt)
    part = hand.token_value(min(usdt, debt)) * hand.rng.randint(900, 1040) // 1000
    out = min(part, collateral) if hand.chance(0.9) else hand.amount(collateral)
    data = b"\1" if caller == PUPPET else b""
    args = out, usdt, account, hand.receiver(caller, "reverse"), data
    return Step("deleverage", "reverse", "deleverage", args, caller, _inner(hand, data, "reverse"))


def flash_loan(hand: Hand) -> Step:
    pool = hand.machine.model.reverse
    receiver = PUPPET if hand.chance(0.93) else hand.anyone()
    token = "usdt" if hand.chance(0.96) else "token"
    args = receiver, token, hand.amount(pool.accrued().cash), b"\1"
    inner = _inner(hand, b"\1", "reverse") if receiver == PUPPET else ()
    return Step("flash_loan", "reverse", "flashLoan", args, hand.anyone(), inner)


def _inner(hand: Hand, data: bytes, locked: str) -> tuple[Step, ...]:
    """What the puppet does in the middle of a call: up to two steps, seldom in the locked pool."""
    if not data:
        return ()
    other = POOLS[1 - POOLS.index(locked)]
    pool = other if hand.chance(0.95) else locked
    puppet = replace(hand, actor=PUPPET, only=pool)
    rules: dict[str, tuple[Rule, ...]] = {
        "reverse": (deposit, redeem, supply_collateral, borrow, repay),
        "forward": (deposit, redeem, add_margin, open_short, close_short),
    }
    steps = [hand.rng.choice(rules[pool])(puppet) for _ in range(hand.rng.randint(0, 2))]
    return tuple(replace(step, rule=f"inner {step.rule}") for step in steps if step)


def liquidate(hand: Hand) -> Step:
    (name, borrower), caller = hand.weak(*POOLS), hand.anyone()
    debt = hand.pool(name).debt_of(borrower)
    most = MAX if hand.chance(0.5) else hand.amount(debt)
    data = b"\1" if caller == PUPPET else b""
    args = borrower, most, hand.receiver(caller, name), data
    return Step("liquidate", name, "liquidate", args, caller, _inner(hand, data, name))


# -- the forward pool --


def open_short(hand: Hand) -> Step:
    model = hand.machine.model
    account = hand.anyone()
    caller = hand.acting_for(account)
    margin = 0 if hand.chance(0.1) else hand.amount(model.usdt.balances[caller] // 200, edges=0.05)
    tokens = hand.amount(hand.short_room(account, margin % 2**128), edges=0.1)
    least = hand.usdt_value(tokens % 2**128) if hand.chance(0.05) else 0
    deadline = MAX if hand.chance(0.97) else model.now - 1
    route = hand.machine.arena.route(sale=True)
    args = margin, tokens, least, deadline, account, hand.swapper(), route
    return Step("open_short", "forward", "open_short", args, caller)


def close_short(hand: Hand) -> Step:
    model = hand.machine.model
    account = hand.one_of(model.forward.debt_shares)
    caller = hand.acting_for(account)
    tokens = MAX if hand.chance(0.25) else hand.amount(model.forward.debt_of(account), edges=0.1)
    most = MAX if hand.chance(0.95) else hand.amount(model.forward.collateral_of[account])
    deadline = MAX if hand.chance(0.97) else model.now - 1
    receiver = hand.receiver(caller, "forward")
    route = hand.machine.arena.route(sale=False)
    args = tokens, most, deadline, account, receiver, hand.swapper(), route
    return Step("close_short", "forward", "close_short", args, caller)


def add_margin(hand: Hand) -> Step:
    caller = hand.anyone()
    receiver = hand.receiver(caller, "forward")
    args = hand.amount(hand.machine.model.usdt.balances[caller] // 100), receiver
    return Step("add_margin", "forward", "add_margin", args, caller)


def remove_margin(hand: Hand) -> Step:
    model = hand.machine.model
    pool = model.forward
    account = hand.one_of(pool.collateral_of)
    caller = hand.acting_for(account)
    debt_value = pool.debt_of(account) * model.prices.upper // PRICE_SCALE
    free = pool.collateral_of[account] - debt_value * WAD // pool.leg.max_ltv
    args = hand.amount(free), account, hand.receiver(caller, "forward")
    return Step("remove_margin", "forward", "remove_margin", args, caller)


def liquidate_by_purchase(hand: Hand) -> Step:
    caller = hand.anyone()
    args = hand.weak("forward")[1], hand.receiver(caller, "forward")
    return Step("liquidate_by_purchase", "forward", "liquidate_by_purchase", args, caller)


# -- anyone, owner, guardian --


def sync_funding(hand: Hand) -> Step:
    return Step("sync_funding", hand.pool_name(), "sync_funding", (), hand.anyone())


def set_operator(hand: Hand) -> Step:
    args = hand.anyone(), hand.chance(0.7)
    return Step("set_operator", "operators", "set_operator", args, hand.anyone())


def donate(hand: Hand) -> Step | None:
    caller, token = hand.rng.choice(PEOPLE), hand.rng.choice(("token", "usdt"))
    amount = getattr(hand.machine.model, token).balances[caller] // 1000
    args = hand.pool_name(), token, hand.rng.randint(1, amount + 1)
    return Step("donate", token, "donate", args, caller) if amount else None


def _owner(hand: Hand) -> str:
    return "owner" if hand.chance(0.95) else hand.anyone()


def set_fee(hand: Hand) -> Step:
    args = hand.pool_name(), hand.rng.choice((0, 50, 100, 250, 251))
    return Step("set_fee", "factory", "set_fee", args, _owner(hand))


def set_hook(hand: Hand) -> Step:
    hook = hand.rng.choice((GOOD_HOOK, GOOD_HOOK, GOOD_HOOK, FAILING_HOOK, NOBODY, PUPPET))
    return Step("set_hook", "factory", "set_hook", (hand.pool_name(), hook), _owner(hand))


def set_paused(hand: Hand) -> Step:
    name = hand.pool_name()
    paused = not hand.pool(name).state.paused
    caller = hand.rng.choice(("owner", "guardian")) if hand.chance(0.95) else hand.anyone()
    return Step("set_paused", "factory", "set_paused", (name, paused), caller)


def unpause(hand: Hand) -> Step:
    paused = [name for name in POOLS if hand.pool(name).state.paused]
    return Step("set_paused", "factory", "set_paused", (paused[0], False), "owner")


def set_caps(hand: Hand) -> Step:
    """Mostly none, sometimes just above or below what there is."""
    name = hand.pool_name()
    pool = hand.pool(name)
    caps: tuple[int, ...] = (NO_CAP, NO_CAP, NO_CAP if name == "reverse" else NO_BLOCK_CAP)
    if hand.chance(0.4):
        state = pool.accrued()
        leg_total = pool.collateral.balances[name] if name == "reverse" else state.debt_assets // 5
        totals = state.all_assets, state.debt_assets, leg_total
        caps = tuple(
            total * hand.rng.randint(80, 140) // 100 if hand.chance(0.5) else none
            for total, none in zip(totals, caps, strict=True)
        )
    return Step("set_caps", "factory", "set_caps", (name, *caps), _owner(hand))


def request_reserve_withdrawal(hand: Hand) -> Step | None:
    name = hand.pool_name()
    now = hand.machine.model.now
    _, ready_at = hand.machine.model.requests.get(name, (0, 0))
    if now < ready_at + RESERVE_WINDOW and hand.chance(0.9):
        return None
    most = hand.pool(name).state.reserve_shares // 2
    args = name, hand.amount(most)
    return Step(
        "request_reserve_withdrawal", "factory", "request_reserve_withdrawal", args, _owner(hand)
    )


def withdraw_reserve(hand: Hand) -> Step | None:
    ready = hand.reserves_ready()
    if not ready and hand.chance(0.8):
        return None
    name = hand.rng.choice(sorted(ready)) if ready else hand.pool_name()
    args = name, hand.receiver("lender", name)
    return Step("withdraw_reserve", "factory", "withdraw_reserve", args, _owner(hand))


# -- the world --


def warp(hand: Hand) -> Step:
    """Minutes mostly; sometimes days, past the expiry of funding."""
    seconds = hand.rng.choice((12, 600, 3600, 8 * 3600, 86_400, 12 * 86_400))
    return Step("warp", "world", "warp", (seconds,), new_block=False)


def set_prices(hand: Hand) -> Step:
    """A walk with crashes and squeezes, pulled back to where it started; bounds up to 2 % apart.

    Sometimes it goes to where somebody's LTV is about the liquidation limit or where it is 100 %.
    """
    start = hand.machine.arena.start_price
    factor = hand.rng.gauss(1, 0.04)
    if hand.chance(0.4):
        factor = hand.rng.choice((0.6, 0.75, 0.85, 1.15, 1.3, 1.6))
    price = int(hand.price * max(factor, 0.3) * (start / hand.price) ** 0.1)
    if hand.chance(0.4):
        price = hand.price_for_ltv(hand.rng.uniform(0.72, 1.02)) or price
    price = min(max(price, start // 30), start * 30)
    apart = hand.rng.choice((0, 0, 5, 20))
    volatility = hand.rng.choice((0, WAD // 2, WAD, 13 * WAD // 10, 199 * WAD // 100, MAX))
    args = price - price * apart // 1000, price + price * apart // 1000, price, volatility
    return Step("set_prices", "world", "set_prices", args, new_block=False)


def follow_price(hand: Hand) -> Step:
    """Arbitrage: the venue trades where the oracle is, at some spread."""
    spread = hand.rng.choice((0, WAD // 1000, WAD // 200))
    return Step("follow_price", "world", "set_terms", (hand.price, spread, 0), new_block=False)


def set_terms(hand: Hand) -> Step:
    """The venue is off the oracle's price, or delivers less than it should."""
    price = hand.price * hand.rng.choice((93, 97, 99, 101, 103, 108)) // 100
    shortfall = hand.rng.choice((0, 0, 0, 1))
    args = price, hand.rng.choice((0, WAD // 100)), shortfall
    return Step("set_terms", "world", "set_terms", args, new_block=False)


def break_prices(hand: Hand) -> Step:
    prices = hand.machine.model.prices
    broken = bool(prices.bounds_error or prices.liquidation_error)
    args = (False, False) if broken else (True, hand.chance(0.4))
    return Step("break_prices", "world", "break_prices", args, new_block=False)


def set_funding(hand: Hand) -> Step:
    """Any sign and size; seldom of the past or the future."""
    funding = int(hand.rng.uniform(*YEAR_FUNDING) * 10 ** hand.rng.choice((-9, -1, 0)) * WAD)
    now = hand.machine.model.now
    observed_at = now if hand.chance(0.85) else now + hand.rng.choice((-50_000, -600, 600))
    return Step("set_funding", "world", "set_funding", (funding, observed_at), new_block=False)


# -- how often each is drawn --

CALLS: dict[Rule, int] = {
    deposit: 6,
    mint: 4,
    withdraw: 4,
    redeem: 4,
    transfer: 3,
    approve: 3,
    transfer_from: 3,
    supply_collateral: 4,
    borrow: 6,
    repay: 6,
    withdraw_collateral: 4,
    supply_collateral_and_borrow: 6,
    repay_and_withdraw_collateral: 4,
    deleverage: 5,
    flash_loan: 4,
    liquidate: 5,
    open_short: 9,
    close_short: 6,
    add_margin: 3,
    remove_margin: 5,
    liquidate_by_purchase: 2,
    sync_funding: 5,
    set_operator: 3,
    donate: 2,
    set_fee: 2,
    set_hook: 2,
    set_paused: 2,
    set_caps: 2,
    request_reserve_withdrawal: 2,
    withdraw_reserve: 5,
}
TROUBLE: dict[Rule, int] = {break_prices: 1, set_terms: 2, follow_price: 3}
MOVES: dict[Rule, int] = {warp: 8, set_prices: 8, set_funding: 4}
