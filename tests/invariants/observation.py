"""What can be seen of a market on the chain, for the invariants to be checked on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from perpool.reference.ledger import Ledger, State
from perpool.reference.market import Market as Model
from tests.invariants.arena import ACTORS, POOLS, VENUE, Arena

RESERVE = {"reverse": "reserve of reverse", "forward": "reserve of forward"}


@dataclass
class PoolView:
    """One pool: totals as stored and as of now, and what each account has."""

    ledger: Ledger
    state: State
    accrued: State
    claims: int = 0
    """What the pool says that its shares claim, as stored."""
    accrued_claims: int = 0
    """The same as of now."""
    shares: dict[str, int] = field(default_factory=dict)
    collateral: dict[str, int] = field(default_factory=dict)
    debt_shares: dict[str, int] = field(default_factory=dict)
    opened_block: dict[str, int] = field(default_factory=dict)
    sold: dict[str, int] = field(default_factory=dict)
    proceeds: dict[str, int] = field(default_factory=dict)

    def copy(self) -> PoolView:
        return PoolView(
            self.ledger,
            self.state,
            self.accrued,
            self.claims,
            self.accrued_claims,
            self.shares.copy(),
            self.collateral.copy(),
            self.debt_shares.copy(),
            self.opened_block.copy(),
            self.sold.copy(),
            self.proceeds.copy(),
        )

    @property
    def share_price(self) -> Fraction:
        """Assets a share, exactly."""
        shares = self.accrued.supply_shares + self.ledger.virtual
        return Fraction(self.accrued_claims + 1, shares)

    def debt(self, account: str) -> int:
        """Rounded up."""
        return self.ledger.debt_of_shares(self.accrued, self.debt_shares[account])


@dataclass
class Observation:
    """Both pools and all balances at one time and one price."""

    now: int
    block_number: int
    price: int
    """The liquidation price in 1e36."""
    pools: dict[str, PoolView]
    tokens: dict[str, int]
    usdt: dict[str, int]

    def copy(self) -> Observation:
        return replace(
            self,
            pools={name: view.copy() for name, view in self.pools.items()},
            tokens=self.tokens.copy(),
            usdt=self.usdt.copy(),
        )

    # -- what the invariants ask --

    def share_value(self, pool: str) -> Fraction:
        """What one share is worth in USDT's smallest unit, exactly."""
        price = self.pools[pool].share_price
        return price if pool == "reverse" else price * Fraction(self.price, 10**36)

    def values(self, pool: str, account: str) -> tuple[int, int]:
        """(debt, collateral) of a position in USDT, for the pool: debt up, collateral down."""
        view = self.pools[pool]
        debt, collateral = view.debt(account), view.collateral[account]
        if pool == "reverse":
            return debt, collateral * self.price // 10**36
        return -(-debt * self.price // 10**36), collateral

    def is_healthy(self, pool: str, account: str) -> bool:
        """Whether the position cannot be liquidated at the price of now."""
        debt, value = self.values(pool, account)
        return debt <= value * self.pools[pool].ledger.leg.liquidation_ltv // 10**18

    def wealth(self) -> dict[str, Fraction]:
        """What everybody owns less what he owes, in USDT's smallest unit, exactly.

        Also the reserves, with the fee that is not yet charged. A debt that its collateral does not
        cover counts in full.
        """
        price = Fraction(self.price, 10**36)
        of_token = {account: Fraction(amount) for account, amount in self.tokens.items()}
        of_usdt = {account: Fraction(amount) for account, amount in self.usdt.items()}
        for name, view in self.pools.items():
            asset, collateral = (of_usdt, of_token) if name == "reverse" else (of_token, of_usdt)
            state, share_price = view.accrued, view.share_price
            debt_price = (
                Fraction(state.debt_assets, state.debt_shares) if state.debt_shares else Fraction(0)
            )
            asset[RESERVE[name]] = state.reserve_shares * share_price + state.uncharged_fee
            for account in ACTORS:
                asset[account] += view.shares[account] * share_price
                asset[account] -= view.debt_shares[account] * debt_price
                collateral[account] += view.collateral[account]
        everybody = (*ACTORS, VENUE, *RESERVE.values())
        zero = Fraction(0)
        return {
            account: of_token.get(account, zero) * price + of_usdt.get(account, zero)
            for account in everybody
        }


def read_pool(arena: Arena, name: str, view: PoolView, accounts: Iterable[str]) -> None:
    """Bring a view up to date: totals, and the accounts named."""
    pool = arena.contract(name)
    *stored, view.claims, _, _ = tuple(pool.state())
    *accrued, view.accrued_claims, _, _ = tuple(pool.accrued_state())
    view.state, view.accrued = State(*stored), State(*accrued)
    for account in accounts:
        address = arena.addresses[account]
        view.shares[account] = pool.balanceOf(address)
        if name == "reverse":
            view.collateral[account], view.debt_shares[account] = pool.position(address)
        else:
            position = pool.position(address)
            view.collateral[account] = position[0]
            view.debt_shares[account] = position[1]
            view.opened_block[account] = position[2]
            view.sold[account] = position[3]
            view.proceeds[account] = position[4]


def read_balances(arena: Arena, seen: Observation, accounts: Iterable[str]) -> None:
    """Bring token balances up to date: of the accounts, both pools and the venue."""
    market = arena.market
    for account in {*accounts, *POOLS, VENUE}:
        address = arena.treasury if account == VENUE else arena.addresses[account]
        seen.tokens[account] = market.token.balanceOf(address)
        seen.usdt[account] = market.usdt.balanceOf(address)


def of_chain(arena: Arena, price: int, ledgers: dict[str, Ledger]) -> Observation:
    """Everything, read from the chain."""
    evm = arena.evm
    pools = {name: PoolView(ledgers[name], State(), State()) for name in POOLS}
    seen = Observation(evm.timestamp, evm.block_number, price, pools, {}, {})
    for name, view in pools.items():
        read_pool(arena, name, view, ACTORS)
    read_balances(arena, seen, ACTORS)
    return seen


def of_model(model: Model) -> Observation:
    """The same of the reference model."""
    pools = {}
    for name, pool in model.pools.items():
        view = PoolView(pool.ledger, pool.state, pool.accrued())
        view.claims, view.accrued_claims = view.state.supply_assets, view.accrued.supply_assets
        for account in ACTORS:
            view.shares[account] = pool.shares[account]
            view.collateral[account] = pool.collateral_of[account]
            view.debt_shares[account] = pool.debt_shares[account]
        pools[name] = view
    forward, view = model.forward, pools["forward"]
    for account in ACTORS:
        view.opened_block[account] = forward.opened_block[account]
        view.sold[account] = forward.sold[account]
        view.proceeds[account] = forward.proceeds[account]
    accounts = (*ACTORS, *POOLS, VENUE)
    return Observation(
        model.now,
        model.block_number,
        model.prices.liquidation,
        pools,
        {account: model.token.balances[account] for account in accounts},
        {account: model.usdt.balances[account] for account in accounts},
    )


def load_into(seen: Observation, model: Model) -> None:
    """Make the model what the chain is: only where the two may part, as in a weakened pool."""
    for name, view in seen.pools.items():
        pool = model.pools[name]
        pool.state = view.state
        _set(pool.shares, view.shares)
        _set(pool.collateral_of, view.collateral)
        _set(pool.debt_shares, view.debt_shares)
    view = seen.pools["forward"]
    _set(model.forward.opened_block, view.opened_block)
    _set(model.forward.sold, view.sold)
    _set(model.forward.proceeds, view.proceeds)
    _set(model.token.balances, seen.tokens)
    _set(model.usdt.balances, seen.usdt)


def _set(counter: Counter[str], amounts: dict[str, int]) -> None:
    dict.update(counter, amounts)  # a Counter's own update adds
