"""What to deploy: `deploy/<network>.toml`, checked in full before anything is sent.

    config = load_config(Path("deploy/sepolia.toml"))

Percentages and durations are written with their unit ("2.5%", "24h"), amounts in whole tokens,
prices in USDT; code passes `Decimal` fractions and `timedelta`s to `parse_config`. Inside they are
`Decimal` fractions, seconds, and `Decimal` amounts, which `perpool.deployment.plan` scales to
integers. Every fault of a file is reported at once, one line each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from perpool.deployment.carry_config import TAKEN_NAMES, VAULT_NAME, Vault, Venue
from perpool.settings import (
    Address,
    Amount,
    Cap,
    ConfigError,
    Duration,
    Fault,
    Percent,
    Section,
    Toml,
    check_address,
    fault_texts,
    parse_toml,
    percent_text,
    read_text,
)

TEST_CHAINS = frozenset(
    {1337, 31_337, 11_155_111, 17_000, 560_048, 84_532, 421_614, 11_155_420, 97}
)
"""Chains on which a configuration may ask for test tokens: local ones and public testnets."""
LOCAL_CHAINS = frozenset({1337, 31_337})
"""Chains that are thrown away: a record of contracts that are gone is begun anew."""
DEPLOYER = "deployer"
WELL_KNOWN = frozenset(
    {
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    }
)
"""anvil's and Hardhat's accounts, whose keys everybody has."""


# -- values --


def _owner(value: str) -> str:
    return value if value == DEPLOYER else check_address(value)


def _token(value: str) -> str:
    return check_address(value) if value.startswith("0x") else value


Owner = Annotated[str, AfterValidator(_owner)]
TokenName = Annotated[str, AfterValidator(_token)]


def _outside(name: str, value: Decimal, low: str, high: str) -> list[str]:
    """A fault where a percentage is outside its bounds, both given as percentages."""
    if Decimal(low) <= value * 100 <= Decimal(high):
        return []
    return [f"{name} is {percent_text(value)}, and has to be between {low}% and {high}%"]


# -- sections --


class Leg(Section):
    """The immutable numbers of one pool, its caps and its fee.

    The defaults are for a liquid altcoin; IPool.LegParameters has the same names and their meaning.
    Amounts are in the pool's asset: USDT in the reverse pool, tokens in the forward pool.
    """

    base_rate: Percent = Decimal("0.02")
    slope1: Percent = Decimal("0.08")
    slope2: Percent = Decimal("0.9")
    kink: Percent = Decimal("0.85")
    rate_cap: Percent = Decimal(3)
    pass_through: Percent = Decimal("0.2")
    funding_max_age: Duration = 86_400
    max_ltv: Percent = Decimal("0.7")
    stressed_ltv: Percent = Decimal("0.6")
    liquidation_ltv: Percent = Decimal("0.8")
    bonus_base: Percent = Decimal("0.05")
    bonus_slope: Percent = Decimal("0.5")
    bonus_cap: Percent = Decimal("0.1")
    max_slippage: Percent = Decimal("0.03")
    min_debt: Amount
    reserve_floor: Percent = Decimal("0.02")

    fee: Percent = Decimal("0.1")
    supply_cap: Cap
    debt_cap: Cap
    rewards: bool = False
    """Whether the reward stream hears of shares and debt."""

    @property
    def full_rate(self) -> Decimal:
        """Of borrowing at full utilisation, without the part of funding."""
        return self.base_rate + self.slope1 + self.slope2

    def faults(self) -> list[str]:
        # the factory's rules (contracts/modules/market_rules.vy), each with its remedy
        faults = []
        if not 0 < self.kink < 1:
            faults.append("kink has to be above 0% and below 100%")
        rates = {"base_rate": self.base_rate, "slope1": self.slope1, "slope2": self.slope2}
        faults += [f"{name} may not be negative" for name, rate in rates.items() if rate < 0]
        full = self.full_rate
        if self.rate_cap < full:
            faults.append(
                f"rate_cap is below base_rate + slope1 + slope2 = {percent_text(full)}, the rate "
                "at full utilisation: raise it"
            )
        faults += _outside("rate_cap", self.rate_cap, "0", "10000")
        faults += _outside("pass_through", self.pass_through, "0", "50")
        if not 3_600 <= self.funding_max_age <= 7 * 86_400:
            faults.append("funding_max_age has to be between 1h and 7d")
        if not 0 < self.stressed_ltv <= self.max_ltv < self.liquidation_ltv < 1:
            faults.append("0% < stressed_ltv <= max_ltv < liquidation_ltv < 100% has to hold")
        if not Decimal("0.02") <= self.bonus_base <= self.bonus_cap < 1:
            faults.append("2% <= bonus_base <= bonus_cap < 100% has to hold")
        if self.liquidation_ltv * (1 + self.bonus_cap) >= 1:
            faults.append(
                "liquidation_ltv * (1 + bonus_cap) has to be below 100%, or a liquidation takes "
                "more than the collateral: lower one of them"
            )
        faults += _outside("bonus_slope", self.bonus_slope, "0", "1000")
        if not 0 < self.max_slippage <= Decimal("0.1"):
            faults.append("max_slippage has to be above 0% and at most 10%")
        faults += _outside("reserve_floor", self.reserve_floor, "0", "100")
        faults += _outside("fee", self.fee, "0", "25")
        if self.fee * 1000 != int(self.fee * 1000):
            faults.append("fee has at most one decimal, such as 12.5%")
        return faults


class ReverseLeg(Leg):
    """USDT lent against the token."""

    collateral_cap: Cap


class ForwardLeg(Leg):
    """The token lent to short sellers against USDT. Volatility does not move its LTV."""

    block_cap: Cap


class Source(Section):
    """A Chainlink feed and the answers it may give, in the feed's own currency."""

    feed: Address
    max_age: Duration
    min: Amount
    max: Amount

    def faults(self) -> list[str]:
        return _range_faults(self.max_age, self.min, self.max)


