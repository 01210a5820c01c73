"""Deployments from an Ape account; the only part of the package that needs Ape."""

from __future__ import annotations

import os
import sys
from typing import Any

from ape import accounts, networks
from ape.api import AccountAPI
from ape.exceptions import ApeException

from perpool.deployment.senders import SendError, Sent


class AccountError(Exception):
    """There is no such account, or it cannot sign unattended; the message says what to do."""


class ApeSender:
    """Sends from an Ape account through the connected provider."""

    def __init__(self, account: AccountAPI) -> None:
        self.account = account
        self.provider: Any = networks.provider

    @property
    def address(self) -> str:
        return str(self.account.address)

    @property
    def chain_id(self) -> int:
        return int(self.provider.chain_id)

    def nonce(self, block: str) -> int:
        return int(self.provider.get_nonce(self.address, block_id=block))

    def code(self, address: str) -> bytes:
        return bytes(self.provider.get_code(address))

    def call(self, to: str, data: bytes) -> bytes:
        return bytes(self.provider.web3.eth.call({"to": to, "data": data, "from": self.address}))

    def send(self, to: str | None, data: bytes) -> Sent:
        ecosystem = self.provider.network.ecosystem
        target = {} if to is None else {"receiver": to}
        try:
            transaction = ecosystem.create_transaction(sender=self.address, data=data, **target)
            receipt = self.account.call(transaction)
        except ApeException as error:
            raise SendError(str(error).rstrip(".")) from error
        created = receipt.contract_address
        return Sent(str(receipt.txn_hash), int(receipt.block_number), created and str(created))


def load_account(alias: str | None) -> AccountAPI:
    """An account by alias, "TEST::0" for a test account; on local networks the first one."""
    if alias is None:
        if not networks.provider.network.is_local:
            known = ", ".join(str(each) for each in accounts.aliases) or "none"
            raise AccountError(f"give --account, an alias of `ape accounts list` (known: {known})")
        alias = "TEST::0"
    if alias.startswith("TEST::"):
        index, count = alias.removeprefix("TEST::"), len(accounts.test_accounts)
        if not index.isdecimal() or int(index) >= count:
            raise AccountError(f"test accounts are TEST::0 to TEST::{count - 1}")
        return accounts.test_accounts[int(index)]
    if alias not in accounts.aliases:
        raise AccountError(f"there is no account {alias}: `ape accounts import {alias}`")
    account = accounts.load(alias)
    if hasattr(account, "set_autosign"):
        variable = f"APE_ACCOUNTS_{alias}_PASSPHRASE"
        if variable not in os.environ and not sys.stdin.isatty():
            raise AccountError(f"set {variable} to the passphrase of the account {alias}")
        account.set_autosign(True)
    return account


def network_name() -> str:
    """How files are called: "sepolia", or "arbitrum-sepolia" where it is not Ethereum's."""
    network = networks.provider.network
    name = str(network.name).removesuffix("-fork")
    return name if network.ecosystem.name == "ethereum" else f"{network.ecosystem.name}-{name}"
