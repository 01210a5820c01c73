"""How fast the keeper is: `python -m perpool.bench.keeper`, or `make bench-keeper`.

Two questions, both without a chain. How many rounds a second go through signing, mailbox,
verification, decision and encoding, where a round is what five reporters say of 500 markets. And
how long it takes from a new price to the list of accounts that can be liquidated, which may grow
with the accounts near the threshold and the logarithm of all, and no faster: it exits with 1 where
it does, or where 100,000 accounts take more than 10 ms.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_checksum_address
from rich.console import Console
from rich.table import Table

from perpool.bench import liquidator
from perpool.bench.compare import write_json
from perpool.build import repository_root
from perpool.keeper import decide
from perpool.keeper.chain.contracts import function
from perpool.keeper.mailbox import Mailbox, Message, open_mailbox
from perpool.keeper.model import (
    FundingFeed,
    MarketState,
    Policy,
    PriceRound,
    Round,
    Seats,
    Subject,
)
from perpool.keeper.rounds import Collector
from perpool.reports import (
    MAX_TOKENS,
    Domain,
    funding_round,
    ordered,
    pack_rates,
    price_round,
    sign_report,
)

CHAIN = 1
NOW = 1_700_000_000
REPORTERS = 5
QUORUM = 3
MARKETS = 500
RATE = 109_500_000
"""1e-9 a year."""
PRICE_WAD = 10**18
OUTPUT = "build/bench/keeper.json"
STAGES = ("sign", "mailbox", "verify", "aggregate", "decide", "encode")

Result = TypeVar("Result")


def address(text: str) -> str:
    """An address that stands for a contract."""
    return to_checksum_address(keccak(text=text)[-20:])


ORACLE = address("oracle")


class StopWatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], Result]) -> Result:
        """Do the work and give its result."""
        started = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - started
        return result


class Pipeline:
    """One round of all markets through everything but venues and chain."""

    def __init__(self, mailbox: Mailbox, markets: int, *, prices: bool) -> None:
        self.mailbox = mailbox
        self.keys: list[LocalAccount] = [
            Account.from_key(keccak(text=f"bench reporter {index}")) for index in range(REPORTERS)
        ]
        self.panel = tuple(ordered(each.address for each in self.keys))
        self.tokens = [address(f"token {index}") for index in range(markets)]
        self.oracle = ORACLE
        feeds = {address(f"feed {index}"): token for index, token in enumerate(self.tokens)}
        self.feeds = feeds if prices else {}
        everything = frozenset(self.tokens)
        domain = Domain.of_funding_oracle(CHAIN, self.oracle)
        self.seats = {
            self.oracle: Seats("funding", domain, self.panel, QUORUM, 3_600, everything)
        } | {
            feed: Seats(
                "price",
                Domain.of_price_feed(CHAIN, feed),
                self.panel,
                QUORUM,
                3_600,
                frozenset({token}),
            )
            for feed, token in self.feeds.items()
        }
        self.states = [
            MarketState(
                market=f"market {index}",
                token=token,
                price_feed=feed if prices else None,
                funding=FundingFeed(0, 0, -(10**12), 10**12, 0),
                price=PriceRound(0, 0, held=False, spacing=60) if prices else None,
                pools=(),
                volatility_due=False,
            )
            for index, (feed, token) in enumerate(feeds.items())
        ]

    def run(self, observed_at: int) -> dict[str, float]:
        """A round; the seconds of each of its stages, all reporters together."""
        watch = StopWatch()
        messages = watch.time("sign", lambda: self.sign(observed_at))
        received = watch.time("mailbox", lambda: self.deliver(messages))
        collector = watch.time("verify", lambda: self.collect(received, observed_at))
        rounds = watch.time("aggregate", lambda: collector.rounds(observed_at))
        actions = watch.time("decide", lambda: decide.reports(self.states, rounds, Policy()))
        watch.time("encode", lambda: [self.encode(each.round) for each in actions])
        expected = -(-len(self.tokens) // MAX_TOKENS) + len(self.feeds)
        if len(actions) != expected:
            raise RuntimeError(f"{len(actions)} rounds came out of {expected}")
        return watch.seconds

    def sign(self, observed_at: int) -> list[Message]:
        """Every reporter's reports of everything."""
        subjects = [
            Subject(self.oracle, observed_at, tuple(self.tokens[start : start + MAX_TOKENS]))
            for start in range(0, len(self.tokens), MAX_TOKENS)
        ]
        subjects += [Subject(feed, observed_at, (token,)) for feed, token in self.feeds.items()]
        messages = []
        for number, key in enumerate(self.keys):
            for subject in subjects:
                seats = self.seats[subject.contract]
                if seats.kind == "funding":
                    values = pack_rates([RATE + number] * len(subject.tokens))
                else:
                    values = [PRICE_WAD + number]
                report = sign_report(key, seats.domain, observed_at, subject.tokens, values)
                messages.append(Message(CHAIN, subject.contract, report))
        return messages

    def deliver(self, messages: Sequence[Message]) -> list[Message]:
        """Through the mailbox, there and back."""
        for reporter in self.panel:
            self.mailbox.post([each for each in messages if each.report.reporter == reporter])
        return [each for reporter in self.panel for each in self.mailbox.read(reporter)[0]]

    def collect(self, messages: Sequence[Message], now: int) -> Collector:
        """Check every signature."""
        collector = Collector(CHAIN, self.seats)
        refused = [reason for each in messages if (reason := collector.add(each, now))]
        if refused or len(messages) == 0:
            raise RuntimeError(f"reports were refused: {refused[:3]}")
        return collector

    def encode(self, found: Round) -> bytes:
        """The call data of a round."""
        if found.subject.contract == self.oracle:
            arguments = funding_round(found.reports, self.panel)
            return function("FundingOracle", "submit").encode(arguments)
        return function("PriceFeed", "submit").encode(price_round(found.reports, self.panel))


