"""What to submit and to keep in step: pure functions from state to actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from perpool.keeper.model import (
    Action,
    FundingFeed,
    MarketState,
    ObservePrice,
    Policy,
    PriceRound,
    ReportFunding,
    ReportPrice,
    Round,
    SyncFunding,
)

RATE_UNITS = 10**9


def reports(
    states: Sequence[MarketState], rounds: Iterable[Round], policy: Policy
) -> list[ReportFunding | ReportPrice]:
    """The rounds to submit, out of those that are complete: the newest of each contract and tokens.

    Prices come first, liquidations wait for them. A funding round goes with all its tokens as soon
    as it is due for one of them: another token in a round costs less than a round.
    """
    newest: dict[tuple[str, tuple[str, ...]], Round] = {}
    for each in sorted(rounds, key=lambda each: each.subject.observed_at):
        newest[each.subject.contract, each.subject.tokens] = each
    by_feed = {state.price_feed: state for state in states if state.price_feed is not None}
    by_token = {state.token: state for state in states}
    prices: list[ReportFunding | ReportPrice] = []
    funding: list[ReportFunding | ReportPrice] = []
    for each in newest.values():
        if each.kind == "price":
            market = by_feed.get(each.subject.contract)
            [price] = each.medians
            if market is None or price is None:
                continue
            if _price_due(market.price, each, price, policy):
                prices.append(ReportPrice(market.market, each, price))
        else:
            rates = _rates(by_token, each)
            if any(_funding_due(state.funding, each, rate, policy) for state, rate in rates):
                said = tuple((state.market, rate) for state, rate in rates)
                funding.append(ReportFunding(each, said))
    return prices + funding


def upkeep(states: Sequence[MarketState], now: int) -> list[Action]:
    """Pools that are behind the oracle, and price oracles that would take an observation."""
    actions: list[Action] = []
    for state in states:
        actions += [
            SyncFunding(state.market, pool.address, state.funding.observed_at)
            for pool in state.pools
            if pool.funding_time < state.funding.observed_at
        ]
        if state.volatility_due:
            actions.append(ObservePrice(state.market, now))
    return actions


def _rates(by_token: dict[str, MarketState], found: Round) -> list[tuple[MarketState, int]]:
    """Markets that a round would change, with their medians held by the bounds."""
    rates = []
    for token, median in zip(found.subject.tokens, found.medians, strict=True):
        state = by_token.get(token)
        if state is None or median is None:
            continue
        if state.funding.observed_at < found.subject.observed_at:
            held = max(state.funding.lower, min(state.funding.upper, median))
            rates.append((state, held))
    return rates


def _funding_due(feed: FundingFeed, found: Round, rate: int, policy: Policy) -> bool:
    age = found.subject.observed_at - feed.observed_at
    if feed.observed_at == 0 or age >= policy.funding_heartbeat.total_seconds():
        return True
    return abs(rate - feed.median) >= policy.funding_threshold * RATE_UNITS


def _price_due(last: PriceRound | None, found: Round, price_wad: int, policy: Policy) -> bool:
    if last is None:
        return False
    age = found.subject.observed_at - last.observed_at
    if last.observed_at == 0:
        return True
    if age < last.spacing:
        return False
    if last.held or age >= policy.price_heartbeat.total_seconds():
        return True
    return Decimal(abs(price_wad - last.price_wad)) >= policy.price_threshold * last.price_wad
