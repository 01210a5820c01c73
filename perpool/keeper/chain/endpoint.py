"""One node among others: what it says, and when it is worth asking.

An `Endpoint` never raises at its user: an outcome is a value, or the exception that stands for it.
After a failure it rests, longer each time, and is not asked meanwhile.

Paths and queries of URLs carry keys. They appear in no text; nodes are named by their host.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import requests
from eth_utils.crypto import keccak
from web3 import HTTPProvider, IPCProvider
from web3.providers.base import JSONBaseProvider

from perpool.chain import Call, Chain, ChainError
from perpool.chain import Receipt as ChainReceipt
from perpool.evm import Reverted
from perpool.evm.codec import Event, EventRegistry
from perpool.keeper.bounded import bound
from perpool.keeper.metrics import Metrics

BATCH = 100
"""Requests in one message; public nodes refuse large batches."""
MOST_BYTES = 64 << 20
"""Of one answer, inflated."""
LONGEST_ANSWER = 30.0
"""Seconds after which one that comes in drips is broken off; long before, nobody waits for it."""
SHORTEST_REST = 1.0
LONGEST_REST = 15.0
"""Seconds after a failure, doubled with each up to this, in which a node is not asked."""

_THREADS = 4
_QUEUE = 16
_SHORT = 5
_TOO_LARGE = (400, 405, 413)
_THROTTLED = re.compile(
    r"rate.?limit|too many requests|throttl|capacity exceeded|per.?second|request (count|limit)"
    r"|quota",
    re.IGNORECASE,
)
_RUNS = ("eth_call", "eth_estimateGas")
"""What runs the EVM, and so may fail in it."""
_FAULTS = re.compile(
    r"invalid (opcode|jump)|bad (instruction|jump)|stack (under|over)flow|stack limit"
    r"|write protection",
    re.IGNORECASE,
)
"""Of the EVM, without a revert. "out of gas" is not one: calls have the gas that a node gives."""

Answer = Literal[
    "accepted",
    "known",
    "underpriced",
    "insufficient funds",
    "nonce too low",
    "refused",
    "no answer",
]
ANSWERS: tuple[Answer, ...] = (
    "accepted",
    "known",
    "underpriced",
    "insufficient funds",
    "nonce too low",
    "refused",
    "no answer",
)
"""To a transaction that was broadcast; the one that counts most first."""
_WORDS: tuple[tuple[Answer, str], ...] = (
    # of geth, erigon, reth, besu, nethermind, anvil, and what L2s make of them
    ("known", r"already.?known|known transaction|already.?(imported|exists|in)\b|same hash"),
    (
        "underpriced",
        r"underpriced|fee.?too.?low|less than block base fee|price (is )?too low"
        r"|below (configured )?minimum|replacement.?not.?allowed|could not replace|ownnonce",
    ),
    ("nonce too low", r"nonce (is )?too low|oldnonce|pool\(stale\)"),
    (
        "insufficient funds",
        r"insufficient ?(funds|balance)|not enough funds|upfront cost exceeds|overdraft",
    ),
)


class Silence(ChainError):  # noqa: N818 - what happened, not what went wrong
    """A node did not answer, or with something that is no answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        """Of HTTP."""


@dataclass(frozen=True, slots=True)
class Head:
    """A block's header."""

    number: int
    hash: str
    time: int
    base_fee: int
    """Wei for one unit of gas, 0 on a chain without."""


@dataclass(frozen=True)
class Receipt(ChainReceipt):
    """What a mined transaction did, and in which of the blocks of that number."""

    block_hash: str = ""


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """What came of broadcasting a transaction."""

    kind: Answer
    text: str = ""
    """In the node's words."""

    @property
    def taken(self) -> bool:
        """Whether a node has it now."""
        return self.kind in ("accepted", "known")


