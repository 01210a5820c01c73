"""Who sends a deployment's transactions: the small interface, and one over `perpool.chain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from perpool.chain import Call, Chain, ChainError
from perpool.evm import Reverted
from perpool.evm.codec import canonical, checksum


class SendError(Exception):
    """A transaction failed or could not be sent; the message says why."""


@dataclass(frozen=True)
class Sent:
    """A mined transaction."""

    transaction: str
    block: int
    contract_address: str | None


class Sender(Protocol):
    """One account on one chain."""

    @property
    def address(self) -> str:
        """Checksummed address of the account."""

    @property
    def chain_id(self) -> int: ...

    def nonce(self, block: str) -> int:
        """Transactions of the account: mined ("latest"), or with those waiting ("pending")."""

    def code(self, address: str) -> bytes: ...

    def call(self, to: str, data: bytes) -> bytes:
        """The result of a call. Raises where it fails."""

    def send(self, to: str | None, data: bytes) -> Sent:
        """Send a transaction, without receiver to create a contract, and wait until it is mined.

        Raises SendError.
        """


class ChainSender:
    """Sends through `perpool.chain`: from an eth-account key, or an account the node unlocked."""

    def __init__(self, chain: Chain, account: Any = None) -> None:
        self.chain = chain
        self.account = chain.default if account is None else account

    @property
    def address(self) -> str:
        return checksum(canonical(self.account))

    @property
    def chain_id(self) -> int:
        return self.chain.chain_id

    def nonce(self, block: str) -> int:
        return int(self.chain.rpc("eth_getTransactionCount", self.address, block), 16)

    def code(self, address: str) -> bytes:
        return self.chain.code(address)

    def call(self, to: str, data: bytes) -> bytes:
        return bytes(self.chain.call(Call(canonical(to), data, sender=self.address)))

    def send(self, to: str | None, data: bytes) -> Sent:
        target = b"" if to is None else canonical(to)
        try:
            receipt = self.chain.transact(Call(target, data, sender=self.account))
        except (ChainError, Reverted) as error:
            raise SendError(str(error)) from error
        return Sent(receipt.transaction_hash, receipt.block_number, receipt.contract_address)
