"""Two markets on an in-process chain, their venues, and who reports and submits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import cast

from eth_account.signers.local import LocalAccount

from perpool.evm import Contract, Evm
from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.mailbox.sqlite import SqliteMailbox
from perpool.keeper.model import (
    Funding,
    LeftOut,
    Observation,
    Reading,
)
from perpool.keeper.replay import EvmOutbox, token_of
from perpool.keeper.reporter import Reporter
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import Submitter

NOW = 1_700_000_040
"""A multiple of a minute."""
WAD = 10**18
TOKENS = {"ADA": token_of("ADA"), "XRP": token_of("XRP")}
D = Decimal


class SaidVenues:
    """A panel whose venues say what a test wants: {market: {venue: (funding of 8 h, price)}}."""

    def __init__(self) -> None:
        self.says: dict[str, dict[str, tuple[str | None, str | None]]] = {
            "ADA": {"a": ("0.0001", "1.5"), "b": ("0.0002", "1.6"), "c": ("0.0003", "1.4")},
            "XRP": {"a": ("-0.0001", None), "b": ("-0.0001", None), "c": ("-0.0001", None)},
        }
        self.down = (LeftOut("d", "it is down"),)
        self.asked: list[int] = []

    def observe(self, markets: Sequence[str], now: int) -> list[Observation]:
        self.asked.append(now)
        found = []
        for market in markets:
            readings = tuple(
                Reading(
                    venue,
                    Funding(D(rate), timedelta(hours=8)) if rate else None,
                    D(price) if price else None,
                )
                for venue, (rate, price) in self.says[market].items()
            )
            found.append(Observation(market, readings, self.down))
        return found


@dataclass
class Setting:
    """Two markets, one of them with a price feed of ours, and three reporters."""

    evm: Evm
    oracle: Contract
    feed: Contract
    contracts: Contracts
    keys: list[LocalAccount]
    panel: SaidVenues
    mailbox: Mailbox
    statements: Statements

    def reporter(self, *keys: int, min_venues: int = 3) -> Reporter:
        """In a process of its own, with what is on disk."""
        signers = [self.keys[each] for each in keys]
        return Reporter(
            self.contracts,
            self.panel,  # type: ignore[arg-type]
            signers,
            self.mailbox,
            self.statements,
            min_venues=min_venues,
        )

    def submitter(self, outbox: object = None) -> Submitter:
        return Submitter(self.contracts, self.mailbox, outbox or EvmOutbox(self.evm))  # type: ignore[arg-type]

    def posted(self) -> list[Message]:
        """What the reporters say now."""
        return [m for each in self.keys for m in self.mailbox.read(each.address)[0]]

    def warp(self, time: int) -> None:
        self.evm.warp(time - self.evm.timestamp)


def leave(setting: Setting, reporter: int, *lines: str) -> None:
    """Put anything at all into a reporter's place."""
    mailbox = cast(SqliteMailbox, setting.mailbox)
    address = setting.keys[reporter].address
    key = (mailbox.chain_id, mailbox.oracle, address, "\n".join(lines).encode())
    with mailbox._database.transaction() as database:
        database.execute("INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)", key)
