"""A market to be fuzzed: both pools, stand-ins for price oracle and venue, and the actors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal

from perpool.build import Artifact
from perpool.evm import Contract, Evm
from perpool.reference.arithmetic import PoolError
from perpool.reference.interest import LegParameters
from perpool.reference.market import Market as Model
from perpool.reference.wad import WAD
from perpool.reference.world import FACTORY, NOBODY, Token
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP, ZERO_ADDRESS, Market, deploy_market, wad

PEOPLE = ("lender", "saver", "borrower", "farmer", "shorter", "trader", "liquidator")
PUPPET = "puppet"
"""An actor that is a contract, and so can act in the middle of a call."""
ACTORS = (*PEOPLE, PUPPET)
VENUE = "venue"
GOOD_HOOK, FAILING_HOOK = "good hook", "failing hook"
POOLS = ("reverse", "forward")
START_PRICE = 10
TOKENS_EACH = 1_000_000
USDT_EACH = 10_000_000


@dataclass
class Venue:
    """The model of FairSwapper: price in 1e36, spread in WAD, everything rounded for itself."""

    price: int
    token: Token
    spread: int = 0
    shortfall: int = 0

    def swap_exact_in(self, caller: str, token_in: Token, token_out: Token, amount_in: int) -> None:
        if token_in is self.token:
            amount_out = amount_in * self.price // 10**36 * (WAD - self.spread) // WAD
        else:
            amount_out = amount_in * WAD // (WAD + self.spread) * 10**36 // self.price
        token_out.move(VENUE, caller, amount_out)

    def swap_exact_out(
        self, caller: str, token_in: Token, token_out: Token, amount_out: int, amount_in_max: int
    ) -> None:
        value = amount_out * self.price // 10**36 + 1
        cost = value * (WAD + self.spread) // WAD + 1
        if cost > amount_in_max:
            raise PoolError("too expensive")
        token_out.move(VENUE, caller, amount_out - min(amount_out, self.shortfall))
        token_in.move(VENUE, caller, amount_in_max - cost)


@dataclass(frozen=True)
class Arena:
    """What a machine plays on. `addresses` holds every actor and contract by name."""

    market: Market
    prices: Contract
    venue: Contract
    puppet: Contract
    addresses: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def is_uniswap(self) -> bool:
        """Whether the venue is Uniswap, whose swaps the model does not know."""
        return self.venue == self.market.swapper

    @property
    def treasury(self) -> str:
        """Where the venue keeps what it trades."""
        return self.market.pool.contract.address if self.is_uniswap else self.venue.address

    def route(self, *, sale: bool) -> bytes:
        """What an adapter is told of the way to trade; the scripted venue is told nothing."""
        if not self.is_uniswap:
            return b""
        return self.market.sell_route if sale else self.market.buy_route

    @property
    def start_price(self) -> int:
        pair = self.market.pool.pair
        price: int = START_PRICE * 10 ** (36 + pair.quote_decimals - pair.base_decimals)
        return price

    def decimal(self, price_e36: int) -> Decimal:
        """A price in whole USDT a whole token."""
        return Decimal(START_PRICE) * price_e36 / self.start_price

    def contract(self, name: str) -> Contract:
        """A contract that steps call."""
        found: Contract = getattr(self.market, name)
        return found

    def model(self) -> Model:
        """The reference model of the market as it was deployed."""
        market, pair = self.market, self.market.pool.pair
        legs = [LegParameters(**asdict(leg)) for leg in (market.reverse_leg, market.forward_leg)]
        model = Model(
            decimals=(pair.base_decimals, pair.quote_decimals),
            legs=(legs[0], legs[1]),
            now=self.evm.timestamp,
            block_number=self.evm.block_number,
        )
        price = self.start_price
        model.prices.lower = model.prices.upper = model.prices.liquidation = price
        model.prices.volatility = 0
        model.swappers[VENUE] = Venue(price, model.token)
        model.liquidation_swapper = VENUE
        model.hooks = {GOOD_HOOK, FAILING_HOOK}
        model.standard_hook = GOOD_HOOK
        model.failing_hooks = {FAILING_HOOK}
        for account in (*ACTORS, VENUE):
            address = self.treasury if account == VENUE else self.addresses[account]
            model.token.balances[account] = market.token.balanceOf(address)
            model.usdt.balances[account] = market.usdt.balanceOf(address)
        for name in POOLS:
            pool = self.contract(name)
            model.pools[name].set_caps(*pool.caps())
            model.pools[name].set_controls(fee_permille=pool.state().flags >> 8)
            model.pools[name].state = replace(
                model.pools[name].state, updated_at=pool.state().updated_at
            )
        model.events.clear()
        return model


def deploy_arena(
    evm: Evm,
    *,
    token_decimals: int = 18,
    usdt_decimals: int = 6,
    reverse_pool: str | Artifact = "ReversePool",
    forward_pool: str | Artifact = "ForwardPool",
    uniswap: bool = False,
) -> Arena:
    """A market at 10 USDT a token without liquidity."""
    changes = {
        "pass_through": wad(50),
        "rate_cap": wad(150),
        "funding_max_age": 40_000,
        "base_rate": wad(10),
        "slope1": wad(20),
        "reserve_floor": wad("0.0005"),
    }
    base = deploy_market(
        evm,
        token_decimals=token_decimals,
        usdt_decimals=usdt_decimals,
        price=START_PRICE,
        reverse_leg=changes,
        forward_leg=changes | {"max_slippage": wad(5)},
        reverse_pool=reverse_pool,
        forward_pool=forward_pool,
    )
    owner, factory = base.owner, base.factory
    prices = evm.deploy("ScriptedOracle", base.token, base.usdt)
    venue = base.swapper if uniswap else evm.deploy("FairSwapper", base.token)
    hooks = {name: evm.deploy("TestHook") for name in (GOOD_HOOK, FAILING_HOOK)}
    hooks[FAILING_HOOK].fail()
    for hook in hooks.values():
        factory.allow_hook(hook, True, sender=owner)
    parameters = list(base.parameters)
    parameters[4:6] = prices, hooks[GOOD_HOOK]
    pools = factory.create_market(tuple(parameters), sender=owner)
    reverse, forward = (
        evm.at(old.artifact, address)
        for old, address in zip((base.reverse, base.forward), pools, strict=True)
    )
    market = replace(
        base, oracle=prices, reverse=reverse, forward=forward, parameters=tuple(parameters)
    )
    factory.set_caps(reverse, NO_CAP, NO_CAP, NO_CAP, sender=owner)
    factory.set_caps(forward, NO_CAP, NO_CAP, NO_BLOCK_CAP, sender=owner)
    for pool in (reverse, forward):
        factory.set_fee(pool, 100, sender=owner)
    factory.allow_swapper(venue, True, sender=owner)
    factory.set_liquidation_swapper(forward, venue, market.buy_route, sender=owner)

    puppet = evm.deploy("Puppet")
    addresses = {name: evm.account(name).address for name in (*PEOPLE, "owner", "guardian")}
    addresses |= {name: contract.address for name, contract in hooks.items()}
    addresses |= {
        NOBODY: ZERO_ADDRESS,
        FACTORY: factory.address,
        PUPPET: puppet.address,
        VENUE: venue.address,
        "reverse": reverse.address,
        "forward": forward.address,
        "token": market.token.address,
        "usdt": market.usdt.address,
    }
    for name in (*ACTORS, VENUE):
        scale = 1000 if name == VENUE else 1
        address = addresses[name]
        if name != VENUE or not uniswap:
            market.token.mint(address, market.tokens(TOKENS_EACH * scale))
            market.usdt.mint(address, market.usd(USDT_EACH * scale))
        for token in (market.token, market.usdt):
            for pool in (reverse, forward):
                token.approve(pool, MAX, sender=address)
    names = {address: name for name, address in addresses.items()}
    arena = Arena(market, prices, venue, puppet, addresses, names)
    prices.set_prices(arena.start_price, arena.start_price, arena.start_price, 0)
    if not uniswap:
        venue.set_terms(arena.start_price, 0, 0)
    return arena
