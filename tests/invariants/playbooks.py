"""Steps that are not drawn: how a run begins, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator

from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.wad import WAD
from tests.invariants.arena import ACTORS, FAILING_HOOK, POOLS, PUPPET, VENUE
from tests.invariants.machine import Machine, Playbook
from tests.invariants.steps import Step
from tests.market import MAX


def opening(machine: Machine) -> Iterator[Step]:
    """Lenders in both pools, borrowers and shorters, most of them near their limits."""
    market = machine.arena.market
    tokens, usd = market.tokens, market.usd
    yield Step("deposit", "reverse", "deposit", (usd(3_000_000), "lender"), "lender")
    yield Step("deposit", "forward", "deposit", (tokens(300_000), "saver"), "saver")
    for account, part in (("borrower", 62), ("farmer", 40), (PUPPET, 69)):
        args = tokens(40_000), usd(400_000 * part // 100), account, account
        yield Step(
            "supply_collateral_and_borrow", "reverse", "supply_collateral_and_borrow", args, account
        )
    route = machine.arena.route(sale=True)
    for account, margin in (("shorter", 50), ("trader", 90), ("borrower", 46)):
        args = usd(4000 * margin), tokens(40_000), 0, MAX, account, VENUE, route
        yield Step("open_short", "forward", "open_short", args, account)


CRASH_WAIT = 9 * 86_400


def crash(percent: int) -> Playbook:
    """The opening, and then the price at so many percent of what it was, with the venue."""

    def steps(machine: Machine) -> Iterator[Step]:
        yield from opening(machine)
        yield Step("set_funding", "world", "set_funding", (WAD, machine.model.now))
        for name in POOLS:
            yield Step("sync_funding", name, "sync_funding", (), "lender")
        yield Step("warp", "world", "warp", (CRASH_WAIT,))
        for name in POOLS:
            yield Step("sync_funding", name, "sync_funding", (), "lender")
            args = name, machine.model.pools[name].state.reserve_shares // 3
            function = "request_reserve_withdrawal"
            yield Step(function, "factory", function, args, "owner")
        yield Step("warp", "world", "warp", (CRASH_WAIT,))
        price = machine.arena.start_price * percent // 100
        yield Step("set_prices", "world", "set_prices", (price, price, price, 0))
        yield Step("follow_price", "world", "set_terms", (price, WAD // 1000, 0))

    return steps


LAST_WAIT = 90 * 86_400


def leave(machine: Machine) -> Iterator[Step]:
    """Everybody goes, with both pools paused, every cap at zero, the hook failing and no price.

    Each step has to go through: EXT-1. A last time without a call brings interest on which the fee
    is not charged, and the last lender of a pool takes more than what is.
    """
    model = machine.model
    yield Step("end", "world", "set_terms", (machine.model.prices.liquidation, 0, 0))
    yield Step("end", "world", "break_prices", (True, True))
    for name in POOLS:
        yield Step("end", "factory", "set_caps", (name, 0, 0, 0), "owner")
        yield Step("end", "factory", "set_hook", (name, FAILING_HOOK), "owner")
        yield Step("end", "factory", "set_paused", (name, True), "owner")
    yield Step("end", "world", "warp", (LAST_WAIT,))
    for account in ACTORS:
        for name, pool in model.pools.items():
            if pool.debt_shares[account] and name == "forward" and _can_close(machine, account):
                route = machine.arena.route(sale=False)
                args = MAX, MAX, MAX, account, account, VENUE, route
                yield _exit("close_short", name, args, account)
            if pool.debt_shares[account]:
                due = 2 * pool.debt_of(account)
                yield Step("end", "world", "give", (account, pool.asset.name, due))
                yield _exit("repay", name, (MAX, account), account)
            if pool.collateral_of[account]:
                function = "withdraw_collateral" if name == "reverse" else "remove_margin"
                yield _exit(function, name, (MAX, account, account), account)
    for account in ACTORS:
        for name, pool in model.pools.items():
            shares = pool.shares[account]
            if pool.ledger.to_assets_down(pool.accrued(), shares):
                yield _exit("redeem", name, (shares, account, account), account)


def _exit(function: str, pool: str, args: tuple[object, ...], caller: str) -> Step:
    return Step(f"leave by {function}", pool, function, args, caller, must_succeed=True)


def _can_close(machine: Machine, account: str) -> bool:
    """Whether the position's USDT covers what its debt costs and a percent."""
    pool = machine.model.forward
    cost = pool.debt_of(account) * machine.model.prices.liquidation // PRICE_SCALE
    return not machine.arena.is_uniswap and pool.collateral_of[account] * 100 > cost * 101
