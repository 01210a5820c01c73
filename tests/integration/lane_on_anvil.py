"""An outbox on a real anvil that mines only when told to, and a contract that notes what comes.

Also what kills a keeper between two of its steps, for which this is importable by a fresh process.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

from perpool.anvil import Anvil
from perpool.build import compile_contract
from perpool.chain import Chain, Contract
from perpool.keeper.chain.nodes import Head, Nodes
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.events import Event
from perpool.keeper.transactions.fees import GWEI, FeePolicy
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import Outbox

CONFIRMATIONS = 5
PATIENCE = 45
NOW = 1_000_000
POLICY = FeePolicy(max_fee=100 * GWEI, min_tip=GWEI // 10, max_tip=3 * GWEI)
LATER = 10_000
"""Seconds to an expiry that no test reaches."""
ADA = Intent("price", "ADA", 1, "1")
"""What a parcel is for, where nothing else is said."""
NOTED = "0x" + keccak(text="Noted(address,string,int256,(address,uint256))").hex()


def key(name: str) -> LocalAccount:
    """An actor's key."""
    found: LocalAccount = Account.from_key(keccak(text=f"lane {name}"))
    return found


class KeyWallet:
    """Signs with a local key, and remembers what."""

    def __init__(self, account: LocalAccount) -> None:
        self.account = account
        self.address: str = account.address
        self.signed: list[dict[str, Any]] = []

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        self.signed.append(transaction)
        signed = self.account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()


@dataclass
class Stage:
    """The chain, the contract, and the time."""

    anvil: Anvil
    chain: Chain
    probe: Contract
    multicall: Contract
    folder: Path
    now: int = NOW
    outboxes: list[Outbox] = field(default_factory=list)

    @classmethod
    def start(cls, anvil: Anvil, folder: Path) -> Stage:
        """Deploy, give the keeper ether, and stop mining by itself."""
        chain = Chain.connect(anvil.endpoint)
        stage = cls(anvil, chain, chain.deploy("Probe", 1), chain.deploy("Multicall"), folder)
        for name in ("keeper", "standby"):
            chain.set_balance(key(name).address, 10**20)
        chain.rpc("evm_setAutomine", False)
        return stage

    def close(self) -> None:
        for each in self.outboxes:
            each.journal.close()
            each.nodes.close()

    # -- the keeper --

    def outbox(
        self,
        endpoints: Sequence[str] | None = None,
        *,
        name: str = "keeper",
        fees: FeePolicy = POLICY,
        **options: Any,
    ) -> Outbox:
        """A fresh process' outbox, over the journal that this actor has."""
        outbox = open_outbox(
            endpoints or [self.anvil.endpoint],
            self.folder / f"{name}.db",
            name,
            self.probe.address,
            self.multicall.address,
            lambda: self.now,
            fees=fees,
            **options,
        )
        self.outboxes.append(outbox)
        return outbox

    def restart(self, outbox: Outbox, **options: Any) -> Outbox:
        """As after the end of its process."""
        outbox.journal.close()
        return self.outbox(**options)

    def parcel(self, subject: str = "ADA", time: int = 1) -> Parcel:
        """A call that leaves a note."""
        return note_parcel(self.probe, subject, time)

    # -- the chain --

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)

    def base_fee(self, wei: int) -> None:
        """Of a block that is mined now."""
        self.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))
        self.mine()

    def reorganise(self, depth: int) -> None:
        """Replace the newest blocks by empty ones. Their transactions are in no pool any more."""
        self.chain.rpc("anvil_reorg", depth, [])
        self.chain.rpc("anvil_dropAllTransactions")

    def noted(self) -> Counter[tuple[str, int]]:
        """(hash of the subject, time) of all notes on the chain, and how often."""
        query = {"address": self.probe.address, "fromBlock": "0x0", "topics": [NOTED]}
        return Counter(
            (log["topics"][2], int(log["data"][:66], 16))
            for log in self.chain.rpc("eth_getLogs", query)
        )

    def times_noted(self, subject: str = "ADA", time: int = 1) -> int:
        return self.noted()[evidence(subject, time)]

    def send_by_hand(self, nonce: int, *, name: str = "keeper", gwei: int = 50) -> str:
        """A transaction of the keeper's key that the keeper knows nothing of; gives its hash."""
        account = key(name)
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": self.chain.chain_id,
                "nonce": nonce,
                "to": key("somebody").address,
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": gwei * GWEI,
                "maxPriorityFeePerGas": gwei * GWEI,
            }
        )
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return str(self.chain.rpc("eth_sendRawTransaction", raw))

    def waiting(self) -> dict[int, str]:
        """Nonce -> hash of the keeper's transactions in the pool."""
        pool = self.chain.rpc("txpool_content")
        found: dict[int, str] = {}
        for part in ("pending", "queued"):
            for sender, transactions in pool[part].items():
                if sender.lower() == key("keeper").address.lower():
                    found |= {int(nonce): each["hash"] for nonce, each in transactions.items()}
        return found

    def mined_nonces(self, name: str = "keeper") -> int:
        address = key(name).address
        return int(self.chain.rpc("eth_getTransactionCount", address, "latest"), 16)


