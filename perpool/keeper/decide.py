"""What to do: pure functions from state to actions.

Reports come first; `upkeep` is decided on the state that they left behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpool.keeper.model import (
    Action,
    MarketState,
    ObservePrice,
    Policy,
    ReportFunding,
    ReportPrice,
    SyncFunding,
    Values,
)


def reports(
    states: Sequence[MarketState], values: Sequence[Values], policy: Policy, now: int
) -> list[Action]:
    """The rounds to submit at a time.

    A funding round takes all markets that have a rate as soon as it is due for one of them: another
    token in a round costs less than a round.
    """
    by_market = {each.market: each for each in values}
    pairs = [(state, by_market[state.market]) for state in states if state.market in by_market]
    actions: list[Action] = []
    if any(_funding_due(state, value, policy, now) for state, value in pairs):
        rates = tuple(
            (state.market, value.funding)
            for state, value in pairs
            if value.funding is not None and state.funding.observed_at < now
        )
        actions.append(ReportFunding(now, rates))
    actions += [
        ReportPrice(state.market, now, value.price)
        for state, value in pairs
        if value.price is not None and _price_due(state, value, policy, now)
    ]
    return actions


def upkeep(states: Sequence[MarketState]) -> list[Action]:
    """Pools that are behind the oracle, and price oracles that would take an observation."""
    actions: list[Action] = []
    for state in states:
        actions += [
            SyncFunding(state.market, pool.address)
            for pool in state.pools
            if pool.funding_time < state.funding.observed_at
        ]
        if state.volatility_due:
            actions.append(ObservePrice(state.market))
    return actions


def _funding_due(state: MarketState, value: Values, policy: Policy, now: int) -> bool:
    feed = state.funding
    if value.funding is None or feed.observed_at >= now:
        return False
    if feed.observed_at == 0 or now - feed.observed_at >= policy.funding_heartbeat.total_seconds():
        return True
    return abs(value.funding - feed.median) >= policy.funding_threshold


def _price_due(state: MarketState, value: Values, policy: Policy, now: int) -> bool:
    last = state.price
    if last is None or value.price is None:
        return False
    if last.observed_at == 0:
        return True
    if now < last.observed_at + last.spacing:
        return False
    if last.held or now - last.observed_at >= policy.price_heartbeat.total_seconds():
        return True
    return abs(value.price - last.price) >= policy.price_threshold * last.price
