"""The perp exchange of the demo: where holders short what they borrowed.

It is off chain, as exchanges are. Its books are here, its money is a wallet on chain: deposits and
withdrawals are real token transfers, so that the wallet always holds what clients and the house
own together. Whatever a client gains the house loses, and the other way round, to the unit.

Amounts are integers, USDT and tokens in their smallest units; prices are USDT units a token unit,
scaled by 1e36.
"""

from __future__ import annotations

from dataclasses import dataclass, field

E36 = 10**36
BASIS_POINTS = 10_000
TAKER_FEE = 5
"""Basis points of what is traded."""
MAINTENANCE = 500
"""Basis points of the notional, below which the exchange closes a position."""


class VenueError(ValueError):
    """The exchange refuses; the message says why."""


@dataclass
class ClientAccount:
    """A client's cash with its running profit settled into it, and the position."""

    equity: int = 0
    position: int = 0
    """Tokens, negative for a short."""
    funding_received: int = 0
    """Sum of all settlements, negative where more was paid."""
    liquidations: int = 0


@dataclass
class PerpVenue:
    """The exchange's books. Positions are marked at every price, so that equity is all there is."""

    price_e36: int = 0
    house: int = 0
    """What the exchange and everybody else on it own of the wallet."""
    clients: dict[str, ClientAccount] = field(default_factory=dict)

    def account(self, client: str) -> ClientAccount:
        """A client's account, opened when it is first asked for."""
        return self.clients.setdefault(client, ClientAccount())

    @property
    def wallet(self) -> int:
        """What the exchange's wallet has to hold."""
        return self.house + sum(each.equity for each in self.clients.values())

    def notional(self, client: str) -> int:
        """The value of a client's position, without its sign."""
        return self._worth(abs(self.account(client).position))

    def deposit(self, client: str, usdt_amount: int) -> None:
        """Credit what has arrived in the wallet."""
        self.account(client).equity += usdt_amount

    def withdraw(self, client: str, usdt_amount: int) -> None:
        """Debit what is about to leave the wallet.

        Raises VenueError when it would leave less than twice the maintenance margin.
        """
        account = self.account(client)
        kept = 2 * MAINTENANCE * self.notional(client) // BASIS_POINTS
        if usdt_amount > account.equity - kept:
            raise VenueError("not enough free margin")
        account.equity -= usdt_amount

    def trade(self, client: str, token_amount: int) -> None:
        """Buy, or with a negative amount sell, at the mark price; the fee goes to the house."""
        account = self.account(client)
        fee = self._worth(abs(token_amount)) * TAKER_FEE // BASIS_POINTS
        account.equity -= fee
        self.house += fee
        account.position += token_amount

    def mark(self, price_e36: int) -> list[str]:
        """Settle profits at a new price; returns the clients whose positions were closed for it.

        A client cannot owe: what is missing is the house's loss.
        """
        before, self.price_e36 = self.price_e36, price_e36
        closed = []
        for name, account in self.clients.items():
            # truncated the same way for both signs, so that longs and shorts cancel
            change = self._worth(abs(account.position)) - abs(account.position) * before // E36
            gain = change if account.position > 0 else -change
            account.equity += gain
            self.house -= gain
            needed = MAINTENANCE * self._worth(abs(account.position)) // BASIS_POINTS
            if account.position and account.equity < needed:
                self.trade(name, -account.position)
                account.liquidations += 1
                closed.append(name)
            if account.equity < 0:
                self.house += account.equity
                account.equity = 0
        return closed

    def settle_funding(self, rate_e9: int) -> None:
        """Longs pay shorts `rate_e9` 1e-9 of their notional, or the other way round below zero."""
        for account in self.clients.values():
            paid = self._worth(abs(account.position)) * abs(rate_e9) // 10**9
            received = paid if (rate_e9 > 0) == (account.position < 0) else -paid
            account.equity += received
            account.funding_received += received
            self.house -= received

    def _worth(self, token_amount: int) -> int:
        return token_amount * self.price_e36 // E36