def _range_faults(max_age: int, low: Decimal, high: Decimal) -> list[str]:
    faults = []
    if not 0 < max_age <= 7 * 86_400:
        faults.append("max_age has to be above 0 and at most 7d")
    if not 0 < low < high:
        faults.append("0 < min < max has to hold")
    return faults


class SignedFeed(Section):
    """A `PriceFeed` of this deployment, signed by the reporters."""

    max_report_age: Duration = 600
    spacing: Duration = 60
    max_move: Percent = Decimal("0.2")

    def faults(self) -> list[str]:
        faults = _report_age_faults(self.max_report_age)
        if not 10 <= self.spacing <= 3_600:
            faults.append("spacing has to be between 10s and 1h")
        return faults + _outside("max_move", self.max_move, "5", "50")


def _report_age_faults(max_report_age: int) -> list[str]:
    if 60 <= max_report_age <= 86_400:
        return []
    return ["max_report_age has to be between 1m and 1d"]


class Twap(Section):
    """The average of a Uniswap v3 pool of token and USDT, which new risk is checked against."""

    pool: Address
    window: Duration
    tolerance: Percent

    def faults(self) -> list[str]:
        faults = []
        if not 300 <= self.window <= 86_400:
            faults.append("window has to be between 5m and 1d")
        if not 0 < self.tolerance <= Decimal("0.5"):
            faults.append("tolerance has to be above 0% and at most 50%")
        return faults


class Price(Section):
    """Where a market's price comes from: a Chainlink feed (`feed`), or our own (`signed`)."""

    feed: Address | None = None
    signed: SignedFeed | None = None
    max_age: Duration
    min: Amount
    max: Amount
    usdt_usd: Source | None = None
    twap: Twap | None = None

    def faults(self) -> list[str]:
        faults = _range_faults(self.max_age, self.min, self.max)
        if (self.feed is None) == (self.signed is None):
            faults.append(
                'give either "feed", a Chainlink feed, or a table "signed", a feed of ours'
            )
        return faults


