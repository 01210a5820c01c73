"""What the command line shows of carry vaults and rewards: tables, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perpool.text import limit, number, percent

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from perpool.sdk import Market, Reward, VaultPosition, VaultStatus

Found = Sequence[tuple["Market", str, "VaultStatus"]]
"""Market, name of the vault, and how it stands."""
POSITION_HEADS = [
    "market",
    "vault",
    "shares",
    "worth",
    "asked to deposit",
    "asked to redeem",
    "shares to claim",
    "tokens to claim",
    "USDT to claim",
]
REDEMPTION_HEADS = [
    "market",
    "vault",
    "shares",
    "is",
    "since",
    "least tokens",
    "USDT brought",
    "brings now",
    "anybody for less from",
]
REWARD_HEADS = ["from", "to", "to claim", "part of all", "streamed a day", "until"]


def status_tables(found: Found) -> list[tuple[str, list[list[str]]]]:
    """Tables by title, as columns: a heading and its values."""
    if not found:
        return []
    heads = [
        ["market", *(market.symbol for market, _, _ in found)],
        ["vault", *(name for _, name, _ in found)],
    ]
    vaults = [vault for _, _, vault in found]
    stands = [vault.standing for vault in vaults]
    held = parts(stands, "holdings")
    how = [
        *heads,
        ["does", *(vault.mode for vault in vaults)],
        ["hedged", *(percent(each, 1) for each in parts(stands, "hedge_ratio"))],
        ["delta", *map(number, parts(stands, "delta"))],
        ["leverage", *map(times, parts(stands, "leverage"))],
        ["LTV", *(percent(each, 1) for each in parts(stands, "ltv"))],
        ["loan liquidated below", *map(number, parts(stands, "loan_liquidation_price"))],
        ["short above", *map(number, parts(stands, "short_liquidation_price"))],
        ["net carry", *map(percent, parts(stands, "net_carry"))],
        ["due", *map(yes, parts(stands, "is_due"))],
    ]
    what = [
        *heads,
        ["worth", *map(number, parts(stands, "total_assets"))],
        ["cap", *(limit(vault.cap) for vault in vaults)],
        ["a share", *map(number, parts(stands, "share_price"))],
        ["idle", *map(number, parts(held, "idle"))],
        ["lent", *map(number, parts(held, "lent"))],
        ["posted", *map(number, parts(held, "collateral"))],
        ["debt", *map(number, parts(held, "debt"))],
        ["short", *map(number, parts(held, "short"))],
        ["equity", *map(number, parts(held, "equity"))],
        ["cash", *map(number, parts(held, "cash"))],
    ]
    return [("Carry vaults", how), ("What they hold", what)]


def warnings(found: Found) -> list[str]:
    """What is not as usual in a vault."""
    lines = []
    for market, name, vault in found:
        said = []
        if vault.is_paused:
            said.append("deposits are paused; all else goes on")
        if vault.standing is None:
            said.append("there is no fresh price: nothing is settled until there is")
        if vault.is_order_pending:
            said.append("an order is at the venue: nothing else is done until it is settled")
        lines += [f"{market.symbol} {name}: {line}" for line in said]
    return lines


def position_row(each: VaultPosition) -> tuple[str, ...]:
    """An account in a vault as a row under POSITION_HEADS."""
    return (
        each.market,
        each.vault,
        number(each.shares),
        f"{number(each.worth)} {each.market}",
        number(each.pending_deposit),
        number(each.pending_redeem),
        number(each.claimable_shares),
        number(each.claimable_tokens),
        number(each.claimable_usdt),
    )


def redemption_rows(each: VaultPosition) -> list[tuple[str, ...]]:
    """What an account has asked to redeem, and what of it is set apart, under REDEMPTION_HEADS."""
    rows: list[tuple[str, ...]] = []
    for part, state in ((each.redemption, "asked for"), (each.apart, "set apart")):
        if part is None:
            continue
        brings = later = "-"
        if each.apart is not None and part is each.apart:
            problem = each.apart.problem
            brings = number(each.apart.brings) if problem is None else f"not now: {problem.reason}"
            later = when(each.apart.anybody_from)
        what = number(part.shares), state, when(part.since)
        terms = number(part.min_tokens), number(part.usdt)
        rows.append((each.market, each.vault, *what, *terms, brings, later))
    return rows


def reward_row(each: Reward) -> tuple[str, ...]:
    """A reward as a row under REWARD_HEADS."""
    programme = each.programme
    ends_at = programme.ends_at
    return (
        programme.source,
        programme.side,
        f"{number(each.earned)} {programme.token}",
        percent(each.share),
        number(programme.a_day),
        "-" if ends_at is None else when(ends_at),
    )


def parts(found: Sequence[Any], name: str) -> list[Any]:
    """One thing of each, None of what there is not."""
    return [None if each is None else getattr(each, name) for each in found]


def when(time: datetime) -> str:
    """A time, UTC."""
    return f"{time:%Y-%m-%d %H:%M}"


def times(value: Decimal | None) -> str:
    """A multiple."""
    return "-" if value is None else f"{number(value, 2)}x"


def yes(value: bool | None) -> str:
    """A truth."""
    return "-" if value is None else ("yes" if value else "no")
