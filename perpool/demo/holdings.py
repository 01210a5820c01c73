"""Everything of one party of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from perpool.demo.actors import Me
from perpool.demo.stage import TOKEN_DECIMALS, USDT_DECIMALS

USDT_UNIT: int = 10**USDT_DECIMALS
TOKEN_UNIT: int = 10**TOKEN_DECIMALS
SHARE_UNIT: int = 10**24
"""Of a carry vault's shares: the token's decimals and six."""


@dataclass(frozen=True)
class Holding:
    """Everything of one party, integers in smallest units. Debts are positive here."""

    usdt: int
    tokens: int
    lent_usdt: int = 0
    lent_tokens: int = 0
    collateral: int = 0
    debt: int = 0
    short_collateral: int = 0
    short_debt: int = 0
    perp_equity: int = 0
    perp_position: int = 0
    shares: int = 0
    """Of carry vaults, in hand."""
    asked_tokens: int = 0
    """Waiting to be deposited."""
    asked_shares: int = 0
    """Waiting to be redeemed."""
    vault_usdt: int = 0
    """Of what the vaults have, debts taken off, the part that all his shares are."""
    vault_tokens: int = 0
    """The same of their tokens, and what waits to be deposited."""
    vault_position: int = 0
    """The same of their positions, negative for a short."""

    @property
    def net_usdt(self) -> int:
        """USDT after debts. A perp position is marked, so its equity is all of it."""
        owned = self.usdt + self.lent_usdt + self.short_collateral + self.perp_equity
        return owned + self.vault_usdt - self.debt

    @property
    def net_tokens(self) -> int:
        """Tokens after debts."""
        owned = self.tokens + self.lent_tokens + self.collateral + self.vault_tokens
        return owned - self.short_debt

    @property
    def position(self) -> int:
        """Perp tokens, on the exchange and through vaults."""
        return self.perp_position + self.vault_position

    def worth(self, price_e36: int, mark_e36: int) -> float:
        """Whole tokens that all is worth at a price; positions are marked at `mark_e36`."""
        gained = self.position * (price_e36 - mark_e36) // 10**36
        return (self.net_tokens + (self.net_usdt + gained) * 10**36 / price_e36) / TOKEN_UNIT

    def me(self) -> Me:
        """What an actor sees of it."""
        return Me(
            usdt=self.usdt / USDT_UNIT,
            tokens=self.tokens / TOKEN_UNIT,
            lent=self.lent_usdt / USDT_UNIT + self.lent_tokens / TOKEN_UNIT,
            collateral=self.collateral / TOKEN_UNIT,
            debt=self.debt / USDT_UNIT,
            short_collateral=self.short_collateral / USDT_UNIT,
            short_debt=self.short_debt / TOKEN_UNIT,
            perp_equity=self.perp_equity / USDT_UNIT,
            perp_position=self.perp_position / TOKEN_UNIT,
            shares=self.shares / SHARE_UNIT,
        )