class Feed(Section):
    """How the funding oracle treats a token: bounds of its median, time constant of its EMA."""

    lower: Percent = Decimal(-10)
    upper: Percent = Decimal(10)
    tau: Duration = 86_400

    def faults(self) -> list[str]:
        faults = []
        if not -100_000 <= self.lower < self.upper <= 100_000:
            faults.append("lower < upper has to hold, both within 10,000,000% of zero")
        if not 3_600 <= self.tau <= 30 * 86_400:
            faults.append("tau has to be between 1h and 30d")
        return faults


class Route(Section):
    """The way through Uniswap v3 from USDT to the token, which liquidations buy through."""

    fees: list[Percent]
    via: list[TokenName] = Field(default_factory=list)

    def faults(self) -> list[str]:
        faults = []
        if len(self.fees) != len(self.via) + 1:
            faults.append("a route has one fee more than tokens it goes via")
        if not 1 <= len(self.fees) <= 10:
            faults.append("a route has 1 to 10 pools")
        millionths = [fee * 1_000_000 for fee in self.fees]
        if any(not 0 < fee < 2**20 or fee != int(fee) for fee in millionths):
            faults.append('a Uniswap fee is a percentage such as "0.05%", "0.3%" or "1%"')
        return faults


class Market(Section):
    """One token with its pair of pools, and the carry vaults over them."""

    token: TokenName
    price: Price
    funding: Feed = Feed()
    route: Route
    reverse: ReverseLeg
    forward: ForwardLeg
    venue: Venue | None = None
    vaults: dict[str, Vault] = Field(default_factory=dict)

    def faults_of_names(self) -> Iterator[str]:
        """Of vaults, which are part of their shares' symbols and of the record's names."""
        for name in self.vaults:
            if not re.fullmatch(VAULT_NAME, name):
                yield f"vaults.{name}: a vault's name has 1 to 12 small letters and digits"
            if name in TAKEN_NAMES:
                yield f"vaults.{name}: this name is taken by another contract of the market"

    def faults_of_loans(self) -> Iterator[str]:
        """What the reverse pool does not lend to a vault."""
        leg = self.reverse
        for name, vault in self.vaults.items():
            with_pool = (leg.stressed_ltv, leg.liquidation_ltv, leg.max_slippage, leg.full_rate)
            for fault in vault.pool_faults(*with_pool):
                yield f"vaults.{name}: {fault}"

    def faults_of_hedges(self) -> Iterator[str]:
        """What the venue does not take. Of one of others the plan asks the chain."""
        for name, vault in self.vaults.items():
            if vault.venue is None and self.venue is None:
                yield (
                    f'vaults.{name}: give "venue", the address of a perp venue, or on a test '
                    'network a table "venue" beside "vaults"'
                )
            elif vault.venue is None and self.venue is not None:
                for fault in vault.venue_faults(self.venue.terms):
                    yield f"vaults.{name}: {fault}"


class Reporters(Section):
    """Who signs funding and prices, and how many of them a round takes."""

    addresses: list[Address]
    quorum: int
    max_report_age: Duration = 3_600

    def faults(self) -> list[str]:
        faults = _report_age_faults(self.max_report_age)
        count = len(self.addresses)
        if count > 15:
            faults.append(f"there are {count} reporters, and an oracle takes 15 at most")
        repeated = sorted({each for each in self.addresses if self.addresses.count(each) > 1})
        faults += [f"reporter {each} is named twice" for each in repeated]
        if self.quorum < 3:
            faults.append(
                "quorum has to be at least 3: a median of two is a mean, which one liar moves"
            )
        if 2 * self.quorum <= count:
            faults.append(
                f"quorum {self.quorum} is no majority of {count} reporters: raise it to "
                f"{count // 2 + 1}"
            )
        if self.quorum > count:
            faults.append(
                f"quorum {self.quorum} is more than the {count} reporters: name more of them"
            )
        return faults


class TestToken(Section):
    """A token that anyone may mint, for chains where nothing has a value."""

    __test__ = False  # no test of pytest's

    decimals: int = Field(ge=0, le=24)
    kind: Literal["usdt_like", "plain"] = "plain"


