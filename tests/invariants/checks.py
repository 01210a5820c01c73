"""The invariants of docs/invariants.md, checked on what can be seen of the chain alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

from perpool.reference.market import Market as Model
from perpool.reference.reverse import borrow_ltv
from perpool.reference.wad import WAD
from perpool.reference.world import BORROWERS, HOLDERS, Event
from tests.invariants.arena import ACTORS, PUPPET, VENUE
from tests.invariants.observation import RESERVE, Observation
from tests.invariants.steps import LIQUIDATIONS, SWAPS, Outcome, Step, require

CAPS = {"supply cap", "debt cap", "collateral cap", "block cap"}
PRICES = {"stale price", "prices disagree"}
NEW_RISK = {"deposit", "mint", "borrow", "supply_collateral_and_borrow", "open_short", "flashLoan"}
LENDERS_EXITS = {"withdraw", "redeem"}
OVERFLOW = {"amount too large"}


def args_of(event: Event) -> dict[str, Any]:
    """The arguments of a logged event by name."""
    return dict(event.args)


class Facts:
    """What the invariants ask beside what was observed: caps, who may act for whom, prices."""

    def __init__(self, model: Model, *, fair_venue: bool) -> None:
        self.caps = {
            "reverse": (
                model.reverse.supply_cap,
                model.reverse.debt_cap,
                model.reverse.collateral_cap,
            ),
            "forward": (model.forward.supply_cap, model.forward.debt_cap, model.forward.block_cap),
        }
        self.hooks = {name: pool.hook for name, pool in model.pools.items()}
        self.failing_hooks = model.failing_hooks
        self.authorised = {
            (holder, who)
            for pool in model.pools.values()
            for (holder, who), shares in pool.allowances.items()
            if shares
        } | model.operators
        self.fair_venue = fair_venue
        """Whether the venue trades at the price that wealth is measured in, or worse."""
        self.lower, self.upper = model.prices.lower, model.prices.upper
        self.volatility = model.prices.volatility


def check_books(seen: Observation, given: Counter[tuple[str, str]]) -> None:
    """What holds at any time. `given` are tokens sent to a pool as a gift, by (pool, token)."""
    balances = {"token": seen.tokens, "usdt": seen.usdt}
    for name, view in seen.pools.items():
        state = view.state
        asset, collateral = ("usdt", "token") if name == "reverse" else ("token", "usdt")
        cash = balances[asset][name] - given[name, asset]
        require(
            cash == state.cash and state.all_assets >= state.charged_assets,
            "ACC-1",
            f"{name}: cash {cash} is not that of {state}, or its assets are not even those charged",
        )
        require(
            cash + state.debt_assets == view.claims + state.uncharged_fee,
            "ACC-1",
            f"{name}: cash {cash} + debt {state.debt_assets} is not what lenders claim, "
            f"{view.claims}, and the fee {state.uncharged_fee}",
        )
        shares = sum(view.shares.values()) + state.reserve_shares
        require(
            shares == state.supply_shares,
            "ACC-2",
            f"{name}: shares of all accounts and the reserve {shares} are not "
            f"{state.supply_shares}",
        )
        debt_shares = sum(view.debt_shares.values())
        require(
            debt_shares == state.debt_shares,
            "ACC-3",
            f"{name}: debt shares of all positions {debt_shares} are not {state.debt_shares}",
        )
        posted = sum(view.collateral.values())
        held = balances[collateral][name] - given[name, collateral]
        require(held == posted, "ACC-4", f"{name}: collateral {held} is not positions' {posted}")
        require(
            balances[asset][name] >= state.cash and balances[collateral][name] >= posted,
            "BAL-1",
            f"{name} holds less than its accounts say",
        )
        require(
            (state.debt_assets == 0) == (state.debt_shares == 0),
            "ACC-5",
            f"{name}: debt {state.debt_assets} with {state.debt_shares} shares",
        )


def check_time(before: Observation, after: Observation) -> None:
    """After time, price or funding moved and nobody acted."""
    for name, view in after.pools.items():
        old, new = before.pools[name].accrued, view.accrued
        grown = new.debt_assets - old.debt_assets
        require(
            grown >= 0 and new == replace(old, debt_assets=new.debt_assets, updated_at=after.now),
            "INT-1",
            f"{name}: time made {new} of {old}",
        )
        # what the lenders do not get is the fee, to the unit by which all of it is rounded
        kept = grown - (view.accrued_claims - before.pools[name].accrued_claims)
        require(
            -1 < kept - Fraction(grown * new.fee_permille, 1000) < 1,
            "INT-1",
            f"{name}: debt grew by {grown}, of which lenders do not get {kept}",
        )
        check_share_price(name, before, after, None)


def check_share_price(
    name: str, before: Observation, after: Observation, outcome: Outcome | None
) -> None:
    """SHR-1 and SHR-2."""
    old = before.pools[name].share_price
    new = after.pools[name].share_price
    losses = (
        [args_of(event) for event in outcome.named("BadDebt") if event.pool == name]
        if outcome
        else []
    )
    if not losses:
        require(new >= old, "SHR-1", f"{name}: share price fell from {old} to {new}")
        return
    # the fee on all of it is charged before
    total = before.pools[name].accrued.all_assets + 1
    borne = Fraction(1)
    for loss in losses:
        borne *= Fraction(
            total - loss["from_reserve"] - loss["from_lenders"], total - loss["from_reserve"]
        )
        if loss["from_lenders"]:
            state = after.pools[name].state
            reserve = state.reserve_shares * new + state.uncharged_fee
            require(reserve < 1, "SHR-2", f"{name}: lenders lost, the reserve has {float(reserve)}")
    require(new >= old * borne, "SHR-1", f"{name}: share price fell by more than the bad debt")


def check_step(
    step: Step,
    outcome: Outcome,
    before: Observation,
    after: Observation,
    facts: Facts,
) -> None:
    """What a call may and may not do, when time and price stand still."""
    if not outcome.success:
        check_exit(step, outcome, before, facts)
        return
    for name in after.pools:
        check_share_price(name, before, after, outcome)
    check_shorts(step, before, after)
    check_health(before, after)
    check_wealth(step, outcome, before, after, facts)
    check_pause(step, before)
    check_limits(step, before, after, facts)
    if step.function in LIQUIDATIONS and step.target in after.pools:
        check_liquidation(step, outcome, before, after)
    check_hook(step, outcome, before, after, facts)


def check_exit(step: Step, outcome: Outcome, before: Observation, facts: Facts) -> None:
    """EXT-1: no way out ends at a pause or a cap, and no way without risk at a price."""
    if step.target not in before.pools or outcome.reason is None or step.inner:
        return
    view = before.pools[step.target]
    forbidden: set[str] = set()
    function = step.function
    if function in LENDERS_EXITS or function == "repay":
        forbidden = {"paused"} | CAPS | PRICES | OVERFLOW
    elif function in ("withdraw_collateral", "remove_margin"):
        if view.debt_shares.get(step.args[1]) == 0:
            forbidden = {"paused"} | CAPS | PRICES
    elif function == "close_short":
        forbidden = {"paused", "prices disagree"} | CAPS
        if step.args[0] >= view.debt(step.args[3]):
            forbidden |= PRICES
    elif function in ("deleverage", *LIQUIDATIONS):
        forbidden = {"paused", "prices disagree"} | CAPS
    elif function in ("supply_collateral", "add_margin"):
        forbidden = {"paused"} | PRICES
    require(
        outcome.reason not in forbidden, "EXT-1", f"{function} reverted with {outcome.reason!r}"
    )


def check_health(before: Observation, after: Observation) -> None:
    """HLT-1 and DST-1."""
    for name, view in after.pools.items():
        for account in ACTORS:
            if view.debt_shares[account] == 0:
                continue
            require(
                after.is_healthy(name, account) or not before.is_healthy(name, account),
                "HLT-1",
                f"{name}: {account} was healthy and is not",
            )
            if view.debt_shares[account] != before.pools[name].debt_shares[account]:
                require(
                    view.debt(account) >= view.ledger.leg.min_debt,
                    "DST-1",
                    f"{name}: {account} owes dust",
                )


def check_wealth(
    step: Step, outcome: Outcome, before: Observation, after: Observation, facts: Facts
) -> None:
    """RND-1 and SEQ-1."""
    old, new = before.wealth(), after.wealth()
    callers = {step.caller, *(inner.caller for inner in step.inner)}
    trades = bool(step.functions & set(SWAPS))
    may_lose = callers | {
        holder for holder, who in facts.authorised if who in callers and holder in ACTORS
    }
    if trades and not facts.fair_venue:
        may_lose.add(VENUE)
    liquidations = bool(step.functions & set(LIQUIDATIONS))
    # where a pool's fee is charged less than a share's worth is rounded off: all lenders have it
    rounded = {
        RESERVE[name]: before.share_value(name)
        for name, view in before.pools.items()
        if after.pools[name].accrued.uncharged_fee < view.accrued.uncharged_fee
    }
    gain = sum((max(Fraction(0), old[reserve] - new[reserve]) for reserve in rounded), Fraction(0))
    if liquidations:
        borrower = step.args[0]
        may_lose.add(borrower)
        gain += max(Fraction(0), old[borrower] - new[borrower])
    bad = outcome.named("BadDebt")
    if bad:
        may_lose |= set(old)
    if step.function == "withdraw_reserve":
        may_lose |= set(RESERVE.values())
    for account, amount in old.items():
        lost = amount - new[account]
        require(
            account in may_lose or lost <= 0 or lost < rounded.get(account, 0),
            "RND-1",
            f"{account} lost {float(lost)} by a call of {step.caller}",
        )
    if trades and not facts.fair_venue:
        return
    if not bad and step.caller in old and step.function != "withdraw_reserve":
        party = may_lose | (step.accounts & set(ACTORS))
        party -= {step.args[0]} if liquidations and step.args[0] not in callers else set()
        change = sum(new[account] - old[account] for account in party if account in ACTORS)
        require(
            change <= gain,
            "SEQ-1",
            f"{', '.join(sorted(party))} gained {float(change)} by a call of {step.caller}",
        )


def check_pause(step: Step, before: Observation) -> None:
    """PAU-1."""
    for call in (step, *step.inner):
        view = before.pools.get(call.target)
        if view is None or not view.state.paused:
            continue
        risky = call.function in NEW_RISK
        if call.function in ("withdraw_collateral", "remove_margin") and not step.inner:
            risky = view.debt_shares.get(call.args[1], 0) > 0
        require(not risky, "PAU-1", f"{call.function} went through a pause")


def check_limits(step: Step, before: Observation, after: Observation, facts: Facts) -> None:
    """CAP-1 and LTV-1: what is new is within the limits."""
    if step.target not in after.pools:
        return
    view, old = after.pools[step.target], before.pools[step.target]
    supply_cap, debt_cap, leg_cap = facts.caps[step.target]
    function = step.function
    state = view.state
    if function in ("deposit", "mint"):
        require(state.all_assets <= supply_cap, "CAP-1", "deposited past the cap")
    if function in ("borrow", "supply_collateral_and_borrow", "open_short"):
        require(state.debt_assets <= debt_cap, "CAP-1", "borrowed past the cap")
    if function in ("supply_collateral", "supply_collateral_and_borrow"):
        require(after.tokens["reverse"] <= leg_cap, "CAP-1", "collateral past the cap")
    if function == "open_short":
        sold = sum(
            view.sold[account]
            for account in ACTORS
            if view.opened_block[account] == after.block_number
            and old.opened_block[account] != after.block_number
        )
        if sum(old.sold.values()) == 0:
            require(sold <= leg_cap, "CAP-1", "sold past the cap of a block")
    account = {
        "borrow": 1,
        "supply_collateral_and_borrow": 2,
        "withdraw_collateral": 1,
        "repay_and_withdraw_collateral": 2,
        "open_short": 4,
        "remove_margin": 1,
    }.get(function)
    if account is None or view.debt_shares[step.args[account]] == 0:
        return
    debt = view.debt(step.args[account])
    collateral = view.collateral[step.args[account]]
    leg = view.ledger.leg
    if step.target == "reverse":
        value = collateral * facts.lower // 10**36
        within = debt * WAD <= value * borrow_ltv(leg, facts.volatility)
    else:
        within = debt * facts.upper * WAD <= collateral * leg.max_ltv * 10**36
    require(within, "LTV-1", f"{function} left {step.args[account]} past the LTV for new risk")


def check_liquidation(
    step: Step, outcome: Outcome, before: Observation, after: Observation
) -> None:
    """LIQ-1 to LIQ-4."""
    name, borrower = step.target, step.args[0]
    leg = after.pools[name].ledger.leg
    old, new = before.pools[name], after.pools[name]
    require(not before.is_healthy(name, borrower), "LIQ-4", f"{borrower} was healthy")
    if name == "forward":
        require(
            old.opened_block[borrower] < after.block_number,
            "LIQ-4",
            f"{borrower} had opened in this block",
        )
    debt, value = before.values(name, borrower)
    debt_left, value_left = after.values(name, borrower)
    # of the size of one unit of whichever side is coarser
    unit = max(1, before.price // 10**36)
    if debt * (WAD + leg.bonus_base) < value * WAD:
        rise = (debt_left - 2 * unit) * value - debt * (value_left + 2 * unit)
        require(
            rise <= 0 or not new.debt_shares[borrower],
            "LIQ-1",
            f"the LTV rose from {debt}/{value} to {debt_left}/{value_left}",
        )
        require(not outcome.named("BadDebt"), "LIQ-1", f"bad debt of {debt} backed by {value}")
    repaid, seized = outcome.value
    if name == "reverse":
        paid, taken = Fraction(repaid), Fraction(seized * before.price, 10**36)
    else:
        paid, taken = Fraction(repaid * before.price, 10**36), Fraction(seized)
    most = (paid + 2 * unit) * (WAD + leg.bonus_cap) / WAD
    require(taken <= most, "LIQ-2", f"{float(taken)} were taken for {float(paid)}")
    if new.debt_shares[borrower]:
        slack = 4 * unit + debt // 10**15
        require(new.collateral[borrower] > 0, "LIQ-5", f"{borrower} is left with bare debt")
        # fractions are rounded to 1e-18; a purchase at less than the oracle's price leaves more
        require(
            step.function != "liquidate" or (debt_left + slack) * WAD >= value_left * leg.max_ltv,
            "LIQ-3",
            f"{debt_left} are left on {value_left}, more was taken than restores max_ltv",
        )


def check_shorts(step: Step, before: Observation, after: Observation) -> None:
    """SHORT-1: what the forward pool lends goes to the venue, and no token of it to others."""
    exits = {"withdraw", "redeem", "withdraw_reserve"}
    if "forward" not in step.targets or step.functions & exits:
        return
    left = before.tokens["forward"] - after.tokens["forward"]
    sold = after.tokens[VENUE] - before.tokens[VENUE]
    require(left <= max(sold, 0), "SHORT-1", f"{left} tokens left, the venue got {sold}")
    if step.targets == {"forward"}:
        # a purchase that spends all collateral may buy more than the debt, from the venue
        surplus = max(left - sold, 0) if "liquidate_by_purchase" in step.functions else 0
        for account in ACTORS:
            got = after.tokens[account] - before.tokens[account]
            require(got <= surplus, "SHORT-1", f"{account} got {got} tokens of {step.function}")


def check_hook(
    step: Step, outcome: Outcome, before: Observation, after: Observation, facts: Facts
) -> None:
    """HOK-1: a hook hears of every change, with what is now, when it is so."""
    for name, view in after.pools.items():
        hook, old = facts.hooks[name], before.pools[name]
        if not old.state.hooked or hook in facts.failing_hooks or PUPPET in step.accounts:
            continue
        for account in ACTORS:
            was = old.shares[account], old.debt_shares[account]
            now = view.shares[account], view.debt_shares[account]
            for side, before_side, shares in zip((HOLDERS, BORROWERS), was, now, strict=True):
                told = (hook, name, account, side, shares, *now) in outcome.notices
                require(
                    told or before_side == shares,
                    "HOK-1",
                    f"{name}: the hook missed {account}: {was} to {now}",
                )
