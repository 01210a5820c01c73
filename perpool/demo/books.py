"""Who owns what at a moment, and whether all of it adds up, to the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perpool.chain import Call
from perpool.demo import carry_books
from perpool.demo.carry_books import CarryReader, VaultBooks, VenueBooks
from perpool.demo.holdings import Holding
from perpool.demo.stage import EXCHANGE, Party, Stage
from perpool.demo.venue import PerpVenue


class BooksError(AssertionError):
    """Money has appeared or gone; the message says where."""


@dataclass(frozen=True)
class PoolBooks:
    """A pool's totals, accrued to now."""

    assets: int
    """What the shares claim."""
    uncharged_fee: int
    """Of cash and debt, what is to become shares of the reserve."""
    lenders: int
    """What the shares of all lenders and of the reserve are worth, each rounded down."""
    shares: int
    debt: int
    debt_shares: int
    cash: int
    """What the pool holds of its asset."""
    collateral: int
    """What it holds of its collateral token."""
    reserve: int
    """What its shares are worth, and the fee not charged yet."""
    funding_wad: int
    funding_time: int

    @property
    def utilisation(self) -> float:
        lent = self.assets + self.uncharged_fee
        return self.debt / lent if lent else 0.0


@dataclass(frozen=True)
class Books:
    """Everything at one block."""

    time: int
    holdings: dict[str, Holding]
    pools: dict[str, PoolBooks]
    minted: tuple[int, int]
    """(USDT, tokens) that exist."""
    found: tuple[int, int]
    """The same, as the sum over all accounts and contracts."""
    share_sums: dict[str, tuple[int, int]]
    """Pool -> (sum of all accounts' shares, sum of all accounts' debt shares)."""
    mark_e36: int
    """At which perp positions are worth what they are here."""
    vaults: dict[str, VaultBooks]
    """By name. What is theirs is in the holdings of who has their shares."""
    perp_venue: VenueBooks

    @property
    def accounts(self) -> dict[str, Holding]:
        """Who has a position of a pool by himself: everybody, and the vaults' strategies."""
        return self.holdings | {name: each.has for name, each in self.vaults.items()}


class Bookkeeper:
    """Reads everybody's accounts and checks them.

    Everybody's wallets are read, and besides them what the roles have: `lenders` and `borrowers`
    map names to the leg they are on, `depositors` to the preset of their carry vault. Positions of
    anybody else would show as books that do not add up.
    """

    def __init__(
        self,
        stage: Stage,
        venue: PerpVenue,
        parties: Sequence[Party],
        *,
        lenders: Mapping[str, str],
        borrowers: Mapping[str, str],
        depositors: Mapping[str, str],
    ) -> None:
        self.stage = stage
        self.venue = venue
        vaults = stage.vaults.values()
        parties_by_name = {each.name: each for each in parties}
        by_name = parties_by_name | {each.name: each.strategy for each in vaults}
        self.accounts = list(by_name)
        # a strategy borrows on one leg and lends on the other
        self.lenders = dict(lenders) | {each.name: "forward" for each in vaults}
        self.borrowers = dict(borrowers) | {each.name: "reverse" for each in vaults}
        self.carry = CarryReader(stage, parties_by_name, depositors)
        self.checks = 0
        """How often all equations have held."""
        pools = stage.pools
        contracts = [
            stage.reverse,
            stage.forward,
            stage.dex.pool,
            stage.dex.router,
            stage.dex.manager,
            stage.swapper,
            stage.perp_venue,
            *(each.contract for each in vaults),
        ]
        tokens = (stage.usdt, stage.token)
        wallets = [*by_name.values(), *contracts]
        self._groups: list[list[Call]] = [
            [token.balanceOf.bind(each) for each in wallets for token in tokens],
            [pools[leg].balanceOf.bind(by_name[name]) for name, leg in self.lenders.items()],
            [pools[leg].position.bind(by_name[name]) for name, leg in self.borrowers.items()],
            [pools[leg].debt_of.bind(by_name[name]) for name, leg in self.borrowers.items()],
            [token.totalSupply.bind() for token in tokens],
            [pool.accrued_state.bind() for pool in pools.values()],
            self.carry.calls,
        ]

    def read(self) -> Books:
        """All accounts at the newest block, in three messages."""
        chain, pools = self.stage.chain, self.stage.pools
        block = chain.block_number
        answers = iter(chain.read((call for group in self._groups for call in group), block=block))
        wallets, shares, positions, debts, minted, states, carried = (
            [next(answers) for _ in group] for group in self._groups
        )
        claims = [
            pools[leg].convertToAssets.bind(held)
            for leg, held in zip(self.lenders.values(), shares, strict=True)
        ]
        claims += [
            pool.convertToAssets.bind(state.reserve_shares)
            for pool, state in zip(pools.values(), states, strict=True)
        ]
        worth = chain.read(claims, block=block)

        lent = dict(zip(self.lenders, worth, strict=False))
        owed = dict(zip(self.borrowers, zip(positions, debts, strict=True), strict=True))
        holdings = {
            name: self._holding(name, wallets[2 * i : 2 * i + 2], lent.get(name, 0), owed)
            for i, name in enumerate(self.accounts)
        }
        vaults, perp_venue = self.carry.take(carried, holdings, self.venue.price_e36, block)
        at = 2 * len(self.accounts)
        own = {"reverse": wallets[at : at + 2], "forward": wallets[at + 2 : at + 4][::-1]}
        sums = {
            leg: (
                sum(
                    held
                    for name, held in zip(self.lenders, shares, strict=True)
                    if self.lenders[name] == leg
                )
                + state.reserve_shares,
                sum(
                    _debt_shares(position)
                    for name, (position, _) in owed.items()
                    if self.borrowers[name] == leg
                ),
            )
            for leg, state in zip(pools, states, strict=True)
        }
        return Books(
            time=chain.timestamp,
            holdings=holdings,
            pools={
                leg: PoolBooks(
                    assets=state.supply_assets,
                    uncharged_fee=_uncharged_fee(state),
                    lenders=reserve
                    + sum(lent[name] for name, lent_to in self.lenders.items() if lent_to == leg),
                    shares=state.supply_shares,
                    debt=state.debt_assets,
                    debt_shares=state.debt_shares,
                    cash=own[leg][0],
                    collateral=own[leg][1],
                    reserve=reserve + _uncharged_fee(state),
                    funding_wad=state.funding_wad,
                    funding_time=state.funding_time,
                )
                for leg, state, reserve in zip(pools, states, worth[-2:], strict=True)
            },
            minted=(minted[0], minted[1]),
            found=(sum(wallets[0::2]), sum(wallets[1::2])),
            share_sums=sums,
            mark_e36=self.venue.price_e36,
            vaults=vaults,
            perp_venue=perp_venue,
        )

    def _holding(
        self, name: str, wallet: Sequence[int], lent: int, owed: Mapping[str, tuple[Any, int]]
    ) -> Holding:
        client = self.venue.clients.get(name)
        equity = client.equity if client else 0
        if name == EXCHANGE.name:
            # what it holds for its clients is theirs
            equity = self.venue.house - self.venue.wallet
        on_reverse = self.borrowers.get(name) == "reverse"
        position, debt = owed.get(name, (None, 0))
        return Holding(
            usdt=wallet[0],
            tokens=wallet[1],
            lent_usdt=lent if self.lenders.get(name) == "reverse" else 0,
            lent_tokens=lent if self.lenders.get(name) == "forward" else 0,
            collateral=position[0] if position and on_reverse else 0,
            debt=debt if on_reverse else 0,
            short_collateral=position.collateral if position and not on_reverse else 0,
            short_debt=0 if on_reverse else debt,
            perp_equity=equity,
            perp_position=client.position if client else 0,
        )

    def check(self, books: Books, minted: tuple[int, int]) -> None:
        """Raise BooksError unless everything adds up; `minted` is what was created at the start."""
        for fault in faults(books, minted, self.venue.wallet):
            raise BooksError(f"{fault} at block time {books.time}")
        self.checks += 1