class Uniswap(Section):
    """Uniswap v3's factory on this chain; `test` deploys one, on local chains only."""

    factory: Address | None = None
    test: bool = False

    def faults(self) -> list[str]:
        if (self.factory is None) != self.test:
            return ['give "factory", Uniswap v3\'s factory, or on a local chain "test = true"']
        return []


class DeploymentConfig(Section):
    """A whole file."""

    chain_id: int
    owner: Owner
    guardian: Address
    usdt: TokenName
    uniswap: Uniswap
    reporters: Reporters
    markets: dict[str, Market]
    test_tokens: dict[str, TestToken] = Field(default_factory=dict)

    def faults(self) -> list[str]:
        faults = []
        if self.test_tokens and self.chain_id not in TEST_CHAINS:
            faults.append(f"test_tokens are for test networks, not for chain {self.chain_id}")
        if self.uniswap.test and self.chain_id not in LOCAL_CHAINS:
            faults.append(
                f"uniswap.test is for local chains; name the factory of chain {self.chain_id}"
            )
        if self.chain_id not in TEST_CHAINS:
            faults += self._well_known()
            if self.owner == "deployer":
                faults.append(
                    "owner: a key that deploys may not own what holds money; name a timelock or a "
                    "multisignature wallet"
                )
        if not self.markets:
            faults.append("there are no markets: add a table [markets.SYMBOL]")
        named = [("usdt", self.usdt)]
        for symbol, market in self.markets.items():
            if not re.fullmatch(r"[A-Za-z0-9.]{1,16}", symbol):
                faults.append(f"markets.{symbol}: a symbol has 1 to 16 letters and digits")
            named.append((f"markets.{symbol}.token", market.token))
            named += [(f"markets.{symbol}.route.via", token) for token in market.route.via]
            if market.token == self.usdt:
                faults.append(f"markets.{symbol}: the token is USDT itself")
        for place, token in named:
            if not token.startswith("0x") and token not in self.test_tokens:
                faults.append(f"{place}: {token!r} is neither an address nor one of [test_tokens]")
        return faults

    def faults_of_venues(self) -> Iterator[str]:
        """Ours is for where nothing has a value."""
        for symbol, market in self.markets.items():
            if market.venue is None:
                continue
            if self.chain_id not in TEST_CHAINS:
                yield (
                    f"markets.{symbol}.venue: a venue of ours is for test networks: who knows the "
                    "price before its oracle takes its liquidity. Name another's in the vaults"
                )
            if market.venue.liquidity and self.usdt not in self.test_tokens:
                yield (
                    f"markets.{symbol}.venue.liquidity: is minted, which only one of [test_tokens] "
                    "can be: leave it out, and add liquidity yourself"
                )

    @property
    def warnings(self) -> list[str]:
        """What is fit for a rehearsal only."""
        return self._well_known() if self.chain_id not in LOCAL_CHAINS else []

    def _well_known(self) -> list[str]:
        named = [("owner", self.owner), ("guardian", self.guardian)]
        named += [("reporters.addresses", each) for each in self.reporters.addresses]
        return [
            f"{place}: anybody can sign for {address}, an account of anvil's; put yours"
            for place, address in named
            if address in WELL_KNOWN
        ]


# -- reading --


def load_config(path: Path) -> DeploymentConfig:
    """Read and check a file. Raises ConfigError with every fault and its line."""
    file = parse_toml(read_text(path), str(path))
    return _validated(file.data, str(path), file)


def parse_config(data: Mapping[str, Any], source: str = "configuration") -> DeploymentConfig:
    """Check values as a file would hold them. Raises ConfigError with every fault."""
    return _validated(data, source, None)


def _validated(data: Mapping[str, Any], source: str, file: Toml | None) -> DeploymentConfig:
    try:
        return DeploymentConfig.model_validate(data)
    except ValidationError as error:
        faults = [
            Fault(source if file is None else f"{source}:{file.line(place)}", text)
            for detail in error.errors()
            for place, text in fault_texts(detail, DeploymentConfig)
        ]
        raise ConfigError(source, faults) from None
