"""Perp venues: a position there, and on a venue of ours trading and liquidity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from perpool.evm import Reverted
from perpool.evm.codec import canonical, checksum
from perpool.sdk.actions import Action
from perpool.sdk.context import MarketContext, MarketContract
from perpool.sdk.errors import ActionError
from perpool.sdk.pools import DEFAULT_DEADLINE, DEFAULT_SLIPPAGE
from perpool.sdk.units import Amount, from_wad, ratio


@dataclass(frozen=True)
class VenueStatus:
    """A venue as of now. Margins and fee are of the notional."""

    address: str
    mark: Decimal | None
    """None while it has no price."""
    funding: Decimal
    """A year; positive is paid by longs to shorts."""
    initial_margin: Decimal
    maintenance_margin: Decimal
    fee: Decimal
    room_to_sell: Decimal
    """Tokens, as far as the venue's own limits go."""
    room_to_buy: Decimal


@dataclass(frozen=True)
class VenuePosition:
    """An account at a venue."""

    account: str
    market: str
    size: Decimal
    """Tokens; negative is short."""
    entry_price: Decimal | None
    margin: Decimal
    equity: Decimal | None
    """What the position is worth in USDT; None without a price."""
    liquidation_price: Decimal | None
    pending: int | None
    """The request in flight."""
    escrow: Decimal
    """USDT handed over with it."""
    credit: Decimal
    """USDT that waits for `withdraw`."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing open, pending or to withdraw."""
        return not (self.size or self.margin or self.pending or self.credit)


class PerpVenue(MarketContract):
    """An IPerpVenue; liquidity is for one of ours."""

    def __init__(self, context: MarketContext, address: str) -> None:
        super().__init__(context, "venue", address, "PerpVenue")

    # -- reading --

    def status(self) -> VenueStatus:
        """The venue as of now."""
        contract = self.contract
        funding, initial, maintenance, fee, room = self.context.chain.read(
            [
                contract.funding_rate.bind(),
                contract.initial_margin.bind(),
                contract.maintenance_margin.bind(),
                contract.fee.bind(),
                contract.room.bind(),
            ]
        )
        mark = self._or_none("mark_price")
        return VenueStatus(
            address=self.address,
            mark=None if mark is None else self._price(mark),
            funding=from_wad(funding),
            initial_margin=from_wad(initial),
            maintenance_margin=from_wad(maintenance),
            fee=from_wad(fee),
            room_to_sell=self.context.token.amount(room[0]),
            room_to_buy=self.context.token.amount(room[1]),
        )

    def position(self, account: Any) -> VenuePosition:
        """An account here."""
        token, usdt = self.context.token, self.context.usdt
        found = self.contract.position(account)
        equity = self._or_none("equity", account)
        liquidated_at = self._or_none("liquidation_price", account)
        size = token.amount(found.size)
        entry = usdt.amount(found.entry_notional)
        return VenuePosition(
            account=checksum(canonical(account)),
            market=self.context.symbol,
            size=size,
            entry_price=ratio(entry, abs(size)) if size else None,
            margin=usdt.amount(found.margin),
            equity=None if equity is None else usdt.amount(equity),
            liquidation_price=self._price(liquidated_at) if liquidated_at else None,
            pending=found.pending or None,
            escrow=usdt.amount(found.escrow),
            credit=usdt.amount(found.credit),
        )

    # -- trading --

    def open_short(
        self,
        token_amount: Amount,
        *,
        margin: Amount,
        account: Any,
        slippage: Decimal = DEFAULT_SLIPPAGE,
        deadline: timedelta = DEFAULT_DEADLINE,
    ) -> Action:
        """Sell the perp on `margin` USDT, at mark less `slippage` or not at all."""
        size = self.context.token.units(token_amount)
        text = f"short {token_amount} {self.context.symbol} of the perp on {margin} USDT"
        limit = int(self._mark(text) * (1 - slippage))
        posted = self.context.usdt.units(margin)
        order = (-size, posted, limit, self._deadline(deadline))
        return self._action(
            text, account, self.contract.request.encode(*order), (self.context.usdt, posted)
        )

    def close_short(
        self,
        *,
        account: Any,
        slippage: Decimal = DEFAULT_SLIPPAGE,
        deadline: timedelta = DEFAULT_DEADLINE,
    ) -> Action:
        """Buy a short back, at mark and `slippage` or not at all; what is left becomes credit."""
        text = f"close the short of the perp of {self.context.symbol}"
        size = self.contract.position(account).size
        if size >= 0:
            raise ActionError(self._named(text), "no position")
        limit = int(self._mark(text) * (1 + slippage))
        order = (-size, 0, limit, self._deadline(deadline))
        return self._action(text, account, self.contract.request.encode(*order))

    def add_margin(
        self, usdt_amount: Amount, *, account: Any, deadline: timedelta = DEFAULT_DEADLINE
    ) -> Action:
        """Add USDT to a position."""
        text, posted = f"add {usdt_amount} USDT of margin", self.context.usdt.units(usdt_amount)
        order = (0, posted, 0, self._deadline(deadline))
        return self._action(
            text, account, self.contract.request.encode(*order), (self.context.usdt, posted)
        )

    def withdraw(self, *, account: Any) -> Action:
        """Take all credit out."""
        return self._action("take credit out", account, self.contract.withdraw.encode(account))

    def settle(self, request: int, *, account: Any) -> Action:
        """Have somebody's request confirmed or failed, where that can be told."""
        data = self.contract.settle.encode(request)
        return self._action(f"settle request {request}", account, data)

    # -- liquidity of a venue of ours --

    def add_liquidity(self, usdt_amount: Amount, *, account: Any) -> Action:
        """Stand against every trade, for a part of fees and of what traders lose."""
        units = self.context.usdt.units(usdt_amount)
        data = self.contract.add_liquidity.encode(units, account)
        return self._action(
            f"add {usdt_amount} USDT of liquidity", account, data, (self.context.usdt, units)
        )

    def remove_liquidity(self, *, account: Any) -> Action:
        """Take all of an account's liquidity out; it becomes credit."""
        data = self.contract.remove_liquidity.encode(self.contract.shares_of(account), account)
        return self._action("take all liquidity out", account, data)

    # -- internals --

    def _deadline(self, within: timedelta) -> int:
        return self.context.chain.timestamp + int(within.total_seconds())

    def _mark(self, text: str) -> int:
        try:
            return int(self.contract.mark_price())
        except Reverted as error:
            raise ActionError.of(self._named(text), error) from error

    def _or_none(self, view: str, *args: Any) -> int | None:
        """A view that needs a price."""
        try:
            return int(self.contract.function(view)(*args))
        except Reverted:
            return None
