"""What an ether is worth, by which gas is weighed against a bonus."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpool.evm import Reverted
from perpool.keeper.chain.contracts import KeeperError, bind
from perpool.keeper.chain.follow import Reader
from perpool.keeper.chain.nodes import Head

ETHER_AGE = 90_000
"""Seconds past which the price of ether is too old: many feeds beat once a day."""
ETHER_MARGIN = 2
"""By which the last price of ether is multiplied where the feed has no fresh one."""


@dataclass(frozen=True, slots=True)
class Ether:
    """USDT of an ether: a number, or else a Chainlink feed of its price in dollars."""

    price: Decimal | None = None
    feed: str | None = None
    max_age: int = ETHER_AGE
    """Seconds, of what the feed says."""


class EtherPrice:
    """The price by `source`, as of a block."""

    def __init__(self, nodes: Reader, source: Ether, log: Any) -> None:
        self.nodes = nodes
        self.source = source
        self.log = log
        self._last: Decimal | None = None
        """What the feed had last."""
        self._fault: str | None = None

    def at(self, head: Head) -> Decimal:
        """USDT. Where the feed has nothing fresh, more than the last that it had.

        Raises KeeperError where it never had anything.
        """
        if self.source.price is not None:
            return self.source.price
        fault = self._read(head)
        if self._last is None:
            raise KeeperError(
                f"{self.source.feed} has never had a price of ether ({fault}): name another feed, "
                "or give the price itself"
            )
        used = self._last if fault is None else self._last * ETHER_MARGIN
        if fault != self._fault:
            if fault is None:
                self.log.info("price of ether is back", used=f"{used:.2f}")
            else:
                self.log.warning("no price of ether", reason=fault, used=f"{used:.2f}")
        self._fault = fault
        return used

    def _read(self, head: Head) -> str | None:
        """What is wrong with what the feed says, if anything; an old price is taken too."""
        assert self.source.feed is not None
        calls = [
            bind("PriceFeed", self.source.feed, each) for each in ("decimals", "latestRoundData")
        ]
        decimals, answers = self.nodes.read(calls, head)
        if isinstance(decimals, Reverted) or isinstance(answers, Reverted):
            return "it is no feed"
        _, answer, _, updated_at, _ = answers
        if answer <= 0:
            return "it has no answer"
        self._last = Decimal(answer).scaleb(-decimals)
        if head.time - updated_at > self.source.max_age:
            return f"older than {self.source.max_age} s"
        return None