def rounds_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Milliseconds of each stage, by what is in a round and what carries it."""
    table = Table(title=f"A round of {MARKETS} markets by {REPORTERS} reporters, in ms")
    table.add_column("all reporters together")
    for row in rows:
        table.add_column(f"{row['round']}, {row['mailbox']}", justify="right")
    for stage in STAGES:
        table.add_row(stage, *(f"{row['seconds'][stage] * 1000:,.0f}" for row in rows))
    table.add_section()
    table.add_row("rounds a second", *(f"{row['per_second']:.2f}" for row in rows))
    return table


def measure_rounds(redis_url: str | None, repeats: int) -> list[dict[str, Any]]:
    """The fastest of some rounds for each kind, side by side in one run."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        places = {"SQLite": f"sqlite:///{folder}/mailbox.sqlite"}
        if redis_url is not None:
            places["Redis"] = redis_url
        for name, url in places.items():
            for what, prices in (("funding", False), ("funding and prices", True)):
                pipeline = Pipeline(open_mailbox(url, CHAIN, ORACLE), MARKETS, prices=prices)
                runs = [pipeline.run(NOW + number * 60) for number in range(repeats)]
                best = min(runs, key=lambda run: sum(run.values()))
                rows.append(
                    {
                        "round": what,
                        "mailbox": name,
                        "seconds": best,
                        "per_second": 1 / sum(best.values()),
                    }
                )
    return rows


@click.command(help=__doc__)
@click.option("--redis", "redis_url", help="Also through this Redis, redis://host:port/db.")
@click.option("--repeats", default=3, show_default=True, help="Rounds of each kind.")
def main(redis_url: str | None, repeats: int) -> None:
    """Measure, print and write everything."""
    console = Console()
    with console.status("rounds"):
        rounds = measure_rounds(redis_url, repeats)
    console.print(rounds_table(rounds))
    with console.status("lists"):
        lists = liquidator.measure_lists()
    console.print(liquidator.table(lists))
    path = repository_root() / OUTPUT
    write_json(path, {"rounds": rounds, "lists": lists})
    console.print(f"written: {path}", soft_wrap=True)
    faults = liquidator.faults(lists)
    for each in faults:
        console.print(each, style="red", soft_wrap=True)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
