"""`set_reporters`, and the views of who reports."""

import pytest

from perpool.evm import reverts
from tests.oracles import ZERO_ADDRESS, reporters


def addresses(bench, count: int) -> list[str]:
    return [account.address for account in reporters(bench.evm, count)]


def test_set_reporters__not_the_owner(bench, evm) -> None:
    with reverts("ownable: caller is not the owner"):
        bench.oracle.set_reporters(addresses(bench, 5), 3, sender=bench.anyone)


@pytest.mark.parametrize("change", ["zero", "repeated", "descending"])
def test_set_reporters__not_ascending(bench, evm, change: str) -> None:
    good = addresses(bench, 5)
    bad = {
        "zero": [ZERO_ADDRESS, *good],
        "repeated": [good[0], good[0], *good[1:]],
        "descending": [good[1], good[0], *good[2:]],
    }[change]
    with reverts("reporters not ascending"):
        bench.oracle.set_reporters(bad, 4, sender=bench.owner)


@pytest.mark.parametrize(
    ("count", "quorum"), [(0, 0), (1, 1), (2, 2), (3, 2), (5, 2), (6, 3), (7, 3), (15, 7), (5, 0)]
)
def test_set_reporters__quorum_too_small(bench, evm, count: int, quorum: int) -> None:
    # below three, or no more than half
    with reverts("quorum too small"):
        bench.oracle.set_reporters(addresses(bench, count), quorum, sender=bench.owner)


@pytest.mark.parametrize(("count", "quorum"), [(0, 3), (2, 3), (3, 4), (5, 6), (15, 16)])
def test_set_reporters__quorum_too_large(bench, evm, count: int, quorum: int) -> None:
    with reverts("quorum too large"):
        bench.oracle.set_reporters(addresses(bench, count), quorum, sender=bench.owner)


def test_set_reporters__more_than_fifteen(bench, evm) -> None:
    # does not decode
    with reverts(""):
        bench.oracle.set_reporters(addresses(bench, 16), 9, sender=bench.owner)


@pytest.mark.parametrize(
    ("count", "quorum"), [(3, 3), (4, 3), (5, 3), (5, 5), (6, 4), (15, 8), (15, 15)]
)
def test_set_reporters__succeeds(bench, evm, count: int, quorum: int) -> None:
    members = addresses(bench, count)
    receipt = bench.oracle.set_reporters.transact(members, quorum, sender=bench.owner)
    (event,) = receipt.logs
    assert event.name == "ReportersSet"
    assert (event.args.reporters, event.args.quorum) == (members, quorum)
    assert bench.oracle.reporters() == members
    assert bench.oracle.quorum() == quorum
    assert all(bench.oracle.is_reporter(member) for member in members)
    assert not bench.oracle.is_reporter(bench.anyone)
    assert not bench.oracle.is_reporter(ZERO_ADDRESS)


def test_set_reporters__voids_what_those_who_left_signed(bench, evm) -> None:
    evm.warp(60)
    at = evm.timestamp
    panel, tokens = bench.panel, bench.tokens[:1]
    bench.oracle.set_reporters(panel.addresses[1:], 3, sender=bench.owner)
    with_leaver = panel.funding_round(at, tokens, [[1], [2], [3]])
    for seats in (with_leaver[3], with_leaver[3][1:]):
        with reverts("wrong number of values" if len(seats) == 4 else "unknown or repeated signer"):
            bench.oracle.submit(*with_leaver[:3], seats)
    # those who stayed need not sign again, only sit elsewhere
    stayed = panel.funding_round(at, tokens, [None, [2], [3], [4]])
    bench.oracle.submit(*stayed[:3], stayed[3][1:])
    assert bench.funding() == (3, at)
