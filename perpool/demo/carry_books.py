"""What carry vaults have, what their shares are worth, and the books of the venue they hedge at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perpool.chain import Call, Reverted
from perpool.demo.holdings import Holding
from perpool.demo.stage import REBALANCER, VENUE_PROVIDER, Party, Stage
from perpool.reference.targets import nav, value_up


@dataclass(frozen=True)
class VaultBooks:
    """A carry vault at one block."""

    has: Holding
    """Of the strategy."""
    funding: int
    """Of the position, accrued and not settled."""
    shares: int
    tips: int
    """Shares that were minted for whoever calls `rebalance`."""
    share_sum: int
    """Of all accounts, those that wait to be redeemed included."""
    waiting: int
    """Tokens of all requests to deposit."""
    at_vault: tuple[int, int]
    """(USDT, tokens) that the vault itself holds."""
    apart: tuple[int, int]
    """(collateral, debt shares) of redemptions that are half done."""
    worth: tuple[int, int] | None
    """(tokens that everything is worth by the vault, and by these books), at the oracle's price;
    None without one."""


@dataclass(frozen=True)
class VenueBooks:
    """The perp venue on chain at one block."""

    usdt: int
    """That it holds."""
    state: Any
    """IPerpMarket.State."""
    positions: tuple[Any, ...]
    """IPerpVenue.Position, of every strategy."""
    provider_shares: int

    def claims(self, mark_e36: int) -> list[tuple[int, int]]:
        """(USDT, tokens short) of every position, with what waits to be withdrawn."""
        return [
            (_money(each) - value_up(-each.size, mark_e36) + each.escrow + each.credit, -each.size)
            for each in self.positions
        ]

    def of_provider(self, mark_e36: int) -> int:
        """What is nobody else's and not the insurance's, profit of open positions included."""
        claimed = sum(usdt for usdt, _ in self.claims(mark_e36))
        return int(self.usdt - self.state.insurance - claimed)

    def equations(self) -> dict[str, tuple[Any, Any]]:
        """What has to be equal: its own totals, its tokens, and the only accounts there are."""
        state = self.state
        owned = state.liquidity + state.insurance + state.margins + state.escrows + state.credits
        return {
            "USDT of the perp venue": (self.usdt, owned),
            "margins at the perp venue": (state.margins, sum(p.margin for p in self.positions)),
            "credits at the perp venue": (state.credits, sum(p.credit for p in self.positions)),
            "shorts at the perp venue": (state.short_size, -sum(p.size for p in self.positions)),
            "shares of the venue's provider": (self.provider_shares, state.shares),
        }


def _money(position: Any) -> int:
    """What a short is worth beside the tokens it owes."""
    return int(position.margin + position.funding + position.entry_notional)


class CarryReader:
    """Reads vaults and venue. `depositors` maps names to presets."""

    def __init__(
        self, stage: Stage, parties: Mapping[str, Party], depositors: Mapping[str, str]
    ) -> None:
        self.chain, self.prices = stage.chain, stage.price_oracle
        self.vaults = list(stage.vaults.values())
        self.holders = {
            vault.preset: [
                *(name for name, preset in depositors.items() if preset == vault.preset),
                REBALANCER.name,
            ]
            for vault in self.vaults
        }
        venue, tokens = stage.perp_venue, (stage.usdt, stage.token)
        self.calls: list[Call] = [
            stage.usdt.balanceOf.bind(venue),
            venue.state.bind(),
            venue.shares_of.bind(VENUE_PROVIDER),
        ]
        """What `take` wants the answers of."""
        for vault in self.vaults:
            contract = vault.contract
            self.calls += [
                venue.position.bind(vault.strategy),
                contract.totalSupply.bind(),
                vault.strategy.set_apart.bind(),
                *(token.balanceOf.bind(contract) for token in tokens),
            ]
            for name in self.holders[vault.preset]:
                party = parties[name]
                self.calls += [
                    contract.balanceOf.bind(party),
                    contract.pendingDepositRequest.bind(0, party),
                    contract.pendingRedeemRequest.bind(0, party),
                ]

    def take(
        self, answers: Sequence[Any], holdings: dict[str, Holding], mark_e36: int, block: int
    ) -> tuple[dict[str, VaultBooks], VenueBooks]:
        """Both books of the calls' answers.

        Strategies go from `holdings` into the vaults' books; holders of shares and the venue's
        provider get there what is theirs.
        """
        left = iter(answers)
        usdt, state, provider_shares = (next(left) for _ in range(3))
        found = []
        for vault in self.vaults:
            own = [next(left) for _ in range(5)]
            found.append(
                (own, [[next(left) for _ in range(3)] for _ in self.holders[vault.preset]])
            )
        venue = VenueBooks(usdt, state, tuple(own[0] for own, _ in found), provider_shares)
        worths = self._worths(block)
        books = {}
        for vault, (own, accounts), claim in zip(
            self.vaults, found, venue.claims(mark_e36), strict=True
        ):
            _, shares, apart, *at_vault = own
            equity, short = claim
            has = replace(holdings.pop(vault.name), perp_equity=equity, perp_position=-short)
            names = self.holders[vault.preset]
            for name, account in zip(names, accounts, strict=True):
                part = _part_of(has, account[0] + account[2], shares)
                holdings[name] = _with_shares(holdings[name], part, account)
            worth = worths.get(vault.preset)
            books[vault.name] = VaultBooks(
                has=has,
                funding=own[0].funding,
                shares=shares,
                tips=accounts[-1][0],
                share_sum=sum(held + redeemed for held, _, redeemed in accounts),
                waiting=sum(asked for _, asked, _ in accounts),
                at_vault=(at_vault[0], at_vault[1]),
                apart=(apart[0], apart[1]),
                worth=worth and (worth[0], _nav(has, own[0], worth[1])),
            )
        provider = VENUE_PROVIDER.name
        holdings[provider] = replace(holdings[provider], perp_equity=venue.of_provider(mark_e36))
        return books, venue

    def _worths(self, block: int) -> dict[str, tuple[int, int]]:
        """Preset -> (all assets by the vault, price); nothing where the price is missing or old."""
        calls = [self.prices.liquidation_price.bind()]
        calls += [vault.contract.totalAssets.bind() for vault in self.vaults]
        try:
            price, *assets = self.chain.read(calls, block=block)
        except Reverted:
            return {}
        return {
            vault.preset: (each, price) for vault, each in zip(self.vaults, assets, strict=True)
        }


def _nav(has: Holding, position: Any, price_e36: int) -> int:
    money = _money(position) + position.escrow + position.credit + has.usdt - has.debt
    tokens = has.tokens + has.lent_tokens + has.collateral
    return nav(tokens, -position.size, money, price_e36)


def _part_of(has: Holding, owned: int, shares: int) -> tuple[int, int, int]:
    """(USDT, tokens, position) of so many of all shares, rounded down."""
    whole = (has.net_usdt, has.net_tokens, has.perp_position)
    usdt, tokens, position = (each * owned // shares if shares else 0 for each in whole)
    return usdt, tokens, position


def _with_shares(holding: Holding, part: tuple[int, int, int], account: Sequence[int]) -> Holding:
    """A holder with what his shares are of a vault, and what waits there."""
    usdt, tokens, position = part
    held, asked, redeemed = account
    return replace(
        holding,
        shares=holding.shares + held,
        asked_tokens=holding.asked_tokens + asked,
        asked_shares=holding.asked_shares + redeemed,
        vault_usdt=holding.vault_usdt + usdt,
        vault_tokens=holding.vault_tokens + tokens + asked,
        vault_position=holding.vault_position + position,
    )


def equations(vaults: Mapping[str, VaultBooks]) -> dict[str, tuple[Any, Any]]:
    """What has to be equal of vaults: shares, what waits in them, and nothing half done."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, vault in vaults.items():
        found |= {
            f"shares of {name}": (vault.share_sum, vault.shares),
            f"USDT and tokens that wait in {name}": (vault.at_vault, (0, vault.waiting)),
            f"redemptions half done of {name}": (vault.apart, (0, 0)),
        }
        if vault.worth is not None:
            found[f"what {name} is worth"] = vault.worth
    return found
