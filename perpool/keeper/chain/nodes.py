"""Several nodes of one chain as one that can be believed.

    nodes = Nodes(["https://a.example/KEY", "https://b.example", "/run/geth.ipc"], chain_id=1)
    head = nodes.head()
    rate, price = nodes.read([oracle_call, feed_call], head)
    nodes.send(raw).taken

What counts is what a strict majority of the nodes that answer says, and at least `min_agreeing` of
them: by default half of those that are configured, rounded up. So three nodes stand one liar, and
need two that agree even while the third is down; two show that one of them lies, and one goes on
while the other is down. A node that fails rests for a while, longer each time, so that a dead one
costs a timeout now and then and not with every request.

A node that refuses a request, say for a range of blocks that it finds too large, is there all the
same: it counts among those that answer, and agrees with nobody. So a refusal never makes another
node's word count for more. Logs are then asked for in smaller ranges. That a call reverts is no
refusal but an answer. A node that is asked too often, or refuses to tell even its newest block, is
as good as down.

Nodes that are behind, or on another fork, take no part until they have caught up; each `head` looks
at that anew. The newest block is one that most nodes have, so one that makes up a higher one gains
nothing. Where half of them say more than `max_lag_blocks` above the rest, that is a Disagreement,
unless the rest is plainly behind: its newest blocks are older than `LATE`, those above are not, and
those above have the same blocks where the others end. Where nodes differ on the newest block, one a
little older counts that more of them have.

ASSUMPTIONS. Fewer than `min_agreeing` nodes lie in the same way. With one node, or two and the
default, that is none: the one that is left is believed while the other is down, slow or plainly
behind. Two nodes with `min_agreeing` 2, or three, trust none alone. Our clock is right to well
below `LATE`. A chain that stands still for longer makes an honest node seem behind, and then one
liar of two wins. Gas estimates, tips and reasons of failures are not compared: they decide how a
transaction is sent, never what it does. That it would fail, or waits somewhere, has to be said by
`min_agreeing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from perpool.build import Abi
from perpool.chain import Call, ChainError
from perpool.evm import Reverted
from perpool.evm.codec import Event, EventRegistry
from perpool.keeper.chain.endpoint import (
    ANSWERS,
    Connection,
    Endpoint,
    Head,
    Question,
    Receipt,
    SendAnswer,
    Silence,
    name_endpoints,
)
from perpool.keeper.metrics import Metrics

__all__ = ["Disagreement", "Head", "Nodes", "NodesError", "Receipt", "Refused", "SendAnswer"]

GRACE = 0.5
"""Seconds that the others get once more than half of the nodes have answered."""
LATE = 120
"""Seconds of age above which a node's newest block is plainly not the chain's, where another node
has a newer one: longer than chains make no block."""

T = TypeVar("T")


class NodesError(ChainError):
    """No node gives an answer that can be used; the message says which said what."""


class Disagreement(NodesError):  # noqa: N818 - what happened, not what went wrong
    """Nodes contradict each other. Nothing may be decided on what they say."""


class Refused(NodesError):  # noqa: N818 - what happened, not what went wrong
    """Nodes refuse what they were asked, and too few are left that agree on it."""


class Nodes:
    """Nodes at `endpoints`: http(s) URLs and paths of IPC sockets. Threads may share it.

    `timeout` is for one answer of one node; twice as much for one that comes in drips or in several
    messages. A node more than `max_lag_blocks` behind is left out; where even the newest block is
    older than `max_age`, nothing is believed. `min_agreeing` is how many have to say the same while
    others are down, from 1 to a strict majority. `chain_id` None is whatever all of them say.

    Every method raises NodesError, and where nodes are compared Disagreement and Refused.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        chain_id: int | None = None,
        *,
        timeout: timedelta = timedelta(seconds=5),
        max_lag_blocks: int = 3,
        min_agreeing: int | None = None,
        max_age: timedelta | None = None,
        clock: Callable[[], int] = lambda: int(time.time()),
        metrics: Metrics | None = None,
        log: Any = None,
    ) -> None:
        if not endpoints:
            raise NodesError("no node is configured: name one at least")
        try:
            names = name_endpoints(endpoints)
        except ValueError as error:
            raise NodesError(str(error)) from None
        majority = len(endpoints) // 2 + 1
        if min_agreeing is not None and not 1 <= min_agreeing <= majority:
            raise NodesError(f"min_agreeing: {len(endpoints)} nodes allow 1 to {majority}")
        self.min_agreeing = min_agreeing or (len(endpoints) + 1) // 2
        self.max_lag_blocks = max_lag_blocks
        self.max_age = max_age
        self.metrics = metrics or Metrics()
        self.log = log or structlog.get_logger("perpool.keeper.nodes")
        self._clock = clock
        self._timeout = timeout.total_seconds()
        self._registry = EventRegistry()
        self._chain_id = chain_id
        self._mutex = threading.Lock()
        self._endpoints = [
            Endpoint(
                url,
                name,
                chain_id=chain_id,
                timeout=self._timeout,
                registry=self._registry,
                metrics=self.metrics,
                log=self.log,
            )
            for url, name in zip(endpoints, names, strict=True)
        ]

    def close(self) -> None:
        """End the threads, once they have their answers."""
        for each in self._endpoints:
            each.close()

    def learn(self, abi: Abi) -> None:
        """Have logs and reasons decoded by an ABI too."""
        self._registry.add(abi)

    # -- the chain --

    @property
    def chain_id(self) -> int:
        """Of all the nodes."""
        if self._chain_id is None:
            with self._mutex:
                self._chain_id = self._common_chain()
        return self._chain_id

    def head(self) -> Head:
        """The newest block that a strict majority has, with the same hash."""
        outcomes = self._ask(lambda node: node.newest(), self._endpoints)
        latest = {node: said for node, said in outcomes if not isinstance(said, Exception)}
        if not latest:
            raise NodesError(_excuses(outcomes))
        try:
            agreed, apart = self._compare(latest)
        except (Disagreement, Refused):
            for node in latest:
                node.place(None)  # none is to be asked without the one that contradicts it
            raise
        for node in latest:
            node.place(apart.get(node))
        age = self._clock() - agreed.time
        if self.max_age is not None and age > self.max_age.total_seconds():
            raise NodesError(
                f"the newest block is {age} s old: the chain stands still, or every node is behind"
            )
        return agreed

    def block_hash(self, number: int) -> str | None:
        """Hash of a block, None where there is none yet."""
        return self._agree(lambda node: node.block_hash(hex(number)), f"block {number}")

    # -- reading --

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Decoded values of many calls on top of one block, by default the newest.

        One that reverts, or returns what does not fit, has its Reverted in its place.
        """
        if not calls:
            return []
        number = (head or self.head()).number
        return self._agree(
            lambda node: node.outcomes(calls, number), f"calls at block {number}", key=_comparable
        )

    def nonce(self, address: str, head: Head | None = None) -> int:
        """Transactions that an account has mined."""
        return self._number("eth_getTransactionCount", address, head)

    def balance(self, address: str, head: Head | None = None) -> int:
        """Wei of an account."""
        return self._number("eth_getBalance", address, head)

    def logs(
        self, addresses: Sequence[str], from_block: int, to_block: int
    ) -> list[tuple[int, Event]]:
        """(block number, event) of all that some contracts logged, in order.

        Halves of what nodes refuse, down to single blocks.
        """
        try:
            return self._agree(
                lambda node: node.events(addresses, from_block=from_block, to_block=to_block),
                f"logs of blocks {from_block} to {to_block}",
            )
        except Refused:
            if from_block >= to_block:
                raise
        middle = (from_block + to_block) // 2
        return [
            *self.logs(addresses, from_block, middle),
            *self.logs(addresses, middle + 1, to_block),
        ]

    def transaction(self, transaction_hash: str) -> dict[str, Any] | None:
        """A transaction, mined or waiting, None until a majority has it.

        One node alone may have kept it to itself, or echo what it was asked for.
        """
        outcomes = self._ask(lambda node: node.transaction(transaction_hash))
        answered = [said for _, said in outcomes if not isinstance(said, Exception)]
        if not answered:
            raise NodesError(_excuses(outcomes))
        found: list[dict[str, Any]] = [each for each in answered if each is not None]
        return found[0] if self._suffices(len(found), _count_answers(outcomes)) else None

    def receipt(self, transaction_hash: str) -> Receipt | None:
        """A transaction's receipt, None until a majority has it."""
        outcomes = self._ask(lambda node: node.receipt(transaction_hash))
        found: list[Receipt | None] = [
            said for _, said in outcomes if not isinstance(said, Exception)
        ]
        answers = _count_answers(outcomes)
        for each in found:
            if self._suffices(found.count(each), answers):
                return each
        if None in found and len(found) >= self.min_agreeing:
            return None
        raise self._undecided(outcomes, found, f"receipt of {transaction_hash}")

    def why(self, receipt: Receipt, call: Call) -> str:
        """The reason for which a mined transaction failed, as far as a node can tell."""
        return self._all(lambda node: node.why(receipt, call))[0]

    # -- sending --

    def estimate(self, to: str, data: bytes, sender: str, *, ample: bool = False) -> int:
        """Gas that a transaction would need now. Raises Reverted where enough say it would fail.

        The median; of an even number the lower of the two in the middle, so that one node cannot
        make anything too dear to do. `ample` takes the higher: a limit that is too low would fail.

        What fails on the newest block is tried on the one to come: on a chain that has stood still
        the newest is of long ago, and a round of now is from its future.
        """
        message = {"from": sender, "to": to, "data": "0x" + data.hex()}
        try:
            found = self._estimates(message, "latest")
        except Reverted:
            found = self._estimates(message, "pending")
        return found[(len(found) - (not ample)) // 2]

    def _estimates(self, message: dict[str, str], block: str) -> list[int]:
        outcomes = self._ask(lambda node: int(node.rpc("eth_estimateGas", message, block), 16))
        failed = [said for _, said in outcomes if isinstance(said, Reverted)]
        found = _sorted_quantities(outcomes)
        if len(failed) > len(found) and len(failed) >= self.min_agreeing:
            raise failed[0]
        if not found:
            raise NodesError(_excuses(outcomes))
        return found

    def fees(self, head: Head | None = None) -> tuple[int, int]:
        """(base fee, tip) in wei for one unit of gas; the median of the tips that nodes suggest.

        Of an even number the lower: a tip that is too low is raised while nothing is mined, one
        that is too high is paid.
        """
        base_fee = (head or self.head()).base_fee
        outcomes = self._ask(lambda node: int(node.rpc("eth_maxPriorityFeePerGas"), 16))
        tips = _sorted_quantities(outcomes)
        return base_fee, tips[(len(tips) - 1) // 2] if tips else 0

    def send(self, raw: bytes) -> SendAnswer:
        """Broadcast a signed transaction to every node; the first that takes it is enough."""
        outcomes = self._ask(
            lambda node: node.deliver(raw),
            self._endpoints,
            enough=lambda said: any(isinstance(each, SendAnswer) and each.taken for each in said),
        )
        answers = [
            said if isinstance(said, SendAnswer) else SendAnswer("no answer", str(said))
            for _, said in outcomes
        ]
        return min(answers, key=lambda each: ANSWERS.index(each.kind))

    # -- asking --

    def _ask(
        self,
        question: Question,
        endpoints: Sequence[Endpoint] | None = None,
        *,
        enough: Callable[[list[Any]], bool] = lambda said: False,
    ) -> list[tuple[Endpoint, Any]]:
        """What nodes answer, in parallel: values, and exceptions of those that have none.

        By default those that are not apart. Waits for all of them; once more than half have
        answered not long for the others, and no longer than until it is `enough`.
        """
        assert self.chain_id
        chosen = self._voters if endpoints is None else [each for each in endpoints if each.ready]
        return self._gather(question, chosen, enough)

    def _gather(
        self,
        question: Question,
        chosen: Sequence[Endpoint],
        enough: Callable[[list[Any]], bool] = lambda said: False,
    ) -> list[tuple[Endpoint, Any]]:
        if not chosen:
            raise NodesError(_excuses([(each, each.trouble) for each in self._endpoints]))
        futures = {node.submit(question): node for node in chosen}
        waiting = set(futures)
        outcomes: list[tuple[Endpoint, Any]] = []
        most = max(len(chosen) // 2 + 1, self.min_agreeing)
        last = deadline = time.monotonic() + 2 * self._timeout
        while waiting:
            left = max(0.0, deadline - time.monotonic())
            done, waiting = wait(waiting, left, return_when=FIRST_COMPLETED)
            if not done:
                break
            outcomes += [(futures[each], each.result()) for each in done]
            said = [each for _, each in outcomes if not isinstance(each, ChainError)]
            if enough(said):
                break
            if len(said) >= most:
                deadline = min(deadline, time.monotonic() + GRACE)
        if time.monotonic() >= last:
            outcomes += [(futures[each], futures[each].give_up(each)) for each in waiting]
        return outcomes

    @property
    def _voters(self) -> list[Endpoint]:
        return [each for each in self._endpoints if each.ready and not each.apart]

    def _all(self, question: Callable[[Connection], T]) -> list[T]:
        """Every answer there is, one at least."""
        outcomes = self._ask(question)
        found = [said for _, said in outcomes if not isinstance(said, Exception)]
        if not found:
            raise NodesError(_excuses(outcomes))
        return found

    def _agree(
        self,
        question: Callable[[Connection], T],
        about: str,
        *,
        key: Callable[[Any], Any] = lambda said: said,
    ) -> T:
        """What a strict majority of those that answer says. Raises Disagreement and Refused."""
        voters = self._voters

        def enough(said: list[Any]) -> bool:
            keys = [key(each) for each in said]
            return any(self._suffices(keys.count(each), len(voters)) for each in keys)

        answer: T = self._decide(self._ask(question, voters, enough=enough), about, key)
        return answer

    def _decide(
        self,
        outcomes: Sequence[tuple[Endpoint, Any]],
        about: str,
        key: Callable[[Any], Any] = lambda said: said,
    ) -> Any:
        votes = [
            (node, said, key(said)) for node, said in outcomes if not isinstance(said, ChainError)
        ]
        keys = [each for _, _, each in votes]
        answers = _count_answers(outcomes)
        winner = next(
            (each for each in votes if self._suffices(keys.count(each[2]), answers)), None
        )
        if winner is None:
            raise self._undecided(outcomes, keys, about)
        outvoted = [node.name for node, _, each in votes if each != winner[2]]
        if outvoted:
            self.metrics.disagreements.inc()
            self.log.warning("node outvoted", nodes=outvoted, about=about)
        return winner[1]

    def _is_decided(self, votes: Sequence[tuple[Endpoint, Any]]) -> bool:
        said = [each for _, each in votes if not isinstance(each, ChainError)]
        return any(self._suffices(said.count(each), _count_answers(votes)) for each in said)

    def _suffices(self, same: int, answers: int) -> bool:
        return same >= self.min_agreeing and 2 * same > answers

    def _undecided(
        self, outcomes: Sequence[tuple[Endpoint, Any]], keys: Sequence[Any], about: str
    ) -> NodesError:
        """Why nothing that was said, `keys` as they are compared, counts."""
        refusals = [each for each in outcomes if _is_refusal(each[1])]
        if not refusals:
            if len(keys) < self.min_agreeing:
                return self._too_few(outcomes)
            return self._disagreement(about)
        if not keys:
            return Refused(_excuses(outcomes))
        if any(each != keys[0] for each in keys):
            self.metrics.disagreements.inc()
        return Refused(f"too few nodes agree on {about}, as others refuse ({_sayings(refusals)})")

    def _too_few(self, outcomes: Iterable[tuple[Endpoint, Any]]) -> NodesError:
        names = [node.name for node, said in outcomes if not isinstance(said, ChainError)]
        if not names:
            return NodesError(_excuses(outcomes))
        return NodesError(
            f"only {', '.join(names)} of {len(self._endpoints)} nodes can be asked: "
            f"{self.min_agreeing} have to agree"
        )

    def _compare(self, latest: Mapping[Endpoint, Head]) -> tuple[Head, dict[Endpoint, str]]:
        """The newest block that most nodes have, and why others are apart from them.

        Where those that have reached it differ, one that the others have too: they may outvote one
        of them lower down.
        """
        voices, ahead = latest, latest
        while 2 * len(ahead) >= len(voices):
            voices = ahead
            ranks = sorted((each.number for each in voices.values()), reverse=True)
            height = ranks[min(len(ranks) - 1, max(len(ranks) // 2, self.min_agreeing - 1))]
            highest = height + self.max_lag_blocks
            ahead = {node: head for node, head in voices.items() if head.number > highest}
            behind = {head for head in voices.values() if head.number <= highest}
            if 2 * len(ahead) >= len(voices) and not self._are_behind(behind, ahead):
                raise self._disagreement(f"the newest block, {ranks[0]} or {ranks[-1]}")
        lower = {each for each in ranks if height - self.max_lag_blocks <= each < height}
        votes = self._votes(voices, height)
        if not self._is_decided(votes):
            for each in sorted(lower, reverse=True):
                below = self._votes(voices, each)
                if self._is_decided(below):
                    height, votes = each, below
                    break
        agreed: Head = self._decide(votes, f"block {height}")
        voted: dict[Endpoint, Any] = dict(votes)
        apart: dict[Endpoint, str] = {}
        for node, head in latest.items():
            said = voted.get(node, agreed)
            if head.number < height - self.max_lag_blocks:
                apart[node] = f"behind, at block {head.number}"
            elif isinstance(said, Head) and said != agreed:
                apart[node] = f"has another block {height}"
            elif isinstance(said, ChainError) and not isinstance(said, Silence):
                apart[node] = f"says block {head.number}, and has no block {height}"
        return agreed, apart

    def _votes(self, voices: Mapping[Endpoint, Head], height: int) -> list[tuple[Endpoint, Any]]:
        """What nodes that have come so far say of a block."""
        votes: list[tuple[Endpoint, Any]] = [
            (node, head) for node, head in voices.items() if head.number == height
        ]
        above = [node for node, head in voices.items() if head.number > height and node.ready]
        return votes + self._ask(lambda node: node.block(hex(height)), above) if above else votes

    def _are_behind(self, behind: Iterable[Head], ahead: Mapping[Endpoint, Head]) -> bool:
        """Whether some newest blocks are plainly old ones of the chain that others have."""
        now = self._clock()
        if any(now - each.time <= LATE for each in behind):
            return False
        if any(abs(now - each.time) > LATE for each in ahead.values()):
            return False
        for old in behind:
            outcomes = self._ask(lambda node, old=old: node.block(hex(old.number)), list(ahead))  # type: ignore[misc]
            if [said for _, said in outcomes] != [old] * len(ahead):
                return False
        return True

    def _disagreement(self, about: str) -> Disagreement:
        self.metrics.disagreements.inc()
        return Disagreement(f"nodes differ on {about}: nothing is done until they agree")

    def _number(self, method: str, address: str, head: Head | None) -> int:
        block = hex((head or self.head()).number)
        return self._agree(lambda node: int(node.rpc(method, address, block), 16), method)

    def _common_chain(self) -> int:
        ready = [each for each in self._endpoints if each.ready]
        outcomes = self._gather(lambda node: node.chain_id, ready)
        found = {said for _, said in outcomes if isinstance(said, int)}
        if len(found) > 1:
            said = ", ".join(f"{node.name}: {each}" for node, each in outcomes)
            raise Disagreement(f"nodes of different chains ({said}): take the wrong ones out")
        if sum(isinstance(said, int) for _, said in outcomes) < self.min_agreeing:
            raise self._too_few(outcomes)
        chain_id: int = found.pop()
        for each in self._endpoints:
            each.chain_id = chain_id
        return chain_id


def _comparable(answers: Any) -> Any:
    """Clients word reverts differently, but give the same data."""
    if isinstance(answers, Exception):
        return answers
    return [("reverted", each.data) if isinstance(each, Reverted) else each for each in answers]


def _sorted_quantities(outcomes: Iterable[tuple[Endpoint, object]]) -> list[int]:
    """The numbers among answers, but for those with a minus, which a node may write too."""
    return sorted(said for _, said in outcomes if isinstance(said, int) and said >= 0)


def _is_refusal(said: object) -> bool:
    return isinstance(said, ChainError) and not isinstance(said, Silence)


def _count_answers(outcomes: Iterable[tuple[Endpoint, object]]) -> int:
    """Refusals too: those nodes are there, and do not agree."""
    return sum(not isinstance(said, Silence) for _, said in outcomes)


def _excuses(outcomes: Iterable[tuple[Endpoint, object]]) -> str:
    return f"no node gives an answer ({_sayings(outcomes)}): check the endpoints"


def _sayings(outcomes: Iterable[tuple[Endpoint, object]]) -> str:
    return "; ".join(f"{node.name}: {said}" for node, said in outcomes)
