"""Random rounds and prices: the oracles equal the reference model to the last unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpool.evm import Contract, Evm
from perpool.reference import oracle as reference
from perpool.reports import LARGEST_RATE, Domain, unpack_rates
from tests.oracles import Panel, token_list

WAD = 10**18
UNIT = 10**9
SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

BOUND = 100_000 * 10**9
"""Widest bound in units."""
rates = st.one_of(
    st.none(),
    st.integers(-(10**9), 10**9),
    st.integers(-(10**10), 10**10),
    st.integers(-LARGEST_RATE, LARGEST_RATE),
)


@dataclass(frozen=True)
class Setting:
    """Bounds and tau of one token."""

    lower: int
    upper: int
    tau: int


@dataclass(frozen=True)
class Round:
    """Seconds since the last, who takes part, and what he says of each token."""

    elapsed: int
    rows: list[list[int | None] | None]


bounds = st.one_of(
    st.just((-5 * 10**9, 5 * 10**9)),
    st.tuples(st.integers(-BOUND, BOUND), st.integers(-BOUND, BOUND))
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: (min(pair), max(pair))),
)
feeds = st.builds(
    lambda pair, tau: Setting(*pair, tau),
    bounds,
    st.one_of(st.just(86_400), st.integers(3_600, 30 * 86_400)),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, list[Setting], list[Round]]:
    """(reporters, quorum, tokens, rounds)."""
    # five is the usual number, with arithmetic of its own
    count = draw(st.one_of(st.just(5), st.integers(3, 15)))
    quorum = draw(st.integers(max(3, count // 2 + 1), count))
    tokens = draw(st.lists(feeds, min_size=1, max_size=9))
    row = st.lists(rates, min_size=len(tokens), max_size=len(tokens))
    full = st.lists(rates.filter(lambda rate: rate is not None), min_size=len(tokens)).map(
        lambda found: found[: len(tokens)]
    )
    rounds = []
    for _ in range(draw(st.integers(1, 4))):
        absent = draw(st.sets(st.integers(0, count - 1), max_size=count - quorum))
        kind = draw(st.sampled_from([row, full]))
        rows = [None if seat in absent else draw(kind) for seat in range(count)]
        elapsed = draw(st.one_of(st.just(3_600), st.integers(0, 3 * 86_400), st.just(10**8)))
        rounds.append(Round(elapsed, rows))
    return count, quorum, tokens, rounds


@pytest.fixture(scope="module")
def oracle(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("FundingOracle", 900)


def test_funding_oracle__equals_the_reference(chain: Evm, oracle: Contract) -> None:
    seen: Counter[str] = Counter()

    @SETTINGS
    @given(histories())
    def run(history: tuple[int, int, list[Setting], list[Round]]) -> None:
        count, quorum, settings_, rounds = history
        with chain.anchor():
            panel = Panel.seat(chain, oracle, Domain.of_funding_oracle, count=count, quorum=quorum)
            tokens = token_list(chain, len(settings_))
            model = reference.FundingOracle(quorum)
            for token, each in zip(tokens, settings_, strict=True):
                oracle.set_feed(token, each.lower * UNIT, each.upper * UNIT, each.tau)
                model.set_feed(token, each.lower, each.upper, each.tau)
            for each in rounds:
                chain.warp(each.elapsed)
                at = chain.timestamp
                receipt = oracle.submit.transact(*panel.funding_round(at, tokens, each.rows))
                updated = model.submit(at, tokens, [row for row in each.rows if row is not None])
                compare(oracle, model, tokens, receipt, updated)
                seen["updated"] += len(updated)
                seen["skipped"] += len(tokens) - len(updated)
                seen["clamped"] += sum(feed.clamped for feed in updated.values())
                seen["five"] += count == 5

    def compare(oracle, model, tokens, receipt, updated) -> None:
        assert receipt.return_value == len(updated)
        (event,) = receipt.logs
        for name, words in (("median", event.args.medians), ("ema", event.args.emas)):
            found = unpack_rates(words, len(tokens))
            expected = [getattr(updated[t], name) if t in updated else None for t in tokens]
            assert found == expected
        flags = [t in updated and updated[t].clamped for t in tokens]
        assert event.args.clamped == sum(flag << index for index, flag in enumerate(flags))
        for token in tokens:
            feed = model.feeds[token]
            assert tuple(oracle.feed(token)) == (
                *(feed.ema * UNIT, feed.median * UNIT, feed.observed_at),
                *(feed.lower * UNIT, feed.upper * UNIT, feed.tau, feed.clamped),
            )
            assert oracle.funding(token) == reference.funding_wad(model.feeds, token)

    run()
    assert min(seen[name] for name in ("updated", "skipped", "clamped", "five")) >= 10, seen


def test_funding_oracle__two_liars_of_five_stay_within_the_honest(
    chain: Evm, oracle: Contract
) -> None:
    """(quorum - 1) / 2 leaked keys cannot move a median outside the honest values."""

    @SETTINGS
    @given(
        quorum=st.sampled_from([3, 4, 5]),
        honest=st.lists(st.integers(-(10**9), 10**9), min_size=5, max_size=5),
        lies=st.lists(rates, min_size=2, max_size=2),
        taking_part=st.data(),
    )
    def run(quorum: int, honest: list[int], lies: list[int | None], taking_part) -> None:
        liars = (quorum - 1) // 2
        others = honest[: 5 - liars]
        # the liars' submitter leaves out whom he likes
        left = taking_part.draw(st.integers(quorum - liars, len(others)))
        rows = [[lie] for lie in lies[:liars]] + [[rate] for rate in others[:left]]
        with chain.anchor():
            panel = Panel.seat(chain, oracle, Domain.of_funding_oracle, count=5, quorum=quorum)
            (token,) = token_list(chain, 1)
            oracle.set_feed(token, -BOUND * UNIT, BOUND * UNIT, 86_400)
            chain.warp(3_600)
            oracle.submit(*panel.funding_round(chain.timestamp, [token], rows))
            feed = oracle.feed(token)
            if feed.observed_at:
                assert min(others) * UNIT <= feed.median_wad <= max(others) * UNIT

    run()


def test_price_feed__equals_the_reference(chain: Evm) -> None:
    price = st.one_of(st.integers(0, 10**19), st.integers(0, 2**128), st.integers(0, 2**256 - 1))
    seen: Counter[bool] = Counter()

    @SETTINGS
    @given(
        count=st.integers(3, 15),
        max_move=st.integers(WAD // 20, WAD // 2),
        rounds=st.data(),
    )
    def run(count: int, max_move: int, rounds) -> None:
        with chain.anchor():
            token = token_list(chain, 1)[0]
            feed = chain.deploy("PriceFeed", token, "TKN / USDT", 300, 60, max_move)
            quorum = max(3, count // 2 + 1)
            panel = Panel.seat(chain, feed, Domain.of_price_feed, count=count, quorum=quorum)
            model = reference.PriceFeed(60, max_move)
            for number in range(rounds.draw(st.integers(1, 5))):
                chain.warp(60)
                at = chain.timestamp
                width = rounds.draw(st.integers(quorum, count))
                lowest = 1 if number == 0 else 0
                highest = 2**128 - 1 if number == 0 else 2**256 - 1
                prices = [
                    max(lowest, min(highest, each))
                    for each in rounds.draw(st.lists(price, min_size=width, max_size=width))
                ]
                assert feed.submit(*panel.price_round(at, token, prices)) == model.submit(
                    at, prices
                )
                assert tuple(feed.latestRoundData()) == (
                    *(model.round_id, model.price, at, at),
                    model.round_id - model.held,
                )
                seen[model.held] += 1

    run()
    assert min(seen[True], seen[False]) >= 20, seen


def test_volatility__equals_the_reference(chain: Evm) -> None:
    known = 0

    @SETTINGS
    @given(
        # often after a window of quiet, so that it is known
        quiet=st.sampled_from([0, 10]),
        steps=st.lists(
            st.tuples(
                st.one_of(st.just(28_800), st.integers(0, 100_000), st.integers(0, 400_000)),
                st.one_of(st.integers(900, 1_100), st.integers(1, 10**6)),
            ),
            min_size=1,
            max_size=20,
        ),
    )
    def run(quiet: int, steps: list[tuple[int, int]]) -> None:
        nonlocal known
        with chain.anchor():
            oracle, feed = price_oracle(chain)
            model = reference.Volatility()
            for elapsed, answer in [(28_800, 1_000)] * quiet + steps:
                chain.warp(elapsed)
                with chain.same_block():
                    feed.set(answer)
                    taken = oracle.observe()
                assert taken == model.observe(chain.timestamp, oracle.liquidation_price())
                assert oracle.volatility() == model.volatility(chain.timestamp)
                known += oracle.volatility() != reference.UNKNOWN_VOLATILITY

    run()
    assert known >= 20, known


def price_oracle(chain: Evm) -> tuple[Contract, Contract]:
    """An oracle of a feed with two decimals and hardly any range, and the feed."""
    none = "0x" + 40 * "0"
    usdt = chain.deploy("UsdtLike", 6)
    token = chain.deploy("TestToken", "Token", "TKN", 18)
    feed = chain.deploy("TestFeed", 2, 1_000)
    oracle = chain.deploy(
        "PriceOracle",
        *(token, usdt, (feed.address, 3_600, 1, 10**9)),
        *((none, 0, 0, 0), (none, 0, 0)),
    )
    return oracle, feed
