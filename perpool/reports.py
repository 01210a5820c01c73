"""Build, sign and order the reports that `FundingOracle` and `PriceFeed` take.

A report is EIP-712 typed data, ``Report(uint256 observed_at,address[] tokens,uint256[] values)``,
signed by a key of eth-account or another `Signer`. A round needs a quorum of reports on the same
time and tokens; it is submitted with one seat for every reporter, ascending by address (see
interfaces/IReports.vyi).

    domain = Domain.of_funding_oracle(chain_id, oracle)
    report = sign_report(account, domain, observed_at, tokens, pack_rates(rates))
    oracle.submit(*funding_round(reports, reporters))

Units: a funding rate is an integer of 1e-9 a year (`RATE_UNIT_WAD` WAD), None where a reporter has
none; a price is WAD USDT for one whole token; a time is unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Protocol

from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils import to_canonical_address, to_checksum_address

RATE_UNIT_WAD = 10**9
"""WAD in one unit of a packed rate."""
RATE_BIAS = 2**47
"""A lane is the rate in units plus this; 0 is no rate."""
LARGEST_RATE = RATE_BIAS - 1
"""Largest rate in units that is packed, either side of zero: 140,737 a year."""
LANES = 4
"""Rates in a word."""
LANE_BITS = 64
MAX_TOKENS = 64
MAX_REPORTERS = 15

_TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Report": [
        {"name": "observed_at", "type": "uint256"},
        {"name": "tokens", "type": "address[]"},
        {"name": "values", "type": "uint256[]"},
    ],
}


class Signature(Protocol):
    """v (27 or 28), r and s."""

    @property
    def v(self) -> int: ...

    @property
    def r(self) -> int: ...

    @property
    def s(self) -> int: ...


class Signer(Protocol):
    """Whoever signs as a reporter: a key of eth-account, or one of `perpool.keeper.signing`."""

    @property
    def address(self) -> str:
        """Checksummed."""

    def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
        """Sign EIP-712 typed data: types, primaryType, domain and message."""


class ReportError(ValueError):
    """Reports that no oracle would take; the message says what to change."""


@dataclass(frozen=True)
class Domain:
    """EIP-712 domain of one oracle on one chain."""

    name: str
    chain_id: int
    contract: str

    @classmethod
    def of_funding_oracle(cls, chain_id: int, contract: str) -> Domain:
        """Domain of a `FundingOracle`."""
        return cls("Perpool FundingOracle", chain_id, to_checksum_address(contract))

    @classmethod
    def of_price_feed(cls, chain_id: int, contract: str) -> Domain:
        """Domain of a `PriceFeed`."""
        return cls("Perpool PriceFeed", chain_id, to_checksum_address(contract))

    def typed_data(
        self, observed_at: int, tokens: Sequence[str], values: Sequence[int]
    ) -> dict[str, Any]:
        """What a reporter signs."""
        return {
            "types": _TYPES,
            "primaryType": "Report",
            "domain": {
                "name": self.name,
                "version": "1",
                "chainId": self.chain_id,
                "verifyingContract": self.contract,
            },
            "message": {
                "observed_at": observed_at,
                "tokens": list(tokens),
                "values": list(values),
            },
        }

    def message(
        self, observed_at: int, tokens: Sequence[str], values: Sequence[int]
    ) -> SignableMessage:
        """The same, encoded for signing or recovering."""
        return encode_typed_data(full_message=self.typed_data(observed_at, tokens, values))


@dataclass(frozen=True)
class SignedReport:
    """What one reporter says of one moment, with his signature."""

    reporter: str
    observed_at: int
    tokens: tuple[str, ...]
    values: tuple[int, ...]
    v: int
    r: int
    s: int

    @property
    def vs(self) -> int:
        """The signature's s with v - 27 in the highest bit (EIP-2098)."""
        return (self.v - 27) << 255 | self.s


Seat = tuple[int, int]
"""(r, vs) of a reporter who takes part, (address, 0) of one who does not."""
FundingRound = tuple[int, list[str], bytes, list[Seat]]
"""Arguments of `FundingOracle.submit`."""
PriceRound = tuple[int, list[int], list[Seat]]
"""Arguments of `PriceFeed.submit`."""


