"""A keeper with everything around it, and time in the test's hands.

Real: anvil, the protocol as the deployment makes it, ccxt, SQLite, every line of the keeper.
Stand-ins: the exchanges (`tests.exchanges`), and a proxy before anvil where nodes are to be faulty
(`tests.rpc_proxy`). Nothing sleeps: a step is a block, and everybody's clock is the world's.

    world.run(minutes=10)
    with world.fault():
        world.stand_in.fault("okx", "down")
        world.run(minutes=20)
    world.run(minutes=10)
    world.verify()
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import structlog

from perpool.chain import Contract
from perpool.keeper.chain.contracts import Contracts, function
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.mailbox import Lease, Mailbox, Message, open_lease, open_mailbox
from perpool.keeper.mailbox.sqlite import SqliteLease
from perpool.keeper.metrics import PREFIX, Metrics
from perpool.keeper.model import Funding, Policy, Reading
from perpool.keeper.reporter import Reporter
from perpool.keeper.signing import KeyAccount
from perpool.keeper.sources import ExchangeVenue, Panel
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import Submitter
from perpool.keeper.transactions.events import Event
from perpool.keeper.transactions.fees import GWEI, FeePolicy
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import Outbox
from perpool.reports import rate_units, unpack_rates
from tests.exchanges import StandIn
from tests.keeper_stage import MARKETS, REPORTERS, Stage, key

START = 1_760_000_400
"""A multiple of a minute."""
BLOCK = 12
MINUTE = 60
VENUES = ("binance", "bybit", "okx", "gate")
MIN_VENUES = 3
POLICY = Policy(
    funding_heartbeat=timedelta(minutes=5),
    price_heartbeat=timedelta(minutes=3),
)
HEARTBEAT = {"funding": 300, "price": 180}
LEASE = timedelta(seconds=30)
HEAD_AGE = timedelta(minutes=15)
SLACK = 90
"""Seconds that a round may be later than its heartbeat: the next minute's observation, and a block
or two."""
MAX_FEE = 50 * GWEI
_QUIET = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])


def truth(market: str, venue: str, time: int) -> tuple[Decimal, int, Decimal]:
    """What an exchange says at a time: (funding of an interval, hours of it, price).

    It changes every minute, by too little to be worth a transaction of its own, and no two venues
    agree.
    """
    minute = time // MINUTE
    offset = VENUES.index(venue)
    hours = (8, 8, 4, 8)[offset]
    drift = Decimal((minute * 7 + (3 if market == "ADA" else 5)) % 11 - 5) / 10**6
    rate = (Decimal("0.0001") + Decimal(offset) / 10**6 + drift) * hours / 8
    price = Decimal("1.2") + Decimal(offset) / 10_000 + Decimal(minute % 7) / 10_000
    return rate, hours, price


def figure(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name in (PREFIX + name, f"{PREFIX}{name}_total")
        and labels.items() <= sample.labels.items()
    )


def rounds_in(calldata: str) -> int:
    """How many rounds a transaction submits, by itself or through Multicall."""
    submit = [function(name, "submit").selector.hex() for name in ("FundingOracle", "PriceFeed")]
    return sum(calldata.count(each) for each in submit)


@dataclass(frozen=True)
class TruthfulVenue:
    """An exchange without a network."""

    name: str
    clock: Callable[[], int]

    def read(self, markets: Sequence[str], now: int) -> dict[str, Reading]:
        """The truth of the present minute, whoever asks for which."""
        return {market: self._read(market) for market in markets}

    def _read(self, market: str) -> Reading:
        time = self.clock()
        rate, hours, price = truth(market, self.name, time)
        return Reading(self.name, Funding(rate, timedelta(hours=hours)), price, price, time)


class Desk:
    """One submitter with all that is its own: nodes, journal, key, lease. It can be restarted."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        endpoints: Sequence[str],
        ahead: int = 0,
        leased: bool = True,
    ) -> None:
        self.world = world
        self.name = name
        self.endpoints = list(endpoints)
        self.ahead = ahead
        self.leased = leased
        self.path = world.folder / f"{name}.db"
        self.wallet = KeyAccount(key(f"submitter {name}"))
        self.events: list[Event] = []
        self.errors: list[str] = []
        self.alive = False
        self.start()

    def clock(self) -> int:
        """The world's, as this machine has it: `ahead` by so many seconds."""
        return self.world.now + self.ahead

    def start(self, timeout: timedelta = timedelta(seconds=1)) -> None:
        """As a process does: from what is on disk. `timeout` is that of a node's answer."""
        world = self.world
        self.nodes = Nodes(
            self.endpoints,
            world.stage.record.chain_id,
            timeout=timeout,
            max_age=HEAD_AGE,
            clock=self.clock,
            log=_QUIET,
        )
        self.contracts = Contracts.of_record(self.nodes, world.stage.record)
        self.mailbox = world.open_mailbox()
        self.lease = world.open_lease(self.name)
        self.journal = Journal(self.path, "submitter")
        self.outbox = Outbox(
            self.nodes,
            self.journal,
            self.wallet,
            FeePolicy(max_fee=MAX_FEE),
            unmet=self.contracts.unmet,
            multicall=world.stage.record.address("Multicall"),
            patience=timedelta(seconds=45),
            clock=self.clock,
            log=_QUIET,
            announce=self.lease.announce if self.leased else None,
        )
        self.submitter = Submitter(
            self.contracts,
            self.mailbox,
            self.outbox,
            lease=self.lease if self.leased else None,
            policy=POLICY,
            idles=False,
            log=_QUIET,
        )
        self._record_events()
        self.alive = True

    def crash(self) -> None:
        """Stop without a word: the lease stays taken, the journal as it is."""
        self.alive = False
        self.nodes.close()
        self.journal.close()
        self.mailbox.close()
        self.lease.close()

    def stop(self) -> None:
        """Stop in an orderly way."""
        if self.alive:
            with contextlib.suppress(Exception):
                self.lease.release()
            self.crash()

    def tick(self) -> None:
        """As the service does: an error is noted, and the next tick is the remedy."""
        if not self.alive:
            return
        try:
            self.submitter.tick(self.clock())
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def _record_events(self) -> None:
        step, watch, adopted = self.outbox.step, self.outbox.watch, self.outbox.adopt

        def recorded(go: Callable[[], list[Event]]) -> Callable[[], list[Event]]:
            def run() -> list[Event]:
                events = go()
                self.events += events
                return events

            return run

        def adopt(note: str) -> list[Event]:
            events = adopted(note)
            self.events += events
            return events

        self.outbox.step = recorded(step)  # type: ignore[method-assign]
        self.outbox.watch = recorded(watch)  # type: ignore[method-assign]
        self.outbox.adopt = adopt  # type: ignore[method-assign]

    def count(self, name: str) -> int:
        """How often something happened to a transaction of this desk."""
        return sum(each.name == name for each in self.events)


