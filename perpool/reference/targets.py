"""Reference model of what a carry vault aims at: what to sell or buy, how short to be, what is due.

V is the collateral's value, h the hedge ratio, m the margin ratio, net = equity + cash - debt:

    room = ceiling - m * h
    net < -V * room    sell s = -net - V * room worth of tokens / (1 - room),
                       or a short that ceiling * V + net carries as its margin
    net > V * m * h    buy for (net - V * m * h) / (1 + m * h)

Tokens and USDT in smallest units, prices in 1e36, ratios in WAD. Values round down, what is owed,
needed or sold up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from perpool.reference.arithmetic import (
    PRICE_SCALE,
    mul_div_down,
    mul_div_up,
    share_of_down,
    share_of_up,
)
from perpool.reference.wad import WAD


@dataclass(frozen=True)
class CarryParameters:
    """What of a vault never changes, in the order of `ICarryVault.Parameters`.

    WAD, except `min_stay` in seconds.
    """

    hedge_ratio: int
    margin_ratio: int
    margin_band: int
    hedge_band: int
    ltv_ceiling: int
    ltv_band: int
    may_sell: bool
    enter_rate: int
    leave_rate: int
    min_stay: int
    worst_carry: int
    max_slippage: int
    tip_rate: int

    @property
    def margin_share(self) -> int:
        """m * h: margin of a whole hedge, of the collateral's value; rounded up."""
        return share_of_up(self.margin_ratio, self.hedge_ratio)


class Plan(NamedTuple):
    """What to do next."""

    sell: int
    """Tokens of the collateral."""
    buy: int
    """USDT to buy tokens with."""
    short: int
    """Tokens."""


def value_down(token_amount: int, price: int) -> int:
    """USDT that tokens are worth, rounded down."""
    return mul_div_down(token_amount, price, PRICE_SCALE)


def value_up(token_amount: int, price: int) -> int:
    """USDT that tokens are worth, rounded up."""
    return mul_div_up(token_amount, price, PRICE_SCALE)


def tokens_down(usdt_amount: int, price: int) -> int:
    """Tokens that USDT is worth, rounded down."""
    return mul_div_down(usdt_amount, PRICE_SCALE, price)


def tokens_up(usdt_amount: int, price: int) -> int:
    """Tokens that USDT is worth, rounded up."""
    return mul_div_up(usdt_amount, PRICE_SCALE, price)


def most_tokens_for(usdt_amount: int, price_e36: int, max_slippage: int) -> int:
    """Tokens that getting so much USDT may cost, rounded down."""
    return share_of_down(tokens_down(usdt_amount, price_e36), WAD + max_slippage)


def margin_of(short: int, price: int, margin_ratio: int) -> int:
    """USDT that a short should have, rounded up."""
    return share_of_up(value_up(short, price), margin_ratio)


def plan(p: CarryParameters, price: int, collateral: int, net: int, *, may_sell: bool) -> Plan:
    """What to sell or buy and how short to be.

    `collateral` includes what is about to be supplied. Where the hedge has given way altogether
    and the debt is still above the ceiling, tokens are sold even though `may_sell` is false.
    """
    value = value_down(collateral, price)
    share = p.margin_share
    if net >= 0:
        margin = share_of_up(value, share)
        buy = mul_div_down(net - margin, WAD, WAD + share) if net > margin else 0
        held = collateral + tokens_down(buy, price)
        return Plan(0, buy, share_of_down(held, p.hedge_ratio))

    owed = -net
    room = p.ltv_ceiling - share
    if owed <= share_of_down(value, room):
        return Plan(0, 0, share_of_down(collateral, p.hedge_ratio))
    most = share_of_down(value, p.ltv_ceiling)
    if not may_sell and owed <= most:
        carried = mul_div_down(most - owed, WAD, p.margin_ratio)
        return Plan(0, 0, tokens_down(carried, price))
    if not may_sell:
        room = p.ltv_ceiling
    worth = mul_div_up(owed - share_of_down(value, room), WAD, WAD - room)
    sell = min(tokens_up(worth, price), collateral)
    short = share_of_down(collateral - sell, p.hedge_ratio) if may_sell else 0
    return Plan(sell, 0, short)


def is_off(  # noqa: PLR0917
    p: CarryParameters,
    price: int,
    collateral: int,
    debt: int,
    short: int,
    equity: int,
    target_short: int,
) -> bool:
    """Whether margin, debt or short are outside their bands."""
    if short:
        notional = value_up(short, price)
        drift = abs(equity - share_of_up(notional, p.margin_ratio))
        if drift > share_of_up(notional, p.margin_band):
            return True
    if debt > share_of_down(value_down(collateral, price), p.ltv_ceiling + p.ltv_band):
        return True
    hedge = share_of_up(collateral, p.hedge_ratio)
    return abs(short - target_short) > share_of_up(hedge, p.hedge_band)


def nav(tokens: int, short: int, money: int, price: int) -> int:
    """Tokens that everything is worth, rounded down; 0 where that is less than nothing.

    `money` is the USDT without the short itself: margin, funding and what the short was sold for,
    cash, less debt.
    """
    worth = tokens_down(money, price) if money >= 0 else -tokens_up(-money, price)
    return max(tokens - short + worth, 0)