def evidence(subject: str, time: int) -> tuple[str, int]:
    """What a parcel leaves on the chain."""
    return "0x" + keccak(text=subject).hex(), time


def note_parcel(probe: Contract, subject: str, time: int) -> Parcel:
    intent = Intent("price", subject, time, "1")
    return Parcel((intent,), probe.address, probe.note.encode(subject, time))


def open_outbox(
    endpoints: Sequence[str],
    path: Path,
    name: str,
    probe: str,
    multicall: str | None,
    clock: Callable[[], int],
    **options: Any,
) -> Outbox:
    """An outbox that reads back whether its notes are on the chain."""
    nodes = Nodes(endpoints, timeout=timedelta(seconds=2))
    nodes.learn(compile_contract("Probe").abi)

    def unmet(intents: Sequence[Intent], head: Head) -> list[Intent]:
        logs = nodes.logs([probe], 0, head.number)
        there = {(event.topic, event.delta) for _, event in logs if event.name == "Noted"}
        return [each for each in intents if (keccak(text=each.subject), each.time) not in there]

    return Outbox(
        nodes,
        Journal(path, "prices"),
        KeyWallet(key(name)),
        unmet=unmet,
        multicall=multicall,
        confirmations=CONFIRMATIONS,
        patience=timedelta(seconds=PATIENCE),
        clock=clock,
        **options,
    )


def begin(stage: Stage, outbox: Outbox, time: int = 1) -> None:
    """A round on its way, not mined yet."""
    outbox.offer([stage.parcel(time=time)], stage.now + LATER)
    outbox.step()


def land(stage: Stage, outbox: Outbox, time: int = 1) -> None:
    """A round on the chain, not final yet."""
    begin(stage, outbox, time)
    stage.mine()
    outbox.step()


def names(events: Sequence[Event]) -> list[str]:
    return [each.name for each in events]


def fees(outbox: Outbox) -> list[tuple[int, int]]:
    """(max fee, tip) of what was signed."""
    wallet = outbox.wallet
    assert isinstance(wallet, KeyWallet)
    return [(each["maxFeePerGas"], each["maxPriorityFeePerGas"]) for each in wallet.signed]


# -- killing --


class Killer:
    """Passes everything on, and kills its process with SIGKILL at the `kill_at`-th boundary.

    A boundary is the moment before a call, and the moment after it.
    """

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.passed = 0

    def boundary(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            self.boundary()
            value = function(*args, **named)
            self.boundary()
            return value

        return called

    def watch(self, thing: Any, *methods: str) -> None:
        """Count these methods of an object."""
        for each in methods:
            setattr(thing, each, self.wrap(getattr(thing, each)))


JOURNAL_STEPS = ("plan", "attempt", "answered", "mined", "final", "abandon", "reopened")


def live_and_be_killed(
    kill_at: int, ipc_path: str, folder: str, addresses: tuple[str, str], round_: int, fate: str
) -> None:
    """A keeper's life from a round's plan until it is final, or until it is killed.

    Its `fate` is "plain", to be "reorganised" after two confirmations, or "replaced" when stuck.
    """
    killer, now = Killer(kill_at), [NOW]
    chain = Chain.connect(ipc_path)
    probe, multicall = addresses
    outbox = open_outbox(
        [ipc_path],
        Path(folder, "keeper.db"),
        "keeper",
        probe,
        multicall,
        lambda: now[0],
        announce=killer.wrap(Path(folder, "note").write_text),
    )
    killer.watch(outbox.journal, *JOURNAL_STEPS)
    killer.watch(outbox.nodes, "send")
    killer.watch(outbox.wallet, "sign_transaction")
    contract = chain.contract("Probe", probe)
    outbox.offer([note_parcel(contract, name, round_) for name in ("ADA", "BTC")], None)
    outbox.step()
    if fate == "replaced":
        now[0] += PATIENCE
        outbox.step()
    chain.mine()
    outbox.step()
    if fate == "reorganised":
        chain.mine(2)
        chain.rpc("anvil_reorg", 3, [])
        chain.rpc("anvil_dropAllTransactions")
        outbox.step()
        chain.mine()
        outbox.step()
    chain.mine(CONFIRMATIONS)
    outbox.step()
    Path(folder, "survived").touch()