def rate_units(rate: Decimal) -> int:
    """A rate a year (1 = 100 %) in units of 1e-9, rounded to the nearest, ties to even."""
    return int((rate * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def price_units(price: Decimal) -> int:
    """A price in USDT for a whole token in WAD, rounded to the nearest, ties to even."""
    return int((price * 10**18).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def pack_rates(rates: Sequence[int | None]) -> list[int]:
    """Words of four lanes, the lowest lane first, from rates in units of 1e-9.

    A rate beyond `LARGEST_RATE` is packed as that: it is out of any bounds either way. None is
    packed as 0, as is the rest of the last word.
    """
    words = []
    for start in range(0, len(rates), LANES):
        word = 0
        for lane, rate in enumerate(rates[start : start + LANES]):
            if rate is not None:
                held = max(-LARGEST_RATE, min(LARGEST_RATE, rate))
                word |= (held + RATE_BIAS) << (LANE_BITS * lane)
        words.append(word)
    return words


def unpack_rates(words: Sequence[int], count: int) -> list[int | None]:
    """The first `count` rates of packed words, in units of 1e-9; None where there is none.

    Reads reports and the words of the event `Round` alike.
    """
    lanes = [
        words[i // LANES] >> (LANE_BITS * (i % LANES)) & (1 << (LANE_BITS - 1)) - 1
        for i in range(count)
    ]
    return [lane - RATE_BIAS if lane else None for lane in lanes]


def sign_report(
    account: Signer,
    domain: Domain,
    observed_at: int,
    tokens: Sequence[str],
    values: Sequence[int],
) -> SignedReport:
    """Sign a report as `account`.

    `values` are `pack_rates(...)` for a funding oracle, one price in WAD for a price feed.
    Raises ReportError when there are more tokens than a round may have, and what the signer raises.
    """
    if len(tokens) > MAX_TOKENS:
        raise ReportError(f"a round has at most {MAX_TOKENS} tokens, not {len(tokens)}: split it")
    addresses = tuple(to_checksum_address(token) for token in tokens)
    signed = account.sign_typed_data(full_message=domain.typed_data(observed_at, addresses, values))
    return SignedReport(
        account.address, observed_at, addresses, tuple(values), signed.v, signed.r, signed.s
    )


def ordered(addresses: Iterable[str]) -> list[str]:
    """Reporters in the order of their seats, as `set_reporters` wants them: ascending."""
    return sorted((to_checksum_address(each) for each in addresses), key=to_canonical_address)


def seat_reports(
    reports: Sequence[SignedReport], reporters: Sequence[str]
) -> tuple[list[SignedReport], list[Seat]]:
    """The reports in the order of their seats, and the seats of all reporters.

    Raises ReportError when there are no reports, they differ in time or tokens, or one is of
    somebody else or of somebody who has another.
    """
    if not reports:
        raise ReportError("a round needs reports; collect at least a quorum")
    subjects = {(report.observed_at, report.tokens) for report in reports}
    if len(subjects) != 1:
        raise ReportError("reports of one round must agree on time and tokens; separate them")
    by_reporter: dict[str, SignedReport] = {
        to_checksum_address(report.reporter): report for report in reports
    }
    if len(by_reporter) != len(reports):
        raise ReportError("a reporter has two reports in this round; keep one")
    order = ordered(reporters)
    strangers = by_reporter.keys() - set(order)
    if strangers:
        raise ReportError(f"not a reporter of this oracle: {', '.join(sorted(strangers))}")
    present = [by_reporter[each] for each in order if each in by_reporter]
    seats = [
        (by_reporter[each].r, by_reporter[each].vs) if each in by_reporter else (int(each, 16), 0)
        for each in order
    ]
    return present, seats


def funding_round(reports: Sequence[SignedReport], reporters: Sequence[str]) -> FundingRound:
    """Arguments for `FundingOracle.submit`; `reporters` are all of the oracle's, in any order."""
    present, seats = seat_reports(reports, reporters)
    values = b"".join(word.to_bytes(32, "big") for each in present for word in each.values)
    return present[0].observed_at, list(present[0].tokens), values, seats


def price_round(reports: Sequence[SignedReport], reporters: Sequence[str]) -> PriceRound:
    """Arguments for `PriceFeed.submit`; `reporters` are all of the feed's, in any order."""
    present, seats = seat_reports(reports, reporters)
    return present[0].observed_at, [each.values[0] for each in present], seats
