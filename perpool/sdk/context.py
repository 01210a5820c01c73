"""What the contracts of one market share: its tokens, units, and how their actions are made."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from perpool.abi import load_abi
from perpool.chain import Chain, Contract
from perpool.evm.codec import canonical, checksum
from perpool.sdk.actions import Action, Spending
from perpool.sdk.units import Amount, from_price, from_units, to_units
from perpool.sdk.venue import Route


@dataclass(frozen=True)
class Token:
    """A token of a market."""

    address: str
    symbol: str
    decimals: int

    def units(self, amount: Amount) -> int:
        """An amount in its smallest unit."""
        return to_units(amount, self.decimals, self.symbol)

    def amount(self, units: int) -> Decimal:
        """Whole tokens."""
        return from_units(units, self.decimals)


@dataclass(frozen=True)
class MarketContext:
    """What all contracts of a market share."""

    chain: Chain
    symbol: str
    lens: Contract
    token: Token
    usdt: Token
    swapper: str
    route: Route
    """From USDT to the token."""


class MarketContract:
    """One contract of a market. Amounts are Decimal or text, in whole tokens and whole shares."""

    def __init__(self, context: MarketContext, name: str, address: str, abi: str) -> None:
        """`name` is what its actions are called by, after the market's symbol."""
        self.context = context
        self.name = name
        self.address = checksum(canonical(address))
        self.contract: Contract = context.chain.contract(load_abi(abi), self.address)

    @cached_property
    def _share_decimals(self) -> int:
        return int(self.contract.decimals())

    def _shares(self, units: int) -> Decimal:
        return from_units(units, self._share_decimals)

    def _price(self, price_e36: int) -> Decimal:
        return from_price(price_e36, self.context.token.decimals, self.context.usdt.decimals)

    def _named(self, text: str) -> str:
        return f"{self.context.symbol} {self.name}: {text}"

    def _action(
        self, text: str, account: Any, data: bytes, spends: tuple[Token, int] | None = None
    ) -> Action:
        """A call of this contract; `spends` is what it pulls, in the token's smallest unit."""
        spending = None
        if spends is not None:
            token, amount = spends
            spending = Spending(token.address, token.symbol, amount)
        return Action(
            chain=self.context.chain,
            text=self._named(text),
            account=checksum(canonical(account)),
            to=self.address,
            data=data,
            spending=spending,
        )
