"""`submit`."""

from __future__ import annotations

import pytest

from perpool.evm import reverts
from perpool.reference.oracle import FundingFeed
from perpool.reports import Seat, unpack_rates
from tests.oracles import Panel, reporters
from tests.unit.funding_oracle.conftest import LOWER, MAX_AGE, TAU, UNIT, UPPER

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1."""
SAME = [[10**8] * 6] * 3
"""Three reporters who agree on six tokens."""


def swapped(seats: list[Seat], first: int, second: int) -> list[Seat]:
    changed = list(seats)
    changed[first], changed[second] = changed[second], changed[first]
    return changed


# -- values --


@pytest.mark.parametrize("change", [-32, -1, 1, 32])
def test_submit__wrong_number_of_values(bench, evm, change: int) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    values = values[:change] if change < 0 else values + bytes(change)
    with reverts("wrong number of values"):
        bench.oracle.submit(at, tokens, values, seats)


@pytest.mark.parametrize("signatures", [2, 4])
def test_submit__values_of_others_than_sign(bench, evm, signatures: int) -> None:
    at, tokens, values, _ = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    *_, seats = bench.panel.funding_round(at, bench.tokens, [[10**8] * 6] * signatures)
    with reverts("wrong number of values"):
        bench.oracle.submit(at, tokens, values, seats)


def test_submit__too_many_tokens(bench, evm) -> None:
    at, _, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts(""):
        bench.oracle.submit(at, [bench.tokens[0]] * 65, values, seats)


# -- time --


def test_submit__from_the_future(bench, evm) -> None:
    evm.warp(60)
    data = bench.panel.funding_round(evm.timestamp + 1, bench.tokens, SAME)
    with reverts("report from the future"):
        bench.oracle.submit(*data)


def test_submit__too_old(bench, evm) -> None:
    evm.warp(MAX_AGE + 1)
    data = bench.panel.funding_round(evm.timestamp - MAX_AGE - 1, bench.tokens, SAME)
    with reverts("report too old"):
        bench.oracle.submit(*data)


def test_submit__just_old_enough(bench, evm) -> None:
    evm.warp(MAX_AGE)
    at = evm.timestamp - MAX_AGE
    assert bench.oracle.submit(*bench.panel.funding_round(at, bench.tokens, SAME)) == 6


# -- signatures --


def test_submit__other_form_of_a_signature(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    # order - s with the other v is the same signature, but does not fit into 255 bits
    r, vs = seats[0]
    other_s, other_v = ORDER - vs % 2**255, 1 - (vs >> 255)
    assert other_s >= 2**255
    seats[0] = (r, other_s % 2**255 | other_v << 255)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, seats)


def test_submit__signature_of_a_stranger(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    outsiders = reporters(evm, 15)
    stranger = next(each for each in outsiders if each not in bench.panel.accounts)
    forged = Panel(evm, bench.oracle, bench.panel.domain, (stranger,), 1)
    *_, (seat,) = forged.funding_round(at, bench.tokens, [SAME[0]])
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [*seats[:2], seat, *seats[3:]])


def test_submit__one_signature_twice(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [seats[0], seats[0], *seats[2:]])


def test_submit__one_reporter_in_two_seats(bench, evm) -> None:
    # he takes the seat of one who signs nothing, and leaves him none
    at, tokens, _, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    values = bench.panel.funding_round(at, bench.tokens, [*SAME, SAME[0]])[2]
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [*seats[:3], seats[0], seats[4]])


def test_submit__signatures_in_another_order(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, swapped(seats, 0, 1))


@pytest.mark.parametrize("count", [0, 3, 4])
def test_submit__seats_missing(bench, evm, count: int) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    values = values if count else b""
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, seats[:count])


def test_submit__a_seat_too_many(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [*seats, (0, 0)])


def test_submit__absent_seat_of_a_stranger(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [*seats[:4], (int(bench.anyone.address, 16), 0)])


def test_submit__signature_that_recovers_to_nobody(bench, evm) -> None:
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, [(0, seats[0][1]), *seats[1:]])


@pytest.mark.parametrize("what", ["time", "tokens", "values"])
def test_submit__not_what_was_signed(bench, evm, what: str) -> None:
    evm.warp(60)
    at, tokens, values, seats = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    if what == "time":
        at -= 1
    elif what == "tokens":
        tokens = [tokens[1], tokens[0], *tokens[2:]]
    else:
        values = values[:31] + bytes([values[31] ^ 1]) + values[32:]
    with reverts("unknown or repeated signer"):
        bench.oracle.submit(at, tokens, values, seats)


def test_submit__signed_for_another_contract(bench, evm) -> None:
    other = evm.deploy("FundingOracle", MAX_AGE, sender=bench.owner)
    other.set_reporters(bench.panel.addresses, 3, sender=bench.owner)
    other.set_feed(bench.tokens[0], LOWER * UNIT, UPPER * UNIT, TAU, sender=bench.owner)
    data = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with reverts("unknown or repeated signer"):
        other.submit(*data)
    bench.oracle.submit(*data)


def test_submit__signed_for_another_chain(bench, evm, monkeypatch) -> None:
    data = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    with monkeypatch.context() as split:
        split.setattr(evm._block, "chain_id", 4_242)
        with reverts("unknown or repeated signer"):
            bench.oracle.submit(*data)
    bench.oracle.submit(*data)


@pytest.mark.parametrize("signatures", [0, 1, 2])
def test_submit__below_quorum(bench, evm, signatures: int) -> None:
    rates = [*([SAME[0]] * signatures), *([None] * (5 - signatures))]
    reports = bench.panel.rate_reports(evm.timestamp, bench.tokens, rates)
    seats = [(each.r, each.vs) for each in reports]
    seats += [(int(address, 16), 0) for address in bench.panel.addresses[signatures:]]
    values = b"".join(word.to_bytes(32, "big") for each in reports for word in each.values)
    with reverts("below quorum"):
        bench.oracle.submit(evm.timestamp, bench.tokens, values, seats)


def test_submit__values_behind_the_last_token(bench, evm) -> None:
    # a quorum of reporters fills lanes that stand for no token
    tokens = bench.tokens[:5]
    reports = [
        bench.panel.sign(seat, evm.timestamp, tokens, [2**200 + 2**47, 2**47 | 2**111])
        for seat in range(3)
    ]
    seats = [(each.r, each.vs) for each in reports]
    seats += [(int(address, 16), 0) for address in bench.panel.addresses[3:]]
    values = b"".join(word.to_bytes(32, "big") for each in reports for word in each.values)
    with reverts(""):
        bench.oracle.submit(evm.timestamp, tokens, values, seats)


# -- skipped tokens --


def test_submit__skips_what_it_does_not_know(bench, evm) -> None:
    tokens = [bench.anyone.address, bench.tokens[0]]
    data = bench.panel.funding_round(evm.timestamp, tokens, [[1, 2]] * 3)
    receipt = bench.oracle.submit.transact(*data)
    (event,) = receipt.logs
    assert receipt.return_value == 1
    assert unpack_rates(event.args.medians, 2) == [None, 2]
    assert unpack_rates(event.args.emas, 2) == [None, 2]
    assert bench.oracle.funding(bench.anyone) == (0, 0)
    assert bench.funding() == (2, data[0])


def test_submit__skips_a_token_short_of_values(bench, evm) -> None:
    rates = [[1, 1, 1], [2, 2, None], [3, None, 3], [None, None, 4], [5, 5, 5]]
    data = bench.panel.funding_round(evm.timestamp, bench.tokens[:3], rates)
    receipt = bench.oracle.submit.transact(*data)
    assert receipt.return_value == 3
    # the second has three of five values, just the quorum
    assert [bench.funding(token)[0] for token in range(3)] == [2, 2, 3]
    evm.warp(60)
    rates = [[9, 9, 9], [9, 9, None], [9, None, None], [None, None, None], [9, None, 9]]
    data = bench.panel.funding_round(evm.timestamp, bench.tokens[:3], rates)
    receipt = bench.oracle.submit.transact(*data)
    assert receipt.return_value == 1
    assert [bench.funding(token)[1] == data[0] for token in range(3)] == [True, False, False]
    assert unpack_rates(receipt.logs[0].args.medians, 3) == [9, None, None]


def test_submit__skips_what_is_not_newer(bench, evm) -> None:
    evm.warp(60)
    at = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(at, bench.tokens[:1], [[5]] * 3))
    for observed_at in (at, at - 1):
        data = bench.panel.funding_round(observed_at, bench.tokens[:2], [[7, 7]] * 3)
        assert bench.oracle.submit(*data) == (1 if observed_at == at else 0)
    assert bench.funding(0) == (5, at)
    assert bench.funding(1) == (7, at)


def test_submit__replayed(bench, evm) -> None:
    data = bench.panel.funding_round(evm.timestamp, bench.tokens, SAME)
    assert bench.oracle.submit(*data) == 6
    before = [tuple(bench.oracle.feed(token)) for token in bench.tokens]
    receipt = bench.oracle.submit.transact(*data)
    assert receipt.return_value == 0
    assert unpack_rates(receipt.logs[0].args.medians, 6) == [None] * 6
    assert [tuple(bench.oracle.feed(token)) for token in bench.tokens] == before


def test_submit__a_token_named_twice(bench, evm) -> None:
    tokens = [bench.tokens[0], bench.tokens[0]]
    data = bench.panel.funding_round(evm.timestamp, tokens, [[5, 6]] * 3)
    assert bench.oracle.submit(*data) == 1
    assert bench.funding() == (5, data[0])


def test_submit__no_tokens(bench, evm) -> None:
    assert bench.oracle.submit(*bench.panel.funding_round(evm.timestamp, [], [[]] * 3)) == 0


# -- a round --


def test_submit__succeeds(bench, evm) -> None:
    evm.warp(60)
    first = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(first, bench.tokens, SAME))

    evm.warp(3_600)
    second = evm.timestamp
    rates = [
        [-(10**8), 0, 6 * 10**9, None, 10**9, -6 * 10**9],
        [10**8, 1, 7 * 10**9, 3, 10**9, -7 * 10**9],
        [10**9, 2, 5 * 10**9, 4, 10**9, -(10**13)],
        [2 * 10**9, 3, 10**10, 5, 10**9, -(10**13)],
    ]
    medians = [(10**8 + 10**9) // 2, 1, 13 * 10**9 // 2, 4, 10**9, -(10**13 + 7 * 10**9) // 2]
    data = bench.panel.funding_round(second, bench.tokens, rates)
    receipt = bench.oracle.submit.transact(*data, sender=bench.anyone)

    start = FundingFeed(LOWER, UPPER, TAU).fold(first, 10**8)
    feeds = [start.fold(second, median) for median in medians]
    assert receipt.return_value == 6
    for token, feed in zip(bench.tokens, feeds, strict=True):
        assert tuple(bench.oracle.feed(token)) == (
            *(feed.ema * UNIT, feed.median * UNIT, second),
            *(LOWER * UNIT, UPPER * UNIT, TAU, feed.clamped),
        )
    (event,) = receipt.logs
    assert event.name == "Round"
    assert event.args.observed_at == second
    assert event.args.submitter == bench.anyone.address
    assert event.args.tokens == bench.tokens
    assert unpack_rates(event.args.medians, 6) == [feed.median for feed in feeds]
    assert unpack_rates(event.args.emas, 6) == [feed.ema for feed in feeds]
    assert event.args.clamped == sum(feed.clamped << index for index, feed in enumerate(feeds))
    assert event.args.clamped == 0b100100


def test_submit__a_clamped_median_is_flagged_until_one_is_not(bench, evm) -> None:
    for rate, clamped in ((UPPER + 1, True), (UPPER, False), (LOWER - 1, True), (LOWER, False)):
        evm.warp(60)
        data = bench.panel.funding_round(evm.timestamp, bench.tokens[:1], [[rate]] * 3)
        bench.oracle.submit(*data)
        feed = bench.oracle.feed(bench.tokens[0])
        assert feed.clamped == clamped
        assert feed.median_wad == (UPPER if rate > 0 else LOWER) * UNIT


def test_submit__a_lane_beyond_any_rate_is_a_very_high_one(bench, evm) -> None:
    words = [2**63 - 1, 2**63 - 1, 2**47 + 5, 2**47 + 5, 2**47 + 5]
    for high, median in ((2, 5), (3, UPPER)):
        evm.warp(60)
        order = words if high == 2 else [2**63 - 1, *words[:4]]
        reports = [
            bench.panel.sign(seat, evm.timestamp, bench.tokens[:1], [word])
            for seat, word in enumerate(order)
        ]
        seats = [(each.r, each.vs) for each in reports]
        values = b"".join(each.values[0].to_bytes(32, "big") for each in reports)
        bench.oracle.submit(evm.timestamp, bench.tokens[:1], values, seats)
        assert bench.oracle.feed(bench.tokens[0]).median_wad == median * UNIT


def test_submit__averages_over_tau(bench, evm) -> None:
    evm.warp(60)
    bench.oracle.submit(*bench.panel.funding_round(evm.timestamp, bench.tokens[:1], [[0]] * 3))
    evm.warp(TAU)
    bench.oracle.submit(*bench.panel.funding_round(evm.timestamp, bench.tokens[:1], [[10**9]] * 3))
    # 1 - 1 / e
    assert bench.funding()[0] == 632_120_559


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 63, 64])
def test_submit__any_number_of_tokens(bench, evm, tokens: int) -> None:
    names = [evm.account(f"listed {number}").address for number in range(tokens)]
    for name in names:
        bench.oracle.set_feed(name, LOWER * UNIT, UPPER * UNIT, TAU, sender=bench.owner)
    rates = [[seat + number for number in range(tokens)] for seat in range(5)]
    receipt = bench.oracle.submit.transact(*bench.panel.funding_round(evm.timestamp, names, rates))
    assert receipt.return_value == tokens
    assert [bench.oracle.funding(name)[0] for name in names] == [
        (number + 2) * UNIT for number in range(tokens)
    ]
    assert unpack_rates(receipt.logs[0].args.emas, tokens) == [n + 2 for n in range(tokens)]


@pytest.mark.parametrize(("count", "quorum"), [(3, 3), (4, 3), (6, 4), (15, 8)])
def test_submit__any_number_of_reporters(bench, evm, count: int, quorum: int) -> None:
    panel = Panel.seat(
        evm,
        bench.oracle,
        lambda *_: bench.panel.domain,
        count=count,
        quorum=quorum,
        owner=bench.owner,
    )
    rates = [[seat, None if seat < quorum else 100 + seat] for seat in range(count)]
    at = evm.timestamp
    assert bench.oracle.submit(*panel.funding_round(at, bench.tokens[:2], rates)) == 1
    assert bench.funding() == ((count - 1) // 2, at)
