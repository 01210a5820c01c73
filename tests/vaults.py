"""A carry vault over a whole market, with a venue that does as it is told or the product's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from perpool.build import Artifact
from perpool.evm import Account, Contract, Evm, Struct
from tests.market import MAX, NO_CAP, WAD, Market, deploy_market, wad
from tests.pools import HOUR, calm
from tests.venues import Parameters as VenueParameters

LEND, CARRY = 1, 2
"""The flags of ICarryVault.Mode."""
E36 = 10**36


@dataclass(frozen=True)
class Parameters:
    """ICarryVault.Parameters in its order; the defaults are the preset that keeps its tokens."""

    hedge_ratio: int = wad(30)
    margin_ratio: int = wad(50)
    margin_band: int = wad(5)
    hedge_band: int = wad(5)
    ltv_ceiling: int = wad(50)
    ltv_band: int = wad(2)
    may_sell: bool = False
    enter_rate: int = wad(20)
    leave_rate: int = wad(5)
    min_stay: int = 72 * HOUR
    worst_carry: int = wad(55)
    max_slippage: int = wad(1)
    tip_rate: int = wad("0.1")

    def as_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


KEEP = Parameters()
NEUTRAL = Parameters(hedge_ratio=wad(100), ltv_ceiling=wad(55), may_sell=True, worst_carry=wad(60))


@dataclass(frozen=True)
class Vault:
    """What `deploy_vault` made, with the few calls that most tests make."""

    market: Market
    venue: Contract
    contract: Contract
    strategy: Contract
    parameters: Parameters
    is_scripted: bool

    # --- amounts

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def owner(self) -> Account:
        return self.market.owner

    def tokens(self, amount: float | str) -> int:
        """Whole tokens in the token's smallest unit."""
        return self.market.tokens(amount)

    def usd(self, amount: float | str) -> int:
        """Whole USDT in its smallest unit."""
        return self.market.usd(amount)

    def value(self, token_amount: int) -> int:
        """USDT that so many tokens are worth, rounded down."""
        return token_amount * self.market.price_e36() // E36

    # --- the world

    def set_price(self, price: float | str, *, move_uniswap: bool = True) -> None:
        """The feed, Uniswap and the venue's mark."""
        self.market.set_price(price, move_uniswap=move_uniswap)
        self.mark()

    def mark(self, percent: float = 0) -> None:
        """The mark of a scripted venue is the oracle's price and so many percent."""
        if self.is_scripted:
            price = self.market.price_e36()
            self.venue.set_mark(price * (WAD + wad(percent)) // WAD)

    def set_funding(self, percent: float) -> None:
        """Funding as of now, taken in by both pools."""
        self.market.set_funding(percent)

    def wait(self, seconds: int) -> None:
        """Let time pass; price and funding are observed anew."""
        self.evm.warp(seconds)
        ema = self.market.funding.funding(self.market.token)[0]
        self.market.refresh_price()
        self.market.funding.set(self.market.token, ema)
        self.market.reverse.sync_funding()
        self.market.forward.sync_funding()

    # --- actors

    def give(self, name: str | Account, *, tokens: int = 0, usdt: int = 0) -> Account:
        """Mint to an account, of which the vault may take any amount."""
        account = self.evm.account(name) if isinstance(name, str) else name
        for contract, amount in ((self.market.token, tokens), (self.market.usdt, usdt)):
            if amount:
                contract.mint(account, amount, sender=account)
            if contract.allowance(account, self.contract) == 0:
                contract.approve(self.contract, MAX, sender=account)
        return account

    def request_deposit(self, name: str | Account, amount: int) -> Account:
        """Mint tokens and ask to deposit them."""
        account = self.give(name, tokens=amount)
        self.contract.requestDeposit(amount, account, account, sender=account)
        return account

    def deposit(self, name: str | Account, amount: int) -> Account:
        """A deposit asked for, settled at the price after it, and claimed."""
        account = self.request_deposit(name, amount)
        self.observe()
        self.contract.settle_deposit(account)
        self.claim_shares(account)
        return account

    def claim_shares(self, account: Account) -> int:
        """All that can be claimed of deposits."""
        assets = self.contract.maxDeposit(account)
        return int(self.contract.deposit(assets, account, sender=account))

    def request_redeem(
        self, account: Account, shares: int, *, usdt: int = 0, min_tokens: int = 0
    ) -> None:
        """Ask to redeem; the USDT is minted."""
        if usdt:
            self.give(account, usdt=usdt)
        self.contract.request_redeem(shares, account, account, usdt, min_tokens, sender=account)

    def redeem(self, account: Account, shares: int, **asked: int) -> int:
        """Shares redeemed at the price after they were asked for, and claimed. Returns tokens."""
        self.request_redeem(account, shares, **asked)
        self.observe()
        self.contract.settle_redeem(account)
        return self.claim_tokens(account)

    def claim_tokens(self, account: Account) -> int:
        """All that can be claimed of redemptions."""
        shares = self.contract.maxRedeem(account)
        return int(self.contract.redeem(shares, account, account, sender=account))

    def refresh(self) -> Vault:
        """Price and funding as of now, which other fixtures may have made old."""
        self.wait(1)
        return self

    def observe(self) -> None:
        """The same price, observed after what was asked for."""
        self.evm.warp(1)
        self.market.refresh_price()

    def rebalance(self, name: str = "keeper") -> bool:
        """One call of anybody's."""
        return bool(self.contract.rebalance(sender=self.evm.account(name)))

    def carry(self) -> None:
        """Funding of 50 %, and as many steps as there are until nothing is due."""
        self.set_funding(50)
        for _ in range(10):
            if not self.rebalance():
                return
        raise AssertionError("still due after ten steps")

    # --- what is there

    def holdings(self) -> Struct:
        found: Struct = self.contract.holdings()
        return found

    def position(self) -> Struct:
        found: Struct = self.venue.position(self.strategy)
        return found

    def ratios(self) -> tuple[float, float, float]:
        """(hedge ratio, margin ratio, LTV)"""
        held = self.holdings()
        notional = self.value(held.short)
        value = self.value(held.collateral)
        return (
            held.short / held.collateral if held.collateral else 0.0,
            held.equity / notional if notional else 0.0,
            held.debt / value if value else 0.0,
        )


def deploy_vault(
    evm: Evm,
    parameters: Parameters = KEEP,
    *,
    token_decimals: int = 18,
    usdt_decimals: int = 6,
    real_venue: bool = False,
    delay_blocks: int = 0,
    artifact: str | Artifact = "CarryVault",
    strategy: str | Artifact = "CarryStrategy",
    spread_oracle: bool = False,
    **market_options: Any,
) -> Vault:
    """A vault of a calm market at 10 USDT a token, without limits.

    The reverse pool has a million USDT to lend. Funding is 10 %, so that the vault lends. With
    `spread_oracle` the market's price bounds can be moved apart.
    """
    market = deploy_market(
        evm, token_decimals=token_decimals, usdt_decimals=usdt_decimals, **market_options
    )
    calm(market)
    if spread_oracle:
        market = market_at(market, evm.deploy("SpreadOracle", market.oracle))
    market.lend("USDT lender", usdt=market.usd(1_000_000))
    venue = _deploy_venue(market, usdt_decimals, delay_blocks) if real_venue else _script(market)
    contract, strategy_contract = build_vault(market, venue, parameters, artifact, strategy)
    contract.set_limits(2**128, market.usd(10**8), sender=market.owner)
    contract.set_swapper(market.swapper, market.sell_route, market.buy_route, sender=market.owner)
    market.set_funding(10)
    return Vault(market, venue, contract, strategy_contract, parameters, not real_venue)


def build_vault(
    market: Market,
    venue: Contract,
    parameters: Parameters = KEEP,
    artifact: str | Artifact = "CarryVault",
    strategy: str | Artifact = "CarryStrategy",
) -> tuple[Contract, Contract]:
    """(vault, its strategy), as they are deployed."""
    evm = market.evm
    blueprint = evm.deploy_blueprint(strategy)
    contract = evm.deploy(
        artifact,
        blueprint,
        market.reverse,
        market.forward,
        venue,
        parameters.as_tuple(),
        "Perpool Carry TKN",
        "pcTKN",
    )
    return contract, evm.at(strategy, contract.strategy())


def market_at(market: Market, oracle: Contract) -> Market:
    """A second market of the same factory and tokens, at another oracle's prices."""
    parameters = (*market.parameters[:4], oracle, *market.parameters[5:])
    addresses = market.factory.create_market(parameters, sender=market.owner)
    reverse, forward = (
        market.evm.at(pool.artifact, address)
        for pool, address in zip((market.reverse, market.forward), addresses, strict=True)
    )
    for pool in (reverse, forward):
        market.factory.set_caps(pool, NO_CAP, NO_CAP, NO_CAP, sender=market.owner)
    return replace(market, reverse=reverse, forward=forward, oracle=oracle, parameters=parameters)


def _script(market: Market) -> Contract:
    venue = market.evm.deploy("ScriptedVenue", market.token, market.usdt, market.price_e36())
    market.usdt.mint(venue, market.usd(10**8), sender=market.owner)
    return venue


def _deploy_venue(market: Market, usdt_decimals: int, delay_blocks: int) -> Contract:
    evm = market.evm
    terms = replace(VenueParameters(), exposure_cap=10**8, delay_blocks=delay_blocks)
    venue = evm.deploy(
        "PerpVenue",
        market.token,
        market.usdt,
        market.oracle,
        market.funding,
        terms.as_tuple(usdt_decimals),
    )
    lender = evm.account("venue lender")
    amount = market.usd(10**7)
    market.usdt.mint(lender, amount, sender=lender)
    market.usdt.approve(venue, MAX, sender=lender)
    venue.add_liquidity(amount, lender, sender=lender)
    return venue
