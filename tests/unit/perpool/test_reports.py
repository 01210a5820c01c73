"""Building, signing and ordering reports."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from eth_account import Account as EthAccount
from eth_utils.crypto import keccak

from perpool import reports
from perpool.reports import Domain, ReportError

KEYS = [EthAccount.from_key(keccak(text=f"reporter {number}")) for number in range(5)]
TOKENS = ["0x" + f"{number:040x}" for number in range(1, 7)]
DOMAIN = Domain.of_funding_oracle(1, "0x" + "ab" * 20)
RATES = [10**8, -(10**8), None, 0, 5, -1]


def report(key: int, at: int = 1_700_000_000, tokens: list[str] = TOKENS) -> reports.SignedReport:
    return reports.sign_report(KEYS[key], DOMAIN, at, tokens, reports.pack_rates(RATES))


def addresses() -> list[str]:
    return [key.address for key in KEYS]


# -- rates --


def test_pack_rates__four_to_a_word_the_lowest_lane_first() -> None:
    first, second = reports.pack_rates(RATES)
    bias = 2**47
    assert first == (bias + 10**8) | (bias - 10**8) << 64 | bias << 192
    assert second == (bias + 5) | (bias - 1) << 64


def test_pack_rates__unpacks_to_the_same() -> None:
    assert reports.unpack_rates(reports.pack_rates(RATES), len(RATES)) == RATES
    assert reports.unpack_rates([], 0) == reports.pack_rates([]) == []


@pytest.mark.parametrize("sign", [-1, 1])
def test_pack_rates__beyond_the_largest(sign: int) -> None:
    largest = sign * reports.LARGEST_RATE
    for rate in (largest, 2 * largest, sign * 10**30):
        assert reports.unpack_rates(reports.pack_rates([rate]), 1) == [largest]


@pytest.mark.parametrize(
    ("rate", "units"),
    [("0.1095", 109_500_000), ("-5.34", -5_340_000_000), ("1e-9", 1), ("4e-10", 0), ("0", 0)],
)
def test_rate_units__of_a_rate_a_year(rate: str, units: int) -> None:
    assert reports.rate_units(Decimal(rate)) == units


# -- signing --


def test_sign_report__is_recovered_to_the_reporter() -> None:
    signed = report(0)
    message = DOMAIN.message(signed.observed_at, signed.tokens, signed.values)
    signer = EthAccount.recover_message(message, vrs=(signed.v, signed.r, signed.s))
    assert signer == signed.reporter == KEYS[0].address
    assert signed.vs == signed.s + (signed.v - 27) * 2**255


def test_sign_report__differs_by_domain_time_tokens_and_values() -> None:
    values = reports.pack_rates(RATES)
    other = Domain.of_funding_oracle(2, DOMAIN.contract)
    feed = Domain.of_price_feed(1, DOMAIN.contract)
    signatures = {
        reports.sign_report(KEYS[0], domain, at, tokens, words).r
        for domain, at, tokens, words in [
            (DOMAIN, 1, TOKENS, values),
            (other, 1, TOKENS, values),
            (feed, 1, TOKENS, values),
            (DOMAIN, 2, TOKENS, values),
            (DOMAIN, 1, TOKENS[::-1], values),
            (DOMAIN, 1, TOKENS, values[::-1]),
        ]
    }
    assert len(signatures) == 6


def test_sign_report__too_many_tokens() -> None:
    with pytest.raises(ReportError, match="at most 64 tokens, not 65: split it"):
        reports.sign_report(KEYS[0], DOMAIN, 1, [TOKENS[0]] * 65, [0] * 17)


# -- rounds --


def test_funding_round__is_in_the_order_of_the_seats() -> None:
    given = [report(key) for key in (3, 0, 4)]
    at, tokens, values, seats = reports.funding_round(given, addresses())
    order = reports.ordered(addresses())
    assert order == sorted(addresses(), key=str.lower)
    assert (at, tokens) == (1_700_000_000, [*given[0].tokens])
    words = b"".join(word.to_bytes(32, "big") for word in given[0].values)
    assert values == 3 * words
    by_reporter = {each.reporter: each for each in given}
    for reporter, seat in zip(order, seats, strict=True):
        signed = by_reporter.get(reporter)
        assert seat == ((signed.r, signed.vs) if signed else (int(reporter, 16), 0))


def test_price_round__has_one_price_of_each() -> None:
    domain = Domain.of_price_feed(1, DOMAIN.contract)
    given = [
        reports.sign_report(key, domain, 7, TOKENS[:1], [price])
        for key, price in zip(KEYS[:3], (10, 20, 30), strict=True)
    ]
    at, prices, seats = reports.price_round(given, addresses())
    by_reporter = {each.reporter: each.values[0] for each in given}
    order = [reporter for reporter in reports.ordered(addresses()) if reporter in by_reporter]
    assert (at, prices) == (7, [by_reporter[reporter] for reporter in order])
    assert sum(vs != 0 for _, vs in seats) == 3
    assert len(seats) == 5


def test_seat_reports__no_reports() -> None:
    with pytest.raises(ReportError, match="needs reports"):
        reports.seat_reports([], addresses())


@pytest.mark.parametrize("other", [{"at": 1}, {"tokens": TOKENS[::-1]}], ids=str)
def test_seat_reports__of_different_rounds(other: dict[str, object]) -> None:
    with pytest.raises(ReportError, match="agree on time and tokens"):
        reports.seat_reports([report(0), report(1, **other)], addresses())  # type: ignore[arg-type]


def test_seat_reports__two_of_one_reporter() -> None:
    again = dataclasses.replace(report(0), r=1)
    with pytest.raises(ReportError, match="two reports"):
        reports.seat_reports([report(0), again], addresses())


def test_seat_reports__of_a_stranger() -> None:
    with pytest.raises(ReportError, match=f"not a reporter of this oracle: {KEYS[0].address}"):
        reports.seat_reports([report(0), report(1)], addresses()[1:])
