"""A panel of venues, asked side by side; what is of no use is left out, with the reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from perpool.keeper.model import LeftOut, Observation, Reading

INTERVALS = frozenset(timedelta(hours=hours) for hours in range(1, 9))
"""Funding intervals that there are: 1, 2, 4 and 8 hours, and whatever is between where a venue goes
over from one to another (bybit, 2026-02-27: hourly, once after 6 hours, then every 8)."""
MAX_RATE = {
    "binance": Decimal("0.03"),
    "bybit": Decimal("0.04"),
    "okx": Decimal("0.03"),
    "gate": Decimal("0.03"),
    "hyperliquid": Decimal("0.04"),
}
"""The widest cap a venue has for any of its markets, as a fraction a settlement: what is beyond was
never charged. Most markets' caps are far narrower, 0.3 % to 2 %; hyperliquid's is 4 % an hour for
all."""


class Venue(Protocol):
    """A place that knows funding and prices."""

    @property
    def name(self) -> str: ...

    def read(self, markets: Sequence[str], now: int) -> Mapping[str, Reading | LeftOut]:
        """What it says of each market, "ADA", at a time in unix seconds; one entry a market.

        Never raises: what cannot be had or used is a LeftOut. A live venue answers for the present,
        whatever the time. It is asked by one thread at a time.
        """


@dataclass(frozen=True)
class Limits:
    """What a reading has to keep to."""

    max_age: timedelta = timedelta(minutes=2)
    max_skew: timedelta = timedelta(seconds=30)
    """How far ahead of our clock a venue's may be."""
    max_rate: Mapping[str, Decimal] = field(default_factory=dict)
    """Venue -> largest funding rate a settlement, either way; MAX_RATE for those it does not
    name."""
    default_max_rate: Decimal = Decimal("0.04")
    """For venues that neither names."""
    intervals: frozenset[timedelta] = INTERVALS
    max_basis: Decimal = Decimal("0.5")
    """How far a venue's mark price may be from its own index price, of the index: a venue that has
    them further apart has lost one of them."""

    def cap(self, venue: str) -> Decimal:
        """The largest rate a settlement that a venue may say."""
        return self.max_rate.get(venue, MAX_RATE.get(venue, self.default_max_rate))


def check(reading: Reading, now: int, limits: Limits) -> LeftOut | None:
    """Why a reading is of no use at a time by our clock; None where it is.

    A reading without a time of its own (history) is not dated.
    """
    venue, funding = reading.venue, reading.funding
    if reading.time is not None:
        age = now - reading.time
        if age > limits.max_age.total_seconds():
            return LeftOut(venue, f"its answer is {age} s old", "stale")
        if -age > limits.max_skew.total_seconds():
            return LeftOut(venue, f"its answer is from {-age} s in the future", "future")
    if funding is None and reading.price is None:
        return LeftOut(venue, "it has neither funding nor a price", "no value")
    if funding is not None:
        if funding.interval not in limits.intervals:
            return LeftOut(venue, f"its funding interval is {funding.interval}", "interval")
        cap = limits.cap(venue)
        if abs(funding.rate) > cap:
            reason = f"its funding rate of {funding.rate:.6g} is beyond {cap} a settlement"
            return LeftOut(venue, reason, "rate cap")
    index, mark = reading.index_price, reading.mark_price
    if index is not None and mark is not None and abs(mark - index) > limits.max_basis * index:
        return LeftOut(venue, f"its mark price {mark} is far from its index {index}", "basis")
    return None


Answer = Mapping[str, Reading | LeftOut]


class Panel:
    """Several venues as one source.

    Each venue has a thread of its own while it is asked. One that does not answer within `timeout`
    is left out as "slow", and not asked again before it has answered: a venue that hangs costs one
    thread, however long. `clock` is ours, by which answers are dated. Raises ValueError where two
    venues have one name.
    """

    def __init__(
        self,
        venues: Sequence[Venue],
        limits: Limits | None = None,
        timeout: timedelta = timedelta(seconds=10),
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.venues = tuple(venues)
        if len({each.name for each in self.venues}) < len(self.venues):
            raise ValueError("a venue has one voice: name each once")
        self.limits = limits or Limits()
        self.timeout = timeout
        self.clock = clock
        self._lines = [_Line(venue) for venue in self.venues]
        self._lock = threading.Lock()

    def observe(self, markets: Sequence[str], now: int) -> list[Observation]:
        """What the venues say of each market at a time, in the order of `markets`.

        Takes `timeout` at most, or twice that where another thread is observing. Never raises.
        """
        with self._lock:
            asked = [line.ask(markets, now) for line in self._lines]
            wait([each for each in asked if each is not None], self.timeout.total_seconds())
        answers = {
            venue.name: self._answer(future)
            for venue, future in zip(self.venues, asked, strict=True)
        }
        ours = self.clock()
        return [self._observation(market, answers, ours) for market in markets]

    def close(self) -> None:
        """Have venues that hold connections let go of them."""
        for venue in self.venues:
            close = getattr(venue, "close", None)
            if close is not None:
                close()

    def _answer(self, future: Future[Answer] | None) -> Answer | tuple[str, str]:
        """What a venue answered; (reason, kind) where that is nothing."""
        if future is None:
            return "it is still busy with an earlier round", "slow"
        if not future.done():
            return f"no answer within {self.timeout.total_seconds():g} s", "slow"
        error = future.exception()
        if error is not None:
            return f"it could not be asked: {type(error).__name__}", "unreachable"
        return future.result()

    def _observation(
        self, market: str, answers: Mapping[str, Answer | tuple[str, str]], ours: int
    ) -> Observation:
        readings = []
        left_out = []
        for venue, answer in answers.items():
            if isinstance(answer, tuple):
                said: Reading | LeftOut | None = LeftOut(venue, *answer)
            else:
                said = answer.get(market)
            match said:
                case Reading():
                    fault = check(said, ours, self.limits)
                    if fault is None:
                        readings.append(said)
                    else:
                        left_out.append(fault)
                case LeftOut():
                    left_out.append(said)
                case None:
                    left_out.append(LeftOut(venue, "it says nothing of it", "no value"))
        return Observation(market, tuple(readings), tuple(left_out))


class _Line:
    """The line to one venue: engaged until it has answered."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._answer: Future[Answer] | None = None

    def ask(self, markets: Sequence[str], now: int) -> Future[Answer] | None:
        """Ask in a thread; None while it is busy with what it was asked before."""
        if self._answer is not None and not self._answer.done():
            return None
        answer: Future[Answer] = Future()
        self._answer = answer
        # a daemon: a venue that hangs must not keep the process from ending
        thread = threading.Thread(
            target=self._run,
            args=(answer, tuple(markets), now),
            name=f"venue {self.venue.name}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            answer.set_exception(error)
        return answer

    def _run(self, answer: Future[Answer], markets: Sequence[str], now: int) -> None:
        try:
            answer.set_result(self.venue.read(markets, now))
        except BaseException as error:  # whatever it is, the others go on
            answer.set_exception(error)
