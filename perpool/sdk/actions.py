"""Transactions that are prepared, shown, and then sent: approvals, and the call itself.

action = market.reverse.borrow("250", account=key.address)
for step in action.steps(): ...      # for another wallet: to, data
action.send(key)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount

from perpool.chain import Call, Chain, Receipt
from perpool.evm import Reverted
from perpool.evm.codec import FunctionAbi, canonical, checksum
from perpool.sdk.errors import ActionError, PerpoolError


def _erc20(
    name: str, inputs: list[tuple[str, str]], output: str | None, mutability: str
) -> FunctionAbi:
    return FunctionAbi(
        {
            "name": name,
            "inputs": [{"name": each, "type": kind} for each, kind in inputs],
            # USDT's approve returns nothing, so nothing is decoded
            "outputs": [] if output is None else [{"name": "", "type": output}],
            "stateMutability": mutability,
        }
    )


_OWNER = ("owner", "address")
_SPENDER = ("spender", "address")
APPROVE = _erc20("approve", [_SPENDER, ("amount", "uint256")], None, "nonpayable")
ALLOWANCE = _erc20("allowance", [_OWNER, _SPENDER], "uint256", "view")
BALANCE_OF = _erc20("balanceOf", [_OWNER], "uint256", "view")


@dataclass(frozen=True)
class Step:
    """One transaction of an action."""

    text: str
    to: str
    data: str


@dataclass(frozen=True)
class Spending:
    """What a call takes from the account, for which its receiver needs an allowance."""

    token: str
    symbol: str
    amount: int
    """In the token's smallest unit."""


@dataclass(frozen=True)
class Action:
    """One call to a contract in the name of an account, with the approval it needs."""

    chain: Chain
    text: str
    account: str
    to: str
    data: bytes
    spending: Spending | None = None

    def steps(self) -> list[Step]:
        """The transactions to send, in order, by the allowance as it is now."""
        return [*self._approvals(), Step(self.text, self.to, "0x" + self.data.hex())]

    def check(self) -> None:
        """Simulate the call. Raises ActionError; needs the approvals to have been sent."""
        self._simulate(self.account)

    def send(self, key: LocalAccount | str) -> list[Receipt]:
        """Sign and send all steps, each once the one before is mined.

        `key` is an eth-account key, a private key in hex, or the address of an account that the
        node has unlocked. What would fail is not sent. Raises ActionError.
        """
        sender = self._sender(key)
        receipts = [
            self._transact(step.text, Call(canonical(step.to), _bytes(step.data), sender=sender))
            for step in self._approvals()
        ]
        self._simulate(self.account)
        call = Call(canonical(self.to), self.data, sender=sender)
        return [*receipts, self._transact(self.text, call)]

    def _sender(self, key: LocalAccount | str) -> Any:
        sender: Any = key
        if isinstance(key, str) and len(key.removeprefix("0x")) == 64:
            sender = EthAccount.from_key(key)
        address = checksum(canonical(sender))
        if address != self.account:
            raise PerpoolError(
                f"{self.text} is for {self.account}, and this key is of {address}: use its key"
            )
        return sender

    def _approvals(self) -> list[Step]:
        if self.spending is None or self.spending.amount == 0:
            return []
        token, amount = self.spending.token, self.spending.amount
        query = Call(canonical(token), ALLOWANCE.encode((self.account, self.to)), ALLOWANCE)
        allowed = self.chain.call(query)
        if allowed >= amount:
            return []
        steps = [self._approval(amount)]
        # USDT changes an allowance only to or from zero
        return [self._approval(0), *steps] if allowed else steps

    def _approval(self, amount: int) -> Step:
        assert self.spending is not None
        verb = "approve" if amount else "reset the approval of"
        data = APPROVE.encode((self.to, amount))
        return Step(f"{verb} {self.spending.symbol}", self.spending.token, "0x" + data.hex())

    def _simulate(self, sender: str) -> None:
        try:
            self.chain.call(Call(canonical(self.to), self.data, sender=sender))
        except Reverted as error:
            raise ActionError.of(self.text, error) from error

    def _transact(self, text: str, call: Call) -> Receipt:
        try:
            return self.chain.transact(call)
        except Reverted as error:
            raise ActionError.of(text, error) from error


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
