"""Carry out a plan: step by step, recorded after each, so that a second run goes on from there.

    deployment = Deployment(config, ChainSender(chain, account), Path("deployments/sepolia.json"))
    outcome = deployment.run()
    outcome.record.markets["ADA"]["reverse"]

What has been deployed is never deployed again: its code must still be at its address. A call whose
effect is already on the chain is not sent. A call that only another owner may make is not sent
either; it is listed with its data, for a timelock or a multisig to send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from eth_typing import HexAddress, HexStr
from eth_utils import keccak
from eth_utils.address import to_checksum_address
from web3.types import Nonce
from web3.utils.address import get_create_address

from perpool.build import BLUEPRINT_PREFIX, Artifact
from perpool.deployment.config import LOCAL_CHAINS, TEST_CHAINS, DeploymentConfig
from perpool.deployment.encoding import creation_code, function, to_json
from perpool.deployment.plan import make_plan
from perpool.deployment.record import Record, RecordError, current_commit
from perpool.deployment.senders import Sender, SendError, Sent
from perpool.deployment.steps import (
    Call,
    Deploy,
    InitcodeHash,
    MarketNames,
    PackedRoute,
    Ref,
    Step,
    describe,
    initcode_hash,
    resolve,
)


class DeploymentError(Exception):
    """The deployment cannot go on; the message says what to do."""


class Status(Enum):
    """What a run does with a step."""

    DONE = "done"
    SENT = "sent"
    FOR_OWNER = "for the owner"


@dataclass(frozen=True)
class OwnerCall:
    """A transaction that another owner has to send."""

    name: str
    to: str
    data: bytes
    text: str


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    record: Record
    sent: int
    owner: str
    for_owner: list[OwnerCall] = field(default_factory=list)


Notify = Callable[[int, int, Step, Status], None]
"""Called after each step with its number from 1, their count, the step, and what was done."""


class Deployment:
    """One configuration on one chain, with its record."""

    def __init__(
        self,
        config: DeploymentConfig,
        sender: Sender,
        path: Path,
        *,
        network: str | None = None,
    ) -> None:
        """Plans at once. Raises ConfigError and RecordError."""
        self.config = config
        self.sender = sender
        self.plan = make_plan(config, sender)
        self.record = Record.load(path, network or path.stem, config.chain_id)
        self.steps = self.plan.steps
        self._artifacts = self._artifacts_by_name()
        self._predicted: dict[str, str] = {}
        self._commit = ""

    # -- what a run would do --

    def preview(self) -> list[tuple[Step, Status]]:
        """Every step with what a run would do now; sends and writes nothing."""
        self._verify()
        return [(step, self._status(step)) for step in self.steps]

    def run(self, notify: Notify | None = None) -> Outcome:
        """Do what has not been done yet. Raises DeploymentError, after which a run can resume."""
        self._verify()
        self._commit = current_commit()
        if self.config.chain_id not in TEST_CHAINS and self._commit.endswith("-dirty"):
            raise DeploymentError(
                "contracts or interfaces differ from the last commit: what stands on a main "
                "network has to be found again, so commit first"
            )
        self._adopt_pending()
        self.record.deployer = self.record.deployer or self.sender.address
        self.record.owner = self.plan.owner
        for_owner: list[OwnerCall] = []
        sent = 0
        for number, step in enumerate(self.steps, 1):
            status = self._status(step)
            if status is Status.SENT:
                self._send(step)
                sent += 1
            elif status is Status.FOR_OWNER:
                assert isinstance(step, Call)
                for_owner.append(self._for_owner(step))
            elif isinstance(step, Call) and step.name not in self.record.calls:
                # made in a run that ended before it could write so, or by somebody else
                self._predict(step)
                self._record_call(step, None)
            if notify is not None:
                notify(number, len(self.steps), step, status)
        for_owner += self._acceptances()
        self._finish(complete=not for_owner)
        return Outcome(self.record, sent, self.plan.owner, for_owner)

    # -- the state of a step --

    def _status(self, step: Step) -> Status:
        if isinstance(step, Deploy):
            return Status.DONE if step.name in self.record.contracts else Status.SENT
        if step.name in self.record.calls:
            same = self.record.calls[step.name]["args"] == to_json(self._resolve(step.args))
            if same:
                return Status.DONE
            if step.creates:
                raise DeploymentError(
                    f"{step.name}: its parameters are no longer those it was created with, and "
                    "they cannot change: undo the change, or add a market under another symbol"
                )
        known = self._known(step.args) and self._known(step.target)
        if known and self._is_made(step):
            return Status.DONE
        if known and not step.by_anyone and self._owner_of(step) != self.sender.address:
            return Status.FOR_OWNER
        return Status.SENT

    def _known(self, value: Any) -> bool:
        """Whether all contracts that a value names have addresses."""
        if isinstance(value, Ref | InitcodeHash):
            return self._address(value.name) is not None
        if isinstance(value, PackedRoute):
            return all(self._known(each) for each in value.stops)
        if isinstance(value, list | tuple):
            return all(self._known(each) for each in value)
        return True

    def _is_made(self, step: Call) -> bool:
        """Whether the chain shows the effect of a call."""
        if step.creates:
            return all(self.sender.code(address) for address in self._predict(step))
        if step.function == "transfer_ownership" and self._owner_of(step) == self.plan.owner:
            return True
        for check in step.checks:
            target = check.target or step.target
            if not self.sender.code(self._resolve(target)):
                return False
            found = self._view(target, check.artifact or step.artifact, check.function, check.args)
            if _plain(check.part(found)) != _plain(self._resolve(check.value)):
                return False
        return bool(step.checks)

    def _predict(self, step: Call) -> list[str]:
        """Addresses of what a call creates, remembered for the steps after it."""
        if not step.creates:
            return []
        addresses = self._view(step.target, step.artifact, "predict_market", step.args)
        for (name, _), address in zip(step.creates, addresses, strict=True):
            self._predicted[name] = address
        return list(addresses)

    def _owner_of(self, step: Call) -> str:
        target = step.authority or step.target
        return str(self._view(target, self._artifacts[target.name], "owner", ()))

    # -- doing --

    def _send(self, step: Step) -> None:
        if isinstance(step, Deploy):
            self._deploy(step)
            return
        self._predict(step)
        data = function(step.artifact.abi, step.function).encode(self._resolve(step.args))
        sent = self._transact(step.name, self._resolve(step.target), data)
        self._record_call(step, sent)

    def _deploy(self, step: Deploy) -> None:
        nonce = self.sender.nonce("latest")
        self.record.pending = {
            "name": step.name,
            "address": get_create_address(HexAddress(HexStr(self.sender.address)), Nonce(nonce)),
            "args": to_json(self._resolve(step.args)),
            "nonce": nonce,
        }
        self.record.save()
        code = creation_code(step.artifact, self._resolve(step.args), blueprint=step.blueprint)
        sent = self._transact(step.name, None, code)
        if sent.contract_address is None:
            raise DeploymentError(f"{step.name}: the node gave no address for {sent.transaction}")
        self._record_contract(step, sent.contract_address, sent)

    def _transact(self, name: str, to: str | None, data: bytes) -> Sent:
        try:
            return self.sender.send(to, data)
        except SendError as error:
            raise DeploymentError(
                f"{name}: {error}. What went before is recorded; run again"
            ) from error

    def _record_contract(self, step: Deploy, address: str, sent: Sent | None) -> None:
        entry = {
            "address": to_checksum_address(address),
            "contract": step.artifact.name,
            "kind": "blueprint" if step.blueprint else "contract",
            "args": to_json(self._resolve(step.args)),
        }
        if step.blueprint:
            entry["initcode_hash"] = "0x" + initcode_hash(step.artifact).hex()
        self._record(step.name, entry, sent)
        for created in step.creates:
            address = self._view(Ref(step.name), step.artifact, created.view, ())
            entry = {"address": address, "contract": created.artifact.name}
            self._record(created.name, entry | {"kind": "contract", "args": []}, sent)
        self.record.pending = None
        self.record.save()

    def _record_call(self, step: Call, sent: Sent | None) -> None:
        for name, artifact in step.creates:
            address = self._predicted[name]
            if not self.sender.code(address):
                raise DeploymentError(f"{step.name}: there is no code at {address} of {name}")
            entry = {"address": address, "contract": artifact.name, "kind": "pool", "args": []}
            self._record(name, entry, sent)
        self.record.calls[step.name] = {
            "to": self._resolve(step.target),
            "function": step.function,
            "args": to_json(self._resolve(step.args)),
            "transaction": sent.transaction if sent else None,
        }
        if step.creates:
            self._record_markets()
        self.record.save()

    def _record(self, name: str, entry: dict[str, Any], sent: Sent | None) -> None:
        code = self.sender.code(entry["address"])
        self.record.contracts[name] = entry | {
            "transaction": sent.transaction if sent else None,
            "block": sent.block if sent else None,
            "commit": self._commit,
            "code_hash": "0x" + keccak(code).hex(),
        }

    def _record_markets(self) -> None:
        for names in self.plan.markets:
            if names.reverse.name in self.record.contracts:
                self.record.markets[names.symbol] = self._market(names)

    def _market(self, names: MarketNames) -> dict[str, Any]:
        fields = ("token", "usdt", "price_feed", "price_oracle", "reverse", "forward")
        known = self.record.contracts
        has_venue = names.venue is not None and names.venue.name in known
        return {name: self._resolve(getattr(names, name)) for name in fields} | {
            "route": [self._resolve(each) for each in names.route],
            "venue": self._resolve(names.venue) if has_venue else None,
            "vaults": {
                name: {
                    "vault": self._resolve(names.vault(name)),
                    "strategy": self._resolve(names.strategy(name)),
                    "venue": self._resolve(names.venue_of(name)),
                }
                for name in names.venues
                if names.vault(name).name in known
            },
        }

    def _finish(self, *, complete: bool) -> None:
        record = self.record
        before = (record.complete, record.commit, dict(record.markets))
        self._record_markets()
        record.commit = record.commit or self._commit
        record.complete = complete
        if before != (record.complete, record.commit, record.markets) or not record.path.exists():
            record.save()

    # -- what only the owner can do --

    def _for_owner(self, step: Call) -> OwnerCall:
        self._predict(step)
        data = function(step.artifact.abi, step.function).encode(self._resolve(step.args))
        return OwnerCall(step.name, self._resolve(step.target), data, describe(step))

    def _acceptances(self) -> list[OwnerCall]:
        """The second step of every hand-over that is not done yet."""
        calls = []
        for target in self.plan.owned:
            artifact = self._artifacts[target.name]
            if self._view(target, artifact, "owner", ()) == self.plan.owner:
                continue
            data = function(artifact.abi, "accept_ownership").encode(())
            name = f"{target.name}: new owner accepts"
            text = f"{target}.accept_ownership()"
            calls.append(OwnerCall(name, self._resolve(target), data, text))
        return calls

    # -- resuming --

    def _verify(self) -> None:
        """Check that what the record says is there. Raises DeploymentError."""
        missing = [
            (name, entry["address"])
            for name, entry in self.record.contracts.items()
            if not self.sender.code(entry["address"])
        ]
        if missing and self.config.chain_id in LOCAL_CHAINS:
            # a throwaway chain that was started anew
            self.record.clear()
            return
        if missing:
            lines = [f"there is no code at {address} of {name}" for name, address in missing]
            raise DeploymentError(
                "\n".join(lines)
                + f"\n{self.record.path} is of another chain, or the node is behind: check the "
                "node, or move the file away to deploy anew"
            )
        for name, entry in self.record.contracts.items():
            found = "0x" + keccak(self.sender.code(entry["address"])).hex()
            if found != entry["code_hash"]:
                raise DeploymentError(
                    f"the code at {entry['address']} is not that of {name} any more: check "
                    f"{self.record.path}"
                )
        self._verify_arguments()

    def _verify_arguments(self) -> None:
        for step in self.steps:
            entry = self.record.contracts.get(step.name)
            if not isinstance(step, Deploy) or entry is None or not self._known(step.args):
                continue
            if entry["args"] != to_json(self._resolve(step.args)):
                raise DeploymentError(
                    f"{step.name}: its constructor's arguments are no longer those it was deployed "
                    f"with, and they cannot change: undo the change in the configuration, or move "
                    f"{self.record.path} away to deploy anew"
                )

    def _adopt_pending(self) -> None:
        """Take in a deployment that was mined although its run ended before it could write so."""
        pending = self.record.pending
        if pending is None:
            return
        step = next((each for each in self.steps if each.name == pending["name"]), None)
        code = self.sender.code(pending["address"])
        if code:
            same = isinstance(step, Deploy) and pending["args"] == to_json(self._resolve(step.args))
            if isinstance(step, Deploy) and same and _is_code_of(step, code):
                self._record_contract(step, pending["address"], None)
        elif self.sender.nonce("pending") > self.sender.nonce("latest"):
            raise DeploymentError(
                f"a transaction of {self.sender.address} is still waiting, maybe that of "
                f"{pending['name']}: run again once it is mined"
            )
        self.record.pending = None

    # -- values --

    def _address(self, name: str) -> str | None:
        return self.record.address(name) or self._predicted.get(name)

    def _resolve(self, value: Any) -> Any:
        return resolve(value, self._require, self._hash_of)

    def _require(self, name: str) -> str:
        address = self._address(name)
        if address is None:
            raise RecordError(f"{self.record.path} has no address of {name}: run the deployment")
        return address

    def _hash_of(self, name: str) -> bytes:
        """Of the init code as it was deployed, which the sources may have left behind."""
        return bytes.fromhex(self.record.contracts[name]["initcode_hash"][2:])

    def _view(self, target: Ref, artifact: Artifact, name: str, args: tuple[Any, ...]) -> Any:
        view = function(artifact.abi, name)
        return view.decode(
            self.sender.call(self._resolve(target), view.encode(self._resolve(args)))
        )

    def _artifacts_by_name(self) -> dict[str, Artifact]:
        artifacts: dict[str, Artifact] = {}
        for step in self.steps:
            if isinstance(step, Deploy):
                artifacts[step.name] = step.artifact
        return artifacts


def _plain(value: Any) -> Any:
    """Comparable whatever kinds of sequence it is made of."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _is_code_of(step: Deploy, code: bytes) -> bool:
    if step.blueprint:
        return code == BLUEPRINT_PREFIX + step.artifact.initcode
    # immutables follow Vyper's code, and fill zeros of Solidity's
    runtime = step.artifact.runtime
    pairs = zip(runtime, code, strict=False)
    return len(code) >= len(runtime) and all(mine in (theirs, 0) for mine, theirs in pairs)
