"""What the tests of the pools share: the two sides of a market, expected events, signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from perpool.evm import Account, Contract, Evm, Receipt
from tests.market import NO_CAP, WAD, YEAR, Leg, Market, wad

HEADROOM = 2**120
"""Assets or shares of a pool from which on it takes no deposit and gives no loan."""
MAX_UINT128 = 2**128 - 1
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HOUR, DAY = 3_600, 86_400


# --- arithmetic


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded up."""
    return -(-numerator // denominator)


def growth_of(rate: int, seconds: int) -> int:
    """What a unit of debt earns in WAD: e**x - 1 to the third order, x rounded up."""
    x = ceil_div(rate * seconds, YEAR)
    return x + x * x // (2 * WAD) + x**3 // (6 * WAD * WAD)


def interest_of(debt: int, rate: int, seconds: int) -> int:
    """Interest of one accrual at one rate, rounded up."""
    return ceil_div(debt * growth_of(rate, seconds), WAD)


def base_rate_of(leg: Leg, utilisation: int) -> int:
    """The borrow rate without a premium."""
    if utilisation <= leg.kink:
        return leg.base_rate + leg.slope1 * utilisation // leg.kink
    over = utilisation - leg.kink
    return leg.base_rate + leg.slope1 + leg.slope2 * over // (WAD - leg.kink)


def virtual_shares_of(decimals: int) -> int:
    """Shares per asset in an empty pool."""
    return 10 ** min(6, max(0, 24 - decimals))


@dataclass(frozen=True)
class Price:
    """What shares are worth: `assets` for `shares`, virtual ones included."""

    assets: int
    shares: int

    @classmethod
    def of(cls, state: Any, decimals: int) -> Price:
        return cls(
            state.supply_assets + 1,
            state.supply_shares + virtual_shares_of(decimals),
        )

    def shares_down(self, assets: int) -> int:
        return assets * self.shares // self.assets

    def shares_up(self, assets: int) -> int:
        return ceil_div(assets * self.shares, self.assets)

    def assets_down(self, shares: int) -> int:
        return shares * self.assets // self.shares

    def assets_up(self, shares: int) -> int:
        return ceil_div(shares * self.assets, self.shares)


@dataclass(frozen=True)
class Charge:
    """What charging the fee on interest does to a state: `fee` assets become `shares`."""

    fee: int
    shares: int
    price: Price
    """Of all shares afterwards."""

    @classmethod
    def of(cls, state: Any, decimals: int) -> Charge:
        all_assets = state.cash + state.debt_assets
        fee = (all_assets - state.charged_assets) * (state.flags >> 8) // 1_000
        virtual = virtual_shares_of(decimals)
        before = Price(all_assets - fee + 1, state.supply_shares + virtual)
        shares = min(before.shares_down(fee), MAX_UINT128 - state.supply_shares)
        return cls(fee, shares, Price(all_assets + 1, before.shares + shares))


# --- the two sides of a market


@dataclass(frozen=True)
class Side:
    """One pool of a market as its lenders see it, and how somebody comes to owe it something.

    Amounts are in whole assets: USDT of the reverse pool, tokens of the forward pool.
    """

    market: Market
    name: str
    pool: Contract
    asset: Contract
    collateral: Contract
    leg: Leg

    @classmethod
    def of(cls, market: Market, name: str) -> Side:
        if name == "reverse":
            return cls(market, name, market.reverse, market.usdt, market.token, market.reverse_leg)
        return cls(market, name, market.forward, market.token, market.usdt, market.forward_leg)

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def decimals(self) -> int:
        return int(self.asset.decimals())

    @property
    def direction(self) -> int:
        """Sign of the funding that this side's borrowers collect."""
        return 1 if self.name == "reverse" else -1

    @property
    def other(self) -> Side:
        return Side.of(self.market, "forward" if self.name == "reverse" else "reverse")

    def whole(self, amount: float) -> int:
        """Whole assets in the smallest unit."""
        return int(amount * 1_000) * 10**self.decimals // 1_000

    def price(self) -> Price:
        """What shares are worth as of the newest block."""
        return Price.of(self.pool.accrued_state(), self.decimals)

    def charge(self) -> Charge:
        """What charging the fee does as of the newest block."""
        return Charge.of(self.pool.accrued_state(), self.decimals)

    def give(self, name: str, amount: float = 0) -> Account:
        """An account with assets, of which both pools may take any number."""
        units = self.whole(amount)
        given = {"usdt": units} if self.name == "reverse" else {"tokens": units}
        return self.market.give(self.evm.account(name), **given)

    def lend(self, amount: float, name: str = "lender") -> Account:
        """A deposit."""
        account = self.give(name, amount)
        if amount:
            self.pool.deposit(self.whole(amount), account, sender=account)
        return account

    def owe(self, amount: float, name: str = "borrower") -> Account:
        """A debt at an LTV of about 50 %, at the fixture's price of 10 USDT a token."""
        market = self.market
        if self.name == "reverse":
            collateral = market.tokens(amount / 5)
            return market.borrow(name, collateral=collateral, usdt=market.usd(amount))
        return market.short(name, margin=market.usd(amount * 10), tokens=market.tokens(amount))

    def owe_at_limit(self, amount: float, name: str = "borrower") -> Account:
        """A debt at an LTV of 69 % in a calm market, which a move by a fifth makes unhealthy."""
        market = self.market
        if self.name == "reverse":
            collateral = market.tokens(amount / 6.9)
            return market.borrow(name, collateral=collateral, usdt=market.usd(amount))
        return market.short(name, margin=market.usd(amount * 4.5), tokens=market.tokens(amount))

    def fund(self, percent_a_year: float, *, age: int = 0) -> None:
        """Funding that this side's borrowers collect where positive, taken in by the pool."""
        rate = self.direction * wad(percent_a_year)
        with self.evm.same_block():
            self.market.funding.set_at(self.market.token, rate, self.evm.timestamp - age)
            self.pool.sync_funding()

    def set_caps(self, supply: int = NO_CAP, debt: int = NO_CAP, leg: int = NO_CAP) -> None:
        self.market.factory.set_caps(self.pool, supply, debt, leg, sender=self.market.owner)

    def pause(self) -> None:
        self.market.factory.set_paused(self.pool, True, sender=self.market.guardian)

    def attach_hook(self, *, standard: bool = False) -> Contract:
        """A new TestHook, or the market's standard hook, attached."""
        hook = self.market.standard_hook if standard else self.evm.deploy("TestHook")
        assert isinstance(hook, Contract), "this market has no standard hook"
        self.market.factory.allow_hook(hook, True, sender=self.market.owner)
        self.market.factory.set_hook(self.pool, hook, sender=self.market.owner)
        return hook

    def set_totals(self, **changes: int) -> None:
        """Overwrite some of the ledger's totals, which are named as in `IPool.State`.

        A new `cash` or `debt_assets` also moves `charged_assets`, unless that is given: it brings
        no fee with it.
        """
        artifact = self.pool.artifact
        assert artifact is not None
        layout = artifact.storage_layout["storage_layout"]
        state = self.pool.state()
        uncharged = state.cash + state.debt_assets - state.charged_assets
        new = {**state.as_dict(), **changes}
        if "charged_assets" not in changes:
            new["charged_assets"] = new["cash"] + new["debt_assets"] - uncharged
        clock_slot = layout["ledger"]["clock_word"]["slot"]
        clock = self.evm.storage(self.pool, clock_slot) & MAX_UINT128
        for slot, low, high in (
            (layout["ledger"]["assets_word"]["slot"], new["cash"], new["debt_assets"]),
            (clock_slot, clock, new["debt_shares"]),
            (layout["supply"]["supply_word"]["slot"], new["charged_assets"], new["supply_shares"]),
        ):
            self.evm.set_storage(self.pool, slot, low | high << 128)


def market_of_test_oracle(market: Market, **legs: Leg) -> Market:
    """A second market of the same factory and tokens, priced by a TestPriceOracle.

    `reverse_leg` and `forward_leg` replace the first market's.
    """
    evm, owner = market.evm, market.owner
    oracle = evm.deploy("TestPriceOracle", market.token, market.usdt, market.price_e36())
    reverse_leg = legs.get("reverse_leg", market.reverse_leg)
    forward_leg = legs.get("forward_leg", market.forward_leg)
    parameters = (
        *market.parameters[:4],
        oracle,
        market.standard_hook,
        reverse_leg.as_tuple(),
        forward_leg.as_tuple(),
    )
    addresses = market.factory.create_market(parameters, sender=owner)
    reverse, forward = (
        evm.at(pool.artifact, address)
        for pool, address in zip((market.reverse, market.forward), addresses, strict=True)
    )
    for pool in (reverse, forward):
        market.factory.set_caps(pool, NO_CAP, NO_CAP, NO_CAP, sender=owner)
    return replace(
        market,
        oracle=oracle,
        reverse=reverse,
        forward=forward,
        parameters=parameters,
        reverse_leg=reverse_leg,
        forward_leg=forward_leg,
    )


def calm(market: Market) -> None:
    """Three days without a move: the volatility is known and zero."""
    swing(market, 0)


def swing(market: Market, percent: float) -> None:
    """Three days in which the price goes up by so much in one hour and back in the next."""
    answer = market.feed.latestAnswer()
    for hour in range(75):
        market.evm.warp(HOUR)
        market.feed.set(answer + (hour % 2) * int(answer * percent / 100))
        market.oracle.observe()


# --- events and balances


def address_of(value: Any) -> Any:
    """The address of an account or contract, anything else as it is."""
    return getattr(value, "address", value)


def expect_event(receipt: Receipt, name: str, emitter: Contract, **fields: Any) -> None:
    """Exactly one event of that name, with exactly these fields."""
    expect_events(receipt, name, emitter, [fields])


def expect_events(
    receipt: Receipt, name: str, emitter: Contract, expected: Sequence[dict[str, Any]]
) -> None:
    """Exactly these events of a name, in order."""
    events = [event.args.as_dict() for event in receipt.events(name, emitter)]
    assert events == [
        {field: address_of(value) for field, value in fields.items()} for fields in expected
    ]


class Balances:
    """Balances of some holders in some tokens, and how they have changed since."""

    def __init__(self, tokens: Sequence[Contract], *holders: Any) -> None:
        self.tokens = tokens
        self.before = {
            (token, address_of(holder)): token.balanceOf(holder)
            for token in tokens
            for holder in holders
        }

    def changes(self, holder: Any) -> tuple[int, ...]:
        """Change of each token's balance, in the order of the tokens."""
        return tuple(
            token.balanceOf(holder) - self.before[token, address_of(holder)]
            for token in self.tokens
        )


def totals(pool: Contract) -> tuple[int, int, int, int]:
    """(supply assets, supply shares, debt assets, debt shares) as stored."""
    state = pool.state()
    return (state.supply_assets, state.supply_shares, state.debt_assets, state.debt_shares)


# --- signatures


def domain_of(evm: Evm, contract: Contract, name: str) -> dict[str, Any]:
    """EIP-712 domain of a contract of ours."""
    return {
        "name": name,
        "version": "1",
        "chainId": evm.chain_id,
        "verifyingContract": contract.address,
    }


def digest_of(domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]) -> bytes:
    """What is signed, by eth_account's own EIP-712 encoder."""
    signable = encode_typed_data(domain, types, message)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@dataclass(frozen=True)
class Signature:
    """An ECDSA signature in its parts."""

    v: int
    r: int
    s: int

    @classmethod
    def of(cls, account: Account, digest: bytes) -> Signature:
        signed = account.key.unsafe_sign_hash(digest)
        return cls(signed.v, signed.r, signed.s)

    def mirrored(self) -> Signature:
        """The other signature of the same hash by the same key, with the high s."""
        return Signature(55 - self.v, self.r, SECP256K1_ORDER - self.s)

    @property
    def parts(self) -> tuple[int, bytes, bytes]:
        """(v, r, s) as a permit takes them."""
        return self.v, self.r.to_bytes(32, "big"), self.s.to_bytes(32, "big")

    @property
    def packed(self) -> bytes:
        """r, s, v in 65 bytes."""
        return self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big") + bytes([self.v])
