"""The demo's stage: a local chain with tokens, Uniswap v3 and the whole protocol on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from perpool import uniswap
from perpool.anvil import Anvil
from perpool.build import Artifact, load_npm_artifact
from perpool.chain import Chain, Contract
from perpool.deployment import ChainSender, Deployment, Record, parse_config
from perpool.reference.presets import PRESETS
from perpool.reference.targets import CarryParameters
from perpool.uniswap import TokenPair

V3_CORE = "@uniswap/v3-core/artifacts/contracts"
V3_PERIPHERY = "@uniswap/v3-periphery/artifacts/contracts"
V3_FACTORY = f"{V3_CORE}/UniswapV3Factory.sol/UniswapV3Factory.json"
V3_POOL = f"{V3_CORE}/UniswapV3Pool.sol/UniswapV3Pool.json"
V3_MANAGER = f"{V3_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
V3_ROUTER = f"{V3_PERIPHERY}/SwapRouter.sol/SwapRouter.json"

ZERO_ADDRESS = "0x" + 40 * "0"
MAX = 2**256 - 1
WAD = 10**18
USDT_DECIMALS, TOKEN_DECIMALS = 6, 18
POOL_FEE = 500
"""Of the Uniswap pool, in millionths."""
DEPTH = 15_000_000
"""USDT a side that Uniswap holds at first, over the full range."""
ARBITRAGE_CAPITAL = 60_000_000
"""USDT, and tokens worth as much at the first price, that the arbitrageur starts with."""
REPORTERS, QUORUM = 5, 3
FEED_SPACING = 60
FEED_MAX_MOVE = Decimal("0.2")
TWAP_WINDOW = 1_800
TWAP_TOLERANCE = Decimal("0.05")
FEE = Decimal("0.1")
"""The reserve's share of interest, both pools."""
VENUE_LIQUIDITY = 5_000_000
"""USDT that the perp venue's provider gives, and the net exposure that it takes on at most."""
MAX_TRADE = 100_000
"""USDT that one order or swap of a carry vault is worth at most."""
OBSERVATIONS = 150
"""Prices that Uniswap remembers, enough for the window at a trade every twelve seconds."""


@dataclass(frozen=True)
class Party:
    """An account with a name; anvil sends for it without a key."""

    name: str

    @cached_property
    def address(self) -> str:
        return str(to_checksum_address(keccak(text=f"perpool demo: {self.name}")[12:]))


DEPLOYER = Party("Deployer")
PROVIDER = Party("Liquidity provider")
ARBITRAGEUR = Party("Arbitrageur")
EXCHANGE = Party("Perp exchange")
VENUE_PROVIDER = Party("Venue's provider")
REBALANCER = Party("Rebalancer")