def classify(text: str) -> SendAnswer:
    """What a node's refusal of a transaction means."""
    for kind, words in _WORDS:
        if re.search(words, text, re.IGNORECASE):
            return SendAnswer(kind, text)
    return SendAnswer("refused", text)


class Connection(Chain):
    """A `Chain` that takes nothing for granted, and does not try again: there are other nodes.

    Raises Silence where the node is to blame, ChainError where the request was refused, and
    Reverted where the EVM ran and failed, which is an answer about the chain.
    """

    def __init__(self, url: str, timeout: float, registry: EventRegistry) -> None:
        self._batch = BATCH
        self._secrets = _secrets(url)
        super().__init__(_provider(url, timeout), timeout=timeout)
        self.registry = registry

    def block(self, block: str) -> Head:
        """A block's header."""
        found = self.rpc("eth_getBlockByNumber", block, False)
        if found is None:
            raise ChainError(f"has no block {block}")
        return Head(
            int(found["number"], 16),
            str(found["hash"]),
            int(found["timestamp"], 16),
            int(found.get("baseFeePerGas") or "0x0", 16),
        )

    def newest(self) -> Head:
        """The newest block's header. A node that refuses even that is as good as down."""
        try:
            return self.block("latest")
        except ChainError as error:
            raise error if isinstance(error, Silence) else Silence(str(error)) from None

    def block_hash(self, block: str) -> str | None:
        """A block's hash, None where there is none."""
        found = self.rpc("eth_getBlockByNumber", block, False)
        return None if found is None else str(found["hash"])

    def outcomes(self, calls: Sequence[Call], block: int) -> list[Any]:
        """What calls return, or their Reverted."""
        answers = self.batch([("eth_call", self._call_arguments(call, block)) for call in calls])
        return [self._outcome(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def transaction(self, transaction_hash: str) -> dict[str, Any] | None:
        """A transaction by its hash, in lower case, mined or waiting.

        Raises Silence for anything else.
        """
        found = self.rpc("eth_getTransactionByHash", transaction_hash)
        if found is None:
            return None
        same = isinstance(found, Mapping) and str(found.get("hash")).lower() == transaction_hash
        if not same:
            raise Silence("gave something else for a transaction")
        return dict(found)

    def receipt(self, transaction_hash: str) -> Receipt | None:
        """A transaction's receipt."""
        data = self.rpc("eth_getTransactionReceipt", transaction_hash)
        return None if data is None else self._receipt(data)

    def why(self, receipt: Receipt, call: Call) -> str:
        """What a transaction failed for."""
        try:
            self._raise_reason(receipt, call)
        except Reverted as error:
            return str(error)

    def deliver(self, raw: bytes) -> SendAnswer:
        """Broadcast a signed transaction."""
        answer = self._request("eth_sendRawTransaction", ["0x" + raw.hex()])
        error = answer.get("error")
        if error is None:
            same = str(answer["result"]).lower() == "0x" + keccak(raw).hex()
            return SendAnswer("accepted") if same else SendAnswer("refused", "gave another hash")
        _check_throttling(error)
        text = str(error.get("message", error) if isinstance(error, Mapping) else error)
        return classify(self._discreet(text))

    # -- Chain's own, for a node that may do anything --

    def events(
        self, emitters: Sequence[Any], *, from_block: int, to_block: int | str = "latest"
    ) -> list[tuple[int, Event]]:
        """Some nodes refuse what is too much for them by a status of HTTP."""
        try:
            return super().events(emitters, from_block=from_block, to_block=to_block)
        except Silence as error:
            if error.status in _TOO_LARGE:
                raise ChainError(f"the node refused eth_getLogs: {error}") from None
            raise

    def batch(self, requests_: Sequence[tuple[str, Sequence[Any]]]) -> list[Mapping[str, Any]]:
        """In messages as large as the node takes them, down to single requests."""
        answers: list[Mapping[str, Any]] = []
        while len(answers) < len(requests_):
            part = requests_[len(answers) : len(answers) + self._batch]
            if len(part) == 1:
                answers.append(self._request(*part[0]))
                continue
            found = self._take(part)
            if found is None:
                self._batch = len(part) // 2
            else:
                answers += found
        return answers

    def _take(
        self, part: Sequence[tuple[str, Sequence[Any]]]
    ) -> Sequence[Mapping[str, Any]] | None:
        """Answers to one message, None where it is too large for the node."""
        try:
            found = super().batch(part)
        except Silence as error:
            if error.status in _TOO_LARGE:
                return None
            raise
        except ChainError as error:
            _check_throttling(error)
            return None
        return found if len(found) == len(part) else None

    def _receipt(self, data: Mapping[str, Any]) -> Receipt:
        return Receipt(**vars(super()._receipt(data)), block_hash=str(data["blockHash"]))

    def _outcome(self, call: Call, answer: Mapping[str, Any]) -> Any:
        try:
            return self._called(call, answer)
        except Reverted as error:
            return error
        except ValueError as error:
            # there is no contract, or another one
            return Reverted("", fault=str(error))

    def _result(self, method: str, answer: Mapping[str, Any]) -> Any:
        _check_throttling(answer.get("error"))
        runs = method in _RUNS
        try:
            return super()._result(method, answer)
        except Reverted as error:
            if runs:
                raise
            raise ChainError(self._discreet(f"the node refused {method}: {error}")) from None
        except ChainError as error:
            text = self._discreet(str(error))
            if runs and _FAULTS.search(text):
                raise Reverted("", fault=text) from None
            raise ChainError(text) from None

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code
            raise Silence(f"HTTP {status}", status) from None
        except Exception as error:
            # web3 raises all sorts of things about answers that are none
            raise Silence(f"no answer ({type(error).__name__})") from None

    def _discreet(self, text: str) -> str:
        """Without what a provider may repeat of our URL."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


Question = Callable[[Connection], Any]


class Endpoint:
    """A node by its URL or socket: its connection, made when it is needed, and its rests.

    `chain_id` is what the node's has to be, where it is known already.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        chain_id: int | None,
        timeout: float,
        registry: EventRegistry,
        metrics: Metrics,
        log: Any,
    ) -> None:
        self.name = name
        self.chain_id = chain_id
        self.apart = False
        """Behind the others, or on another fork."""
        self.trouble: Exception = Silence("has not been asked yet")
        """Why it rests."""
        self._url = url
        self._timeout = timeout
        self._registry = registry
        self._metrics = metrics
        self._log = log
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"node {name}")
        self._mutex = threading.Lock()
        self._connecting = threading.Lock()
        """Held for as long as a node takes to say its chain, so never together with `_mutex`."""
        self._connection: Connection | None = None
        self._failures = 0
        self._rests_until = 0.0
        self._queued = 0
        self._given_up = 0
        """Answers that nobody waits for any longer, and that hold a thread each."""

    @property
    def ready(self) -> bool:
        """Whether to ask it: not soon after a failure, nor when many of its answers are due."""
        if self._queued >= _QUEUE or self._given_up >= _THREADS:
            return False
        return time.monotonic() >= self._rests_until

    def submit(self, question: Question) -> Future[Any]:
        """Ask in a thread."""
        with self._mutex:
            self._queued += 1
        return self._threads.submit(self._outcome_in_thread, question)

    def give_up(self, answer: Future[Any]) -> Silence:
        """Wait no longer for an answer, and let the node rest; its thread ends when it may."""
        late = Silence("no whole answer in time")
        with self._mutex:
            if answer.cancel():
                self._queued -= 1
            else:
                self._given_up += 1
        if not answer.cancelled():
            answer.add_done_callback(self._end_given_up)
        self._rest(late)
        return late

    def outcome(self, question: Question) -> Any:
        """The answer, or the exception that says why there is none: Reverted, ChainError."""
        try:
            answer = question(self._connected())
        except Silence as error:
            self._rest(error)
            return error
        except (ChainError, Reverted) as error:
            answer = error
        except Exception as error:
            # a node may answer anything at all, and must not hurt anyone with it
            malformed = Silence(f"a malformed answer ({type(error).__name__})")
            self._rest(malformed)
            return malformed
        self._recover()
        return answer

    def place(self, apart: str | None) -> None:
        """Note where it is apart from the others, None where it is with them."""
        if apart and not self.apart:
            self._log.warning("node apart", node=self.name, reason=apart)
        elif self.apart and not apart:
            self._log.info("node back", node=self.name)
        self.apart = apart is not None
        self._show()

    def close(self) -> None:
        """End its threads, once they have their answers."""
        self._threads.shutdown(wait=False)

    def _end_given_up(self, answer: Future[Any]) -> None:
        with self._mutex:
            self._given_up -= 1

    def _outcome_in_thread(self, question: Question) -> Any:
        try:
            return self.outcome(question)
        finally:
            with self._mutex:
                self._queued -= 1

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is None:
            with self._connecting:
                connection = self._connection or self._connect()
        if self.chain_id not in (None, connection.chain_id):
            raise Silence(f"is of chain {connection.chain_id}, not of {self.chain_id}")
        return connection

    def _connect(self) -> Connection:
        if time.monotonic() < self._rests_until:
            raise Silence(str(self.trouble))  # another thread has failed to just now
        try:
            self._connection = connection = Connection(self._url, self._timeout, self._registry)
        except Silence as error:
            self._rest(error)
            raise
        return connection

    def _rest(self, error: Silence) -> None:
        with self._mutex:
            self.trouble = error
            if time.monotonic() < self._rests_until:
                return  # another thread has met the same failure
            rest = min(SHORTEST_REST * 2**self._failures, LONGEST_REST)
            self._rests_until = time.monotonic() + rest
            self._failures += 1
            # whatever is there afterwards has to show its chain again
            self._connection = None
        if self._failures == 1:
            self._log.warning("node down", node=self.name, reason=str(error))
        self._show()

    def _recover(self) -> None:
        if self._given_up:
            return  # an answer that came too late, or may have
        if self._failures:
            self._failures = 0
            self._log.info("node up", node=self.name)
        self._show()

    def _show(self) -> None:
        self._metrics.node_up.labels(self.name).set(not self._failures and not self.apart)


