"""`funding` and `feed`."""

from tests.unit.funding_oracle.conftest import LOWER, TAU, UNIT, UPPER


def test_funding__of_an_unknown_token(bench, evm) -> None:
    assert bench.oracle.funding(bench.anyone) == (0, 0)
    assert tuple(bench.oracle.feed(bench.anyone)) == (0, 0, 0, 0, 0, 0, False)


def test_funding__before_the_first_round(bench, evm) -> None:
    assert bench.oracle.funding(bench.tokens[0]) == (0, 0)
    assert tuple(bench.oracle.feed(bench.tokens[0])) == (
        *(0, 0, 0),
        *(LOWER * UNIT, UPPER * UNIT, TAU, False),
    )


def test_funding__after_rounds(bench, evm) -> None:
    evm.warp(60)
    first = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(first, bench.tokens[:1], [[-(10**8)]] * 3))
    assert bench.oracle.funding(bench.tokens[0]) == (-(10**8) * UNIT, first)
    evm.warp(3_600)
    second = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(second, bench.tokens[:1], [[10**9 + 7]] * 3))
    ema_wad, at = bench.oracle.funding(bench.tokens[0])
    assert at == second
    assert -(10**8) * UNIT < ema_wad < (10**9 + 7) * UNIT
    feed = bench.oracle.feed(bench.tokens[0])
    assert (feed.ema_wad, feed.median_wad) == (ema_wad, (10**9 + 7) * UNIT)
    assert (feed.observed_at, feed.clamped) == (second, False)