@dataclass(frozen=True)
class Found:
    """A round on chain."""

    kind: str
    market: str
    observed_at: int
    value: int
    """The median: funding in 1e-9 a year, a price in WAD."""
    block: int


@dataclass
class World:
    """Exchanges, reporters, submitters and the chain."""

    stage: Stage
    folder: Path
    stand_in: StandIn
    now: int = START
    mailbox_url: str | None = None
    """A Redis server's; a file of the test's own by default."""
    desks: list[Desk] = field(default_factory=list)
    reporters: list[Reporter] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Of reporters' ticks."""
    before_tick: list[Callable[[], None]] = field(default_factory=list)
    """Called at each step once the block is there."""
    truth: Callable[[str, str, int], tuple[Decimal, int, Decimal]] = truth
    """What the exchanges of `connect_panel` say, (market, venue, time); see the function."""
    outages: list[tuple[int, int]] = field(default_factory=list)
    """From and to, of faults that nothing can be sent during."""
    faults: list[tuple[int, int, frozenset[str]]] = field(default_factory=list)
    """From and to of all faults, and the exchanges that did not count meanwhile."""
    _closing: list[Callable[[], object]] = field(default_factory=list)

    def clock(self) -> int:
        """Everybody's."""
        return self.now

    def open_mailbox(self) -> Mailbox:
        """One end of the mailbox that everybody shares."""
        url = self.mailbox_url or f"sqlite://{self.folder / 'mailbox.db'}"
        record = self.stage.record
        return open_mailbox(url, record.chain_id, str(record.address("FundingOracle")))

    def open_lease(self, holder: str) -> Lease:
        """The lease; in SQLite the world's clock is that of the machine."""
        if self.mailbox_url:
            return open_lease(self.mailbox_url, "chaos", holder, LEASE)
        path = str(self.folder / "mailbox.db")
        return SqliteLease(path, "chaos", holder, LEASE, clock=lambda: self.now * 1_000)

    def said(self, number: int) -> list[Message]:
        """What the mailbox has of the reporter of a seat."""
        return self.open_mailbox().read(key(f"reporter {number}").address)[0]

    # -- people --

    def add_reporters(self, panel: Panel | None = None, count: int = REPORTERS) -> list[Reporter]:
        """Reporters that read all exchanges, through ccxt unless a panel is given."""
        panel = panel or self.connect_panel()
        return [self.add_reporter(n, panel) for n in range(count)]

    def connect_panel(self) -> Panel:
        """All exchanges, through ccxt."""
        self.quote()
        venues = [ExchangeVenue.connect(venue, **self.stand_in.options(venue)) for venue in VENUES]
        panel = Panel(venues, clock=self.clock)
        self._closing.append(panel.close)
        return panel

    def plain_panel(self) -> Panel:
        """All exchanges, without a network."""
        return Panel([TruthfulVenue(each, self.clock) for each in VENUES], clock=self.clock)

    def add_reporter(self, number: int, panel: Panel) -> Reporter:
        """The reporter of a seat."""
        nodes = Nodes([self.stage.anvil.endpoint], self.stage.record.chain_id, log=_QUIET)
        mailbox = self.open_mailbox()
        statements = Statements(self.folder / f"reporter {number}.db", "chaos")
        self._closing += [nodes.close, mailbox.close, statements.close]
        reporter = Reporter(
            Contracts.of_record(nodes, self.stage.record),
            panel,
            [key(f"reporter {number}")],
            mailbox,
            statements,
            min_venues=MIN_VENUES,
            log=_QUIET,
        )
        self.reporters.append(reporter)
        return reporter

    def add_plain_reporters(self) -> Reporter:
        """All of them in one, over exchanges that need no network: for faults elsewhere."""
        return self.add_all_in_one(self.plain_panel())

    def add_all_in_one(self, panel: Panel) -> Reporter:
        """A reporter with the keys of all."""
        reporter = self.add_reporter(0, panel)
        reporter.signers = [key(f"reporter {n}") for n in range(REPORTERS)]
        return reporter

    def add_desk(
        self,
        name: str = "first",
        *,
        endpoints: Sequence[str] = (),
        ahead: int = 0,
        leased: bool = True,
    ) -> Desk:
        """A submitter, on anvil itself unless nodes are given.

        Its clock is `ahead` by some seconds. Without a lease it takes itself to be the only one.
        """
        endpoints = endpoints or [self.stage.anvil.endpoint]
        desk = Desk(self, name, endpoints=endpoints, ahead=ahead, leased=leased)
        self.desks.append(desk)
        return desk

    def close(self) -> None:
        """Let go of everything."""
        for desk in self.desks:
            desk.stop()
        for close in reversed(self._closing):
            close()

    # -- time --

    def quote(self) -> None:
        """Have all exchanges say the truth of this minute."""
        time = self.now // MINUTE * MINUTE
        self.stand_in.time = self.now
        for market, venue in itertools.product(MARKETS, VENUES):
            rate, hours, price = self.truth(market, venue, time)
            self.stand_in.quote(
                venue, market, rate=f"{rate:f}", hours=hours, index=f"{price}", mark=f"{price}"
            )

    def mine(self, seconds: int = BLOCK) -> None:
        """One block, so much later."""
        self.now += seconds
        self.stage.chain.mine(timestamp=self.now)

    def step(self, seconds: int = BLOCK) -> None:
        """A block; then everybody does what is due."""
        self.mine(seconds)
        self.quote()
        for call in self.before_tick:
            call()
        for reporter in self.reporters:
            try:
                reporter.tick(self.now)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
        for desk in self.desks:
            desk.tick()

    def run(self, *, minutes: float, seconds: int = BLOCK) -> None:
        """Steps for a while."""
        end = self.now + int(minutes * MINUTE)
        while self.now < end:
            self.step(seconds)

    @contextlib.contextmanager
    def fault(self, *, outage: bool = False, without: Sequence[str] = ()) -> Iterator[None]:
        """While something is wrong; `outage` where no round could have been sent meanwhile.

        `without` are the exchanges that must not count meanwhile.
        """
        begun = self.now
        yield
        if outage:
            self.outages.append((begun, self.now))
        self.faults.append((begun, self.now, frozenset(without)))

    # -- what came of it --

    def contract(self, kind: str, name: str) -> Contract:
        """A contract of the deployment."""
        return self.stage.chain.contract(kind, self.stage.record.contracts[name]["address"])

    def found(self) -> list[Found]:
        """All rounds on chain, oldest first."""
        record, chain = self.stage.record, self.stage.chain
        markets = {record.markets[name]["token"]: name for name in MARKETS}
        feeds = {str(record.address(f"{name}.price_feed")): name for name in MARKETS}
        oracle = self.contract("FundingOracle", "FundingOracle")
        for name in MARKETS:
            self.contract("PriceFeed", f"{name}.price_feed")
        rounds = []
        for block, event in chain.events([oracle, *feeds], from_block=0):
            if event.name == "Round":
                rates = unpack_rates(event.medians, len(event.tokens))
                rounds += [
                    Found("funding", markets[token], event.observed_at, rate, block)
                    for token, rate in zip(event.tokens, rates, strict=True)
                    if rate is not None
                ]
            elif event.name == "PriceUpdated":
                market = feeds[event.address]
                rounds.append(Found("price", market, event.observed_at, event.median_wad, block))
        return rounds

    def finish(
        self,
        record: Callable[[str, object], None],
        *,
        minutes: float = 7,
        exact: bool = True,
        once: bool = True,
    ) -> None:
        """Let everything recover, and judge it."""
        self.run(minutes=minutes)
        for name, value in self.verify(exact=exact, once=once).items():
            record(name, value)

    def verify(self, *, exact: bool = True, once: bool = True) -> dict[str, Any]:
        """Assert what has to hold after any fault; gives figures for the table.

        No round twice, no wrong value, no heartbeat missed but by an outage, and all is well by
        now. `exact` False where a liar was among the exchanges: then a median only has to lie among
        what the honest ones said. `once` False where two submitters know nothing of each other:
        then the same may be sent twice, and is skipped by the chain the second time.
        """
        rounds = self.found()
        assert rounds, "nothing was ever sent"
        seen = Counter((each.kind, each.market, each.observed_at) for each in rounds)
        assert max(seen.values()) == 1, f"sent twice: {seen.most_common(3)}"
        if once:
            calldata = Counter(self._submissions())
            assert max(calldata.values()) == 1, "the same transaction was mined twice"
        for each in rounds:
            self._check_value(each, exact=exact)
        longest = 0
        for kind, market in itertools.product(HEARTBEAT, MARKETS):
            times = [
                each.observed_at for each in rounds if (each.kind, each.market) == (kind, market)
            ]
            assert times, f"no {kind} of {market}"
            for before, after in itertools.pairwise([*times, self.now]):
                late = after - self._due(before + HEARTBEAT[kind])
                longest = max(longest, after - before)
                assert late <= SLACK, f"{kind} of {market}: {after - before} s from {before}"
        return {"rounds": len(rounds), "longest gap": longest}

    def _due(self, time: int) -> int:
        """When something that is due at a time can be sent, within `SLACK`."""
        for start, end in sorted(self.outages):
            if start - SLACK < time < end:
                time = end
        return time

    def _check_value(self, each: Found, *, exact: bool) -> None:
        said = [self.truth(each.market, v, each.observed_at) for v in self._counted(each)]
        if each.kind == "price":
            values = [int(price * 10**18) for _, _, price in said]
        else:
            values = [rate_units(rate * 8_760 / hours) for rate, hours, _ in said]
        assert min(values) <= each.value <= max(values), f"{each} is none of {values}"
        if exact:
            # the mean of the middle two of what has been rounded may be a unit off
            assert abs(each.value - median(values)) <= 1, f"{each} is no median of {values}"

    def _counted(self, each: Found) -> list[str]:
        """The exchanges that a round is made of."""
        faults = [out for begin, end, out in self.faults if begin < each.observed_at <= end]
        return [venue for venue in VENUES if not any(venue in out for out in faults)]

    def _submissions(self) -> Iterator[str]:
        """Call data of the submitters' mined transactions that hold a round, skipped or not."""
        for sent in self.sent():
            receipt = self.stage.chain.rpc("eth_getTransactionReceipt", sent["hash"])
            assert receipt["status"] == "0x1", f"{sent['hash']} failed"
            if rounds_in(sent["input"]):
                yield sent["input"]

    def sent(self, since: int = START) -> Iterator[dict[str, Any]]:
        """The submitters' mined transactions, as nodes have them, of blocks later than `since`."""
        chain = self.stage.chain
        payers = {key(f"submitter {name}").address.lower() for name in ("first", "second")}
        first = chain.block_number
        while chain.block_timestamp(first) > since:
            first -= 1
        for number in range(first + 1, chain.block_number + 1):
            block = chain.rpc("eth_getBlockByNumber", hex(number), True)
            yield from (each for each in block["transactions"] if each["from"].lower() in payers)