class Dex:
    """A real Uniswap v3 pool of the token and USDT."""

    def __init__(self, stage_chain: Chain, token: Contract, usdt: Contract, price: Decimal) -> None:
        self.chain = stage_chain
        self.token, self.usdt = token, usdt
        self.pair = TokenPair(token.address, usdt.address, TOKEN_DECIMALS, USDT_DECIMALS)
        self.factory = self._deploy(V3_FACTORY)
        self.manager = self._deploy(V3_MANAGER, self.factory, ZERO_ADDRESS, ZERO_ADDRESS)
        self.router = self._deploy(V3_ROUTER, self.factory, ZERO_ADDRESS)
        token0, token1 = uniswap.sort_tokens(token.address, usdt.address)
        self.manager.createAndInitializePoolIfNecessary(
            token0, token1, POOL_FEE, self.pair.sqrt_price_x96(price), sender=DEPLOYER
        )
        address = self.factory.getPool(token0, token1, POOL_FEE)
        self.pool = stage_chain.contract(load_npm_artifact(V3_POOL), address)
        self.pool.increaseObservationCardinalityNext(OBSERVATIONS, sender=DEPLOYER)

    def _deploy(self, path: str, *args: Any) -> Contract:
        artifact: Artifact = load_npm_artifact(path)
        return self.chain.deploy(artifact, *args, sender=DEPLOYER)

    @property
    def price(self) -> Decimal:
        """USDT a token, now."""
        return self.pair.price(int(self.pool.slot0()[0]))

    def route(self, token_in: Contract) -> bytes:
        """The adapter's path through this pool."""
        token_out = self.usdt if token_in == self.token else self.token
        return uniswap.encode_v3_route([token_in.address, token_out.address], [POOL_FEE])

    def liquidity_amounts(self, usdt_amount: int) -> tuple[int, int]:
        """(tokens, USDT) of a position over the full range."""
        ticks = uniswap.full_range(uniswap.TICK_SPACINGS[POOL_FEE])
        sqrt_price = int(self.pool.slot0()[0])
        return self.pair.liquidity_amounts(sqrt_price, *ticks, usdt_amount)

    def add_liquidity(self, provider: Party, tokens: int, usdt_amount: int) -> None:
        """Over the full range, of what the provider has approved."""
        self.manager.mint(
            (
                *uniswap.sort_tokens(self.token.address, self.usdt.address),
                POOL_FEE,
                *uniswap.full_range(uniswap.TICK_SPACINGS[POOL_FEE]),
                *self.pair.amounts(tokens, usdt_amount),
                0,
                0,
                provider.address,
                MAX,
            ),
            sender=provider,
        )

    def swap(self, trader: Party, token_in: Contract, amount_in: int, limit: int = 0) -> None:
        """Sell an exact amount, or as much of it as the price limit allows."""
        token_out = self.usdt if token_in == self.token else self.token
        order = (token_in, token_out, POOL_FEE, trader.address, MAX, amount_in, 0, limit)
        self.router.exactInputSingle(order, sender=trader)

    def swap_to(self, trader: Party, price: Decimal) -> bool:
        """Move the price there; False where it is nearer than the pool's fee already."""
        current = self.price
        if abs(price / current - 1) * 1_000_000 <= POOL_FEE:
            return False
        token_in = self.token if price < current else self.usdt
        held = int(token_in.balanceOf(trader))
        self.swap(trader, token_in, held, self.pair.sqrt_price_x96(price))
        return True

    def provided(self, provider: Party) -> tuple[int, int]:
        """(tokens, USDT) of what the only provider would get for his position, fees included."""
        position = int(self.manager.tokenOfOwnerByIndex(provider, 0))
        liquidity = self.manager.positions(position)[7]
        with self.chain.anchor():
            if liquidity:
                self.manager.decreaseLiquidity((position, liquidity, 0, 0, MAX), sender=provider)
            everything = (position, provider.address, 2**128 - 1, 2**128 - 1)
            receipt = self.manager.collect(everything, sender=provider)
        taken = receipt.events("Collect", self.manager)[0]
        base, quote = self.pair.amounts(taken.amount0, taken.amount1)
        return base, quote


def vault_name(preset: str) -> str:
    """Of a carry vault's accounts in the books."""
    return f"Vault {preset}"


@dataclass(frozen=True)
class Vault:
    """A carry vault, and its strategy, which has everything."""

    preset: str
    contract: Contract
    strategy: Contract

    @property
    def name(self) -> str:
        return vault_name(self.preset)

    @property
    def parameters(self) -> CarryParameters:
        return PRESETS[self.preset]


@dataclass
class Stage:
    """Everything on the chain, ready to be played on."""

    anvil: Anvil
    chain: Chain
    symbol: str
    token: Contract
    usdt: Contract
    dex: Dex
    record: Record
    funding_oracle: Contract
    price_feed: Contract
    price_oracle: Contract
    reverse: Contract
    forward: Contract
    swapper: Contract
    liquidator: Contract
    perp_venue: Contract
    """On chain, where the carry vaults hedge; everybody else does on the exchange."""
    vaults: dict[str, Vault]
    """By preset."""
    reporters: list[LocalAccount]
    payer: LocalAccount
    """Of the keeper's gas."""

    @property
    def pools(self) -> dict[str, Contract]:
        return {"reverse": self.reverse, "forward": self.forward}

    def approve(self, party: Party, spenders: list[Contract]) -> None:
        """Let contracts take any number of both tokens from a party."""
        for token in (self.token, self.usdt):
            for spender in spenders:
                token.approve(spender, MAX, sender=party)

    def fund(self, party: Party, *, tokens: int = 0, usdt_amount: int = 0) -> None:
        """Mint to a party, before the replay only."""
        if tokens:
            self.token.mint(party, tokens, sender=DEPLOYER)
        if usdt_amount:
            self.usdt.mint(party, usdt_amount, sender=DEPLOYER)


def reporter_keys(seed: int) -> list[LocalAccount]:
    """Keys of the five reporters, worth nothing outside the demo."""
    keys = [keccak(text=f"perpool demo reporter {seed} {number}") for number in range(REPORTERS)]
    return [Account.from_key(key) for key in keys]


