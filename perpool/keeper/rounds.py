"""From reports in a mailbox to rounds: signatures checked, liars told apart, quorums counted.

A mailbox is not trusted. Only a reporter's signature makes a report count, so that whoever can
write in a reporter's place there can silence him and never change a round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eth_account import Account
from eth_keys.exceptions import BadSignature, ValidationError

from perpool.keeper.mailbox import Message
from perpool.keeper.model import Round, Seats, Subject
from perpool.reference.oracle import median
from perpool.reports import MAX_TOKENS, Domain, SignedReport, unpack_rates

SUBJECTS_A_REPORTER = 8
"""Different token lists that a reporter may sign for one contract and time; more is a flood."""
QUICKEST = 10
"""Seconds between a reporter's times; of twice as many he is heard, and what is more is a flood."""
SKEW = 90
"""Seconds that a report may be ahead of the chain's time; it waits until it no longer is. Several
blocks in a row may be missing, and a reporter's clock somewhat off."""


@dataclass
class _Found:
    """What there is of one subject."""

    reports: dict[str, SignedReport] = field(default_factory=dict)
    equivocators: set[str] = field(default_factory=set)


class Collector:
    """Gathers the reports of all contracts.

    `seats` are the contracts and who may report to them; it may be replaced at any time, and
    reporters who lost their seat no longer count.
    """

    def __init__(self, chain_id: int, seats: Mapping[str, Seats]) -> None:
        self.chain_id = chain_id
        self.seats = dict(seats)
        self.newest: dict[str, int] = {}
        """Observation time of each reporter's newest report."""
        self._found: dict[Subject, _Found] = {}
        self._at_a_time: Counter[tuple[str, str, int]] = Counter()
        """Subjects by reporter, contract and time."""
        self._of_a_reporter: Counter[tuple[str, str]] = Counter()
        """Subjects by reporter and contract."""

    def add(self, message: Message, now: int) -> str | None:
        """Take a report; None, or in a word or two why it was refused."""
        report = message.report
        seats = self.seats.get(message.contract)
        if message.chain_id != self.chain_id or seats is None:
            return "unknown contract"
        subject = Subject(message.contract, report.observed_at, report.tokens)
        refused = _refused(report, seats, now)
        if refused is not None:
            return refused
        found = self._found.get(subject)
        known = None if found is None else found.reports.get(report.reporter)
        if known is not None and known.values == report.values:
            return None
        if found is not None and report.reporter in found.equivocators:
            # he counts for nothing already, whatever else he says
            return None
        if known is None and self._is_full(report.reporter, subject, seats):
            return "flood"
        if not is_signed(report, seats.domain):
            return "bad signature"
        found = self._found.setdefault(subject, _Found())
        self.newest[report.reporter] = max(self.newest.get(report.reporter, 0), report.observed_at)
        if known is not None:
            found.equivocators.add(report.reporter)
            return "equivocation"
        found.reports[report.reporter] = report
        self._count(report.reporter, subject)
        return None

    def rounds(self, now: int) -> list[Round]:
        """All that have a quorum and that the chain would take at a time."""
        return list(self._rounds(now))

    def prune(self, now: int) -> None:
        """Forget what is too old to be submitted."""
        self._found = {
            subject: found
            for subject, found in self._found.items()
            if subject.contract in self.seats
            and now - subject.observed_at <= self.seats[subject.contract].max_report_age
        }
        self._at_a_time.clear()
        self._of_a_reporter.clear()
        for subject, found in self._found.items():
            for reporter in found.reports:
                self._count(reporter, subject)

    def _rounds(self, now: int) -> Iterator[Round]:
        for subject, found in self._found.items():
            seats = self.seats.get(subject.contract)
            if seats is None or not 0 <= now - subject.observed_at <= seats.max_report_age:
                continue
            reports = tuple(
                report
                for reporter, report in found.reports.items()
                if reporter in seats.reporters and reporter not in found.equivocators
            )
            # before its first reporters are set a contract's quorum is 0
            if reports and len(reports) >= seats.quorum:
                yield Round(seats.kind, subject, reports, medians(reports, seats))

    def _is_full(self, reporter: str, subject: Subject, seats: Seats) -> bool:
        """Whether he has said more already than an honest reporter says."""
        times = max(1, seats.max_report_age // QUICKEST)
        lists = 1 if seats.kind == "price" else -(-len(seats.tokens) // MAX_TOKENS)
        return (
            self._at_a_time[reporter, subject.contract, subject.observed_at] >= SUBJECTS_A_REPORTER
            or self._of_a_reporter[reporter, subject.contract] >= 2 * times * lists
        )

    def _count(self, reporter: str, subject: Subject) -> None:
        self._at_a_time[reporter, subject.contract, subject.observed_at] += 1
        self._of_a_reporter[reporter, subject.contract] += 1


def _refused(report: SignedReport, seats: Seats, now: int) -> str | None:
    if report.reporter not in seats.reporters:
        return "unknown reporter"
    if now - report.observed_at > seats.max_report_age:
        return "too old"
    if report.observed_at > now + SKEW:
        return "from the future"
    if not report.tokens or not seats.tokens.issuperset(report.tokens):
        return "unknown token"
    if len(report.values) != seats.values_for(len(report.tokens)):
        return "wrong length"
    if seats.kind == "price" and len(report.tokens) != 1:
        return "wrong length"
    return None


def is_signed(report: SignedReport, domain: Domain) -> bool:
    """Whether the report's reporter has signed it, in the form that the chain can read.

    The higher of a signature's two forms does not fit there, and would spoil a whole round.
    """
    if report.v not in (27, 28) or not 0 < report.s < 1 << 255 or not 0 < report.r < 1 << 256:
        return False
    message = domain.message(report.observed_at, report.tokens, report.values)
    try:
        signer = Account.recover_message(message, vrs=(report.v, report.r, report.s))
    except (BadSignature, ValidationError, ValueError):
        return False
    return str(signer) == report.reporter


def medians(reports: Sequence[SignedReport], seats: Seats) -> tuple[int | None, ...]:
    """What the chain will find for each token of a round, None where it has too few values."""
    return tuple(None if each is None else median(each) for each in _values(reports, seats))


def spreads(reports: Sequence[SignedReport], seats: Seats) -> tuple[int | None, ...]:
    """Largest less smallest value of each token of a round, in the unit of its median, None where
    it has too few values."""
    return tuple(
        None if each is None else max(each) - min(each) for each in _values(reports, seats)
    )


def _values(reports: Sequence[SignedReport], seats: Seats) -> Iterator[list[int] | None]:
    """Those of each token, None where they are fewer than the quorum."""
    count = len(reports[0].tokens)
    rows: list[Sequence[int | None]] = [
        unpack_rates(report.values, count) if seats.kind == "funding" else report.values
        for report in reports
    ]
    for column in zip(*rows, strict=True):
        values = [each for each in column if each is not None]
        yield values if len(values) >= seats.quorum else None
