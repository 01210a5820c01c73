"""A perp venue on the in-process EVM: USDT-like tokens, a feed, the product's price oracle.

The funding oracle is a stand-in that tests set directly. Prices begin at 10 USDT a token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from perpool.build import Artifact
from perpool.evm import Account, Contract, Evm
from tests.market import MAX, ZERO_ADDRESS, wad

DAY = 86_400
FEED_DECIMALS = 8
MAX_AGE = DAY
LIQUIDITY = 100_000


@dataclass(frozen=True)
class Parameters:
    """IPerpMarket.Parameters in its order; the exposure cap is in whole USDT."""

    initial_margin: int = wad(10)
    maintenance_margin: int = wad(5)
    fee: int = wad("0.05")
    fee_to_insurance: int = wad(20)
    penalty: int = wad(2)
    penalty_to_caller: int = wad(50)
    largest_long_gain: int = wad(100)
    exposure_cap: int = 50_000
    funding_max_age: int = DAY
    adl_horizon: int = DAY
    delay_blocks: int = 0

    def as_tuple(self, usdt_decimals: int) -> tuple[int, ...]:
        cap = self.exposure_cap * 10**usdt_decimals
        changed = replace(self, exposure_cap=cap)
        return tuple(getattr(changed, name) for name in self.__dataclass_fields__)


@dataclass(frozen=True)
class Venue:
    """What `deploy_venue` made, with the few calls that most tests make."""

    evm: Evm
    token: Contract
    usdt: Contract
    feed: Contract
    usdt_feed: Contract | None
    oracle: Contract
    funding: Contract
    contract: Contract
    parameters: Parameters
    token_decimals: int
    usdt_decimals: int

    # --- amounts

    def tokens(self, amount: float | str) -> int:
        """Whole tokens in the token's smallest unit."""
        return int(Decimal(str(amount)).scaleb(self.token_decimals))

    def usd(self, amount: float | str) -> int:
        """Whole USDT in its smallest unit."""
        return int(Decimal(str(amount)).scaleb(self.usdt_decimals))

    def price_e36(self, price: float | str) -> int:
        """A price in whole USDT a whole token, in the venue's scale."""
        return int(Decimal(str(price)).scaleb(36 + self.usdt_decimals - self.token_decimals))

    # --- the world

    def set_price(self, price: float | str) -> int:
        """Set the feed; returns the price in the venue's scale."""
        self.feed.set(int(Decimal(str(price)).scaleb(FEED_DECIMALS)))
        return self.price_e36(price)

    def fund(self, percent_a_year: float, *, age: int = 0) -> None:
        """A round of the funding oracle, which the venue takes in."""
        with self.evm.same_block():
            observed_at = self.evm.timestamp - age
            self.funding.set_at(self.token, wad(percent_a_year), observed_at)
            self.contract.settle_funding(ZERO_ADDRESS)

    def wait(self, seconds: int) -> None:
        """Let time pass; the feed's answer is repeated, and funding accrues."""
        self.evm.warp(seconds)
        with self.evm.same_block():
            self.feed.set(self.feed.latestAnswer())
            self.contract.settle_funding(ZERO_ADDRESS)

    # --- actors

    def give(self, name: str | Account, usdt: int = 0) -> Account:
        """Mint to an account, of which the venue may take any amount."""
        account = self.evm.account(name) if isinstance(name, str) else name
        if usdt:
            self.usdt.mint(account, usdt, sender=account)
        if self.usdt.allowance(account, self.contract) == 0:
            self.usdt.approve(self.contract, MAX, sender=account)
        return account

    def lend(self, usdt: int, name: str = "lender") -> Account:
        """Give to the liquidity pool."""
        account = self.give(name, usdt)
        self.contract.add_liquidity(usdt, account, sender=account)
        return account

    def request(self, account: Account, size: int, margin: int = 0, **changes: Any) -> int:
        """`request` at any price and time unless told otherwise."""
        call = {
            "limit_price_e36": 0 if size < 0 else MAX,
            "expires_at": MAX,
        } | changes
        return int(self.contract.request(size, margin, *call.values(), sender=account))

    def trade(self, name: str, size: int, margin: int) -> Account:
        """Mint the margin and open."""
        account = self.give(name, margin)
        self.request(account, size, margin)
        return account

    # --- what is there

    def state(self) -> dict[str, int]:
        """The stored state by name."""
        found: dict[str, int] = self.contract.state().as_dict()
        return found

    def position(self, account: Account) -> dict[str, int]:
        """An account's position by name."""
        found: dict[str, int] = self.contract.position(account).as_dict()
        return found

    def free(self) -> int:
        """Liquidity that no position can claim."""
        return int(self.contract.free_liquidity()[0])


def deploy_venue(
    evm: Evm,
    parameters: Parameters | None = None,
    *,
    token_decimals: int = 18,
    usdt_decimals: int = 6,
    usdt: Contract | None = None,
    usdt_usd: bool = False,
    artifact: str | Artifact = "PerpVenue",
) -> Venue:
    """A venue without liquidity. `usdt_usd` adds a feed of USDT's price, at 1."""
    parameters = parameters or Parameters()
    usdt = usdt or evm.deploy("UsdtLike", usdt_decimals)
    token = evm.deploy("TestToken", "Token", "TKN", token_decimals)
    feed = evm.deploy("TestFeed", FEED_DECIMALS, 10 * 10**FEED_DECIMALS)
    usdt_feed = evm.deploy("TestFeed", 8, 10**8) if usdt_usd else None
    # what the oracle's prices can hold
    scale = 10 ** (36 + usdt_decimals - token_decimals - FEED_DECIMALS + (8 if usdt_usd else 0))
    most = min(10**14, 2**187 // scale)
    oracle = evm.deploy(
        "PriceOracle",
        token,
        usdt,
        (feed.address, MAX_AGE, 10**4, most),
        (usdt_feed.address, DAY, 9 * 10**7, 11 * 10**7) if usdt_feed else (ZERO_ADDRESS, 0, 0, 0),
        (ZERO_ADDRESS, 0, 0),
    )
    funding = evm.deploy("TestFundingOracle")
    terms = parameters.as_tuple(usdt_decimals)
    contract = evm.deploy(artifact, token, usdt, oracle, funding, terms)
    return Venue(
        *(evm, token, usdt, feed, usdt_feed, oracle, funding, contract),
        *(parameters, token_decimals, usdt_decimals),
    )