def name_endpoints(urls: Sequence[str]) -> list[str]:
    """Hosts and paths of sockets, numbered where they repeat. Raises ValueError for other URLs."""
    names: list[str] = []
    for url in urls:
        name = url
        if "://" in url:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{parts.scheme}://: give http(s) URLs or paths of IPC sockets")
            name = parts.hostname + (f":{parts.port}" if parts.port else "")
        same = sum(each.partition("#")[0] == name for each in names)
        names.append(f"{name}#{same + 1}" if same else name)
    return names


def _provider(url: str, timeout: float) -> JSONBaseProvider:
    if "://" in url:
        return HTTPProvider(
            url,
            request_kwargs={"timeout": timeout},
            session=bound(requests.Session(), most=MOST_BYTES, seconds=LONGEST_ANSWER),
            exception_retry_configuration=None,
        )
    return IPCProvider(url, timeout=max(1, round(timeout)))


def _secrets(url: str) -> list[str]:
    """The parts of a URL that nobody should read, the longest first."""
    if "://" not in url:
        return []
    parts = urllib.parse.urlsplit(url)
    found = [parts.username or "", parts.password or "", *parts.path.split("/")]
    found += [value for _, value in urllib.parse.parse_qsl(parts.query)]
    return sorted((each for each in found if len(each) > _SHORT), key=len, reverse=True)


def _check_throttling(error: object) -> None:
    """Raises Silence where a node refuses because it was asked too often."""
    if error is not None and _THROTTLED.search(str(error)) and "revert" not in str(error):
        raise Silence("too many requests")