def market_config(symbol: str, price: Decimal, stage: dict[str, Any]) -> dict[str, Any]:
    """The deployment's configuration; `stage` names what is on the chain already."""
    dust = (Decimal(10) / price).quantize(Decimal("0.000001"), rounding=ROUND_UP)
    caps = {"supply_cap": "none", "debt_cap": "none"}
    return {
        "chain_id": stage["chain_id"],
        "owner": "deployer",
        "guardian": stage["guardian"],
        "usdt": stage["usdt"],
        "uniswap": {"factory": stage["factory"]},
        "reporters": {"addresses": stage["reporters"], "quorum": QUORUM},
        "markets": {
            symbol: {
                "token": stage["token"],
                "price": {
                    "signed": {
                        "spacing": f"{FEED_SPACING}s",
                        "max_move": FEED_MAX_MOVE,
                    },
                    "max_age": "1h",
                    "min": "0.000001",
                    "max": "10000000",
                    "twap": {
                        "pool": stage["pool"],
                        "window": f"{TWAP_WINDOW}s",
                        "tolerance": TWAP_TOLERANCE,
                    },
                },
                "route": {"fees": [Decimal(POOL_FEE) / 1_000_000]},
                "reverse": {"min_debt": 10, "fee": FEE, "collateral_cap": "none"} | caps,
                "forward": {"min_debt": dust, "fee": FEE, "block_cap": "none"} | caps,
                "venue": {"exposure_cap": VENUE_LIQUIDITY},
                "vaults": {
                    preset: {"preset": preset, "cap": "none", "max_trade": MAX_TRADE}
                    for preset in PRESETS
                },
            }
        },
    }


def set_stage(
    anvil: Anvil,
    symbol: str,
    price: Decimal,
    *,
    seed: int = 1,
    notify: Callable[[str], None] = lambda _: None,
) -> Stage:
    """Deploy everything on a fresh anvil; a token costs `price` USDT.

    Blocks are one second apart from here on, so that equal runs have equal times.
    """
    chain = Chain.connect(anvil.endpoint)
    chain.rpc("anvil_setBlockTimestampInterval", 1)
    notify("tokens and Uniswap")
    usdt = chain.deploy("UsdtLike", USDT_DECIMALS, sender=DEPLOYER)
    token = chain.deploy(
        "TestToken", f"{symbol} (demo)", symbol[:16], TOKEN_DECIMALS, sender=DEPLOYER
    )
    dex = Dex(chain, token, usdt, price)

    notify("the protocol")
    reporters = reporter_keys(seed)
    config = market_config(
        symbol,
        price,
        {
            "chain_id": chain.chain_id,
            "guardian": Party("Guardian").address,
            "usdt": usdt.address,
            "token": token.address,
            "factory": dex.factory.address,
            "pool": dex.pool.address,
            "reporters": [each.address for each in reporters],
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(
            parse_config(config), ChainSender(chain, DEPLOYER), Path(folder) / "demo.json"
        )
        record = deployment.run().record

    payer: LocalAccount = Account.from_key(keccak(text=f"perpool demo payer {seed}"))
    chain.set_balance(payer.address, 10**20)

    def at(contract: str, name: str) -> Contract:
        return chain.contract(contract, record.contracts[name]["address"])

    vaults = {
        preset: Vault(
            preset,
            chain.contract("CarryVault", found["vault"]),
            chain.contract("CarryStrategy", found["strategy"]),
        )
        for preset, found in record.markets[symbol]["vaults"].items()
    }
    stage = Stage(
        anvil=anvil,
        chain=chain,
        symbol=symbol,
        token=token,
        usdt=usdt,
        dex=dex,
        record=record,
        funding_oracle=at("FundingOracle", "FundingOracle"),
        price_feed=at("PriceFeed", f"{symbol}.price_feed"),
        price_oracle=at("PriceOracle", f"{symbol}.price_oracle"),
        reverse=at("ReversePool", f"{symbol}.reverse"),
        forward=at("ForwardPool", f"{symbol}.forward"),
        swapper=at("UniswapV3Swapper", "UniswapV3Swapper"),
        liquidator=at("Liquidator", "Liquidator"),
        perp_venue=at("PerpVenue", f"{symbol}.venue"),
        vaults=vaults,
        reporters=reporters,
        payer=payer,
    )
    notify("liquidity")
    tokens, usdt_amount = dex.liquidity_amounts(DEPTH * 10**USDT_DECIMALS)
    stage.fund(PROVIDER, tokens=tokens, usdt_amount=usdt_amount)
    stage.approve(PROVIDER, [dex.manager])
    dex.add_liquidity(PROVIDER, tokens, usdt_amount)
    capital = ARBITRAGE_CAPITAL * 10**USDT_DECIMALS
    stage.fund(
        ARBITRAGEUR,
        tokens=int(ARBITRAGE_CAPITAL / price * 10**TOKEN_DECIMALS),
        usdt_amount=capital,
    )
    stage.approve(ARBITRAGEUR, [dex.router])
    given = VENUE_LIQUIDITY * 10**USDT_DECIMALS
    stage.fund(VENUE_PROVIDER, usdt_amount=given)
    stage.approve(VENUE_PROVIDER, [stage.perp_venue])
    stage.perp_venue.add_liquidity(given, VENUE_PROVIDER, sender=VENUE_PROVIDER)
    return stage