def _uncharged_fee(state: Any) -> int:
    """By the pool's own rule: the fee's part of interest since it was last charged."""
    interest = state.cash + state.debt_assets - state.charged_assets
    return int(interest * (state.flags >> 8) // 1000)


def _debt_shares(position: Any) -> int:
    """Of a position of either pool."""
    return int(getattr(position, "debt_shares", position[1]))


def faults(books: Books, minted: tuple[int, int], exchange_wallet: int) -> list[str]:
    """Every equation that does not hold.

    Total supplies are what was minted, and what all accounts hold together. Each pool holds exactly
    its cash, which is claims and fee less debt, and the sum of its positions' collateral. Shares
    and debt shares of all accounts are the pools' totals, and the shares are worth the claims but
    for a unit each of rounding. The exchange's wallet is what its books say, and the perp venue has
    what its own say. All shares of a carry vault are its holders', and what it is worth by itself
    is what its strategy has.
    """
    everybody = books.accounts.values()
    reverse, forward = books.pools["reverse"], books.pools["forward"]
    exchange = books.holdings[EXCHANGE.name]
    equations: dict[str, tuple[Any, Any]] = {
        "USDT minted": (books.minted[0], minted[0]),
        "tokens minted": (books.minted[1], minted[1]),
        "USDT of all accounts": (books.found[0], books.minted[0]),
        "tokens of all accounts": (books.found[1], books.minted[1]),
        "cash of the reverse pool": (
            reverse.cash,
            reverse.assets + reverse.uncharged_fee - reverse.debt,
        ),
        "cash of the forward pool": (
            forward.cash,
            forward.assets + forward.uncharged_fee - forward.debt,
        ),
        "collateral of the reverse pool": (
            reverse.collateral,
            sum(h.collateral for h in everybody),
        ),
        "collateral of the forward pool": (
            forward.collateral,
            sum(h.short_collateral for h in everybody),
        ),
        "shares of the reverse pool": (books.share_sums["reverse"][0], reverse.shares),
        "shares of the forward pool": (books.share_sums["forward"][0], forward.shares),
        "debt shares of the reverse pool": (books.share_sums["reverse"][1], reverse.debt_shares),
        "debt shares of the forward pool": (books.share_sums["forward"][1], forward.debt_shares),
        "wallet of the perp exchange": (exchange.usdt, exchange_wallet),
    }
    equations |= books.perp_venue.equations() | carry_books.equations(books.vaults)
    found_faults = [
        f"{name}: found {found}, expected {expected}"
        for name, (found, expected) in equations.items()
        if found != expected
    ]
    for leg, pool in books.pools.items():
        # every lender, the reserve and the virtual shares
        if not 0 <= pool.assets - pool.lenders <= len(books.accounts) + 2:
            found_faults.append(
                f"claims on the {leg} pool: found {pool.lenders}, expected {pool.assets}"
            )
    return found_faults
