"""A market on the in-process EVM and its reference model, which are told everything together.

    stage = Stage(moment, conditions)
    stage.look(moment)       # the model's time and prices
    stage.move()             # and the chain's
    stage.do("reverse", "deposit", "usdt lenders", 10**12, "usdt lenders")

Pools, factory and price oracle are the product. Tokens, the price feed, the two funding oracles and
the swap adapter are the tests' own, set from the history: one funding oracle has the average that
pools and vault go by, the other what the venue charges.

Beside the vaults there is a crowd, which keeps both pools at a stated utilisation: it owes a fixed
amount, far beyond what the vaults move, and its lenders come and go with demand.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from decimal import Decimal
from typing import Any

from eth_utils.crypto import keccak

from perpool.build import Artifact, compile_contract
from perpool.evm import Account, Contract, Evm
from perpool.history import DAY, HOUR
from perpool.reference.arithmetic import MAX_UINT128, PRICE_SCALE, PoolError
from perpool.reference.carry_vault import CarryVault
from perpool.reference.interest import LegParameters, utilisation
from perpool.reference.market import Market
from perpool.reference.perp import PerpVenue
from perpool.reference.perp_books import PerpParameters
from perpool.reference.targets import CarryParameters
from perpool.reference.wad import WAD
from perpool.replay.swapper import SWAPPER, FairSwapper
from perpool.replay.timeline import (
    PRICE_DIGITS,
    TOKEN_DECIMALS,
    USDT_DECIMALS,
    Moment,
    answer_of,
)

NO_BLOCK_CAP = 2**112 - 1
ZERO_ADDRESS = "0x" + 40 * "0"
PRICE_MAX_AGE = 86_400
FEE_PERMILLE = 100
USDT_LENDERS, TOKEN_LENDERS = "usdt lenders", "token lenders"
BORROWERS, SHORTERS = "borrowers", "shorters"
PROVIDER = "liquidity provider"
KEEPER, HOLDER = "keeper", "holder"
ACCOUNTS = (USDT_LENDERS, TOKEN_LENDERS, BORROWERS, SHORTERS, PROVIDER, KEEPER, HOLDER)
CROWD = 100
"""What the crowd owes in either pool, in values of the deposit of a vault."""
BACKING = 10**6
"""Value of the crowd's collateral, in values of its debt: no price of the history reaches it."""
LIQUIDITY = 1_000
"""Of the venue, in values of the crowd's debt."""
PLENTY = 2**110
"""Of both tokens, for swaps, lenders and collateral."""
DRIFT = WAD // 100
"""Of the utilisation, before lenders come or go."""


class StageError(Exception):
    """Contracts and model disagree; the message says where."""


@dataclass(frozen=True)
class Conditions:
    """What a replay assumes of the world. Fractions in WAD, the deposit in USDT's smallest unit."""

    usdt_utilisation: int
    token_utilisation: int
    slippage: int
    """Of a swap, against the oracle's price."""
    deposit: int
    """Value of what is put into each vault."""


def percent(number: str | int) -> int:
    """A percentage in WAD."""
    return int(Decimal(number) * WAD / 100)


def leg(min_debt: int) -> LegParameters:
    """The defaults of a deployment."""
    return LegParameters(
        base_rate=percent(2),
        slope1=percent(8),
        slope2=percent(90),
        kink=percent(85),
        rate_cap=percent(300),
        pass_through=percent(20),
        funding_max_age=86_400,
        max_ltv=percent(70),
        stressed_ltv=percent(60),
        liquidation_ltv=percent(80),
        bonus_base=percent(5),
        bonus_slope=percent(50),
        bonus_cap=percent(10),
        max_slippage=percent(3),
        min_debt=min_debt,
        reserve_floor=percent(2),
    )


def venue_parameters(funding_interval: int) -> PerpParameters:
    """Margins and fee of a large exchange. A rate is good for one funding interval, in seconds."""
    return PerpParameters(
        initial_margin=percent(10),
        maintenance_margin=percent(5),
        fee=percent("0.05"),
        fee_to_insurance=percent(20),
        penalty=percent(1),
        penalty_to_caller=percent(50),
        largest_long_gain=WAD,
        exposure_cap=2**111,
        funding_max_age=funding_interval,
        adl_horizon=DAY,
        delay_blocks=0,
    )


class Venue(PerpVenue):
    """The venue's model, with a funding oracle of its own."""

    accruing: tuple[int, int] = (0, 0)
    """(rate a year in WAD, since when)"""

    def last_round(self) -> tuple[int, int]:
        """What accrues now."""
        return self.accruing


class Stage:
    """Both worlds."""

    def __init__(
        self, first: Moment, conditions: Conditions, venue: PerpParameters | None = None
    ) -> None:
        self.conditions = conditions
        self.venue_parameters = venue or venue_parameters(8 * HOUR)
        self.legs = leg(10 * 10**USDT_DECIMALS), leg(10**TOKEN_DECIMALS // 1_000)
        self.model = Market(decimals=(TOKEN_DECIMALS, USDT_DECIMALS), legs=self.legs)
        # all that is done at a time has that time, each in a block of its own
        self.evm = Evm(timestamp=first.time - 3_600, block_number=0, spacing=0)
        self.owner = self.evm.account("owner")
        self.contracts: dict[str, Contract] = {}
        self.addresses: dict[str, Any] = {name: self.evm.account(name) for name in ACCOUNTS}
        self.transactions = 0
        self._deploy(first)
        self._set_model()
        self.venue = Venue(self.model, self.venue_parameters)
        self.vaults: dict[str, CarryVault] = {}
        self.model.parts.append(self.venue)
        self.look(first)
        self.move()
        self._gather_crowd(first.price_e36)

    # -- setting up --

    def _deploy(self, first: Moment) -> None:
        evm, owner = self.evm, self.owner
        self.token = evm.deploy("TestToken", "Token", "TKN", TOKEN_DECIMALS)
        self.usdt = evm.deploy("UsdtLike", USDT_DECIMALS)
        self.feed = evm.deploy("TestFeed", PRICE_DIGITS, answer_of(first.price_e36))
        self.price_oracle = evm.deploy(
            "PriceOracle",
            self.token,
            self.usdt,
            (self.feed, PRICE_MAX_AGE, 1, 10**40),
            (ZERO_ADDRESS, 0, 0, 0),
            (ZERO_ADDRESS, 0, 0),
        )
        self.averages = evm.deploy("TestFundingOracle")
        self.accruals = evm.deploy("TestFundingOracle")
        self.swapper = evm.deploy("FairSwapper", self.token)
        operators = evm.deploy("Operators", sender=owner)
        pools = compile_contract("ReversePool"), compile_contract("ForwardPool")
        blueprints = [evm.deploy_blueprint(each, sender=owner) for each in pools]
        hashes = [keccak(each.initcode) for each in pools]
        self.factory = evm.deploy("PoolFactory", *blueprints, *hashes, operators, sender=owner)
        self.factory.allow_swapper(self.swapper, True, sender=owner)
        parameters = (
            self.token,
            self.usdt,
            "TKN",
            self.averages,
            self.price_oracle,
            ZERO_ADDRESS,
            *(astuple(each) for each in self.legs),
        )
        made = self.factory.create_market(parameters, sender=owner)
        self.addresses |= {"token": self.token, "usdt": self.usdt, SWAPPER: self.swapper}
        for name, artifact, address in zip(("reverse", "forward"), pools, made, strict=True):
            self.put(name, evm.at(artifact, address))
        venue = evm.deploy(
            "PerpVenue",
            self.token,
            self.usdt,
            self.price_oracle,
            self.accruals,
            astuple(self.venue_parameters),
        )
        self.put("perp", venue)

    def put(self, name: str, contract: Contract) -> None:
        """Let a contract be called by the name that it has in the model."""
        self.contracts[name] = self.addresses[name] = contract

    def _set_model(self) -> None:
        owner, model = self.owner, self.model
        model.now = self.evm.timestamp
        model.swappers[SWAPPER] = FairSwapper(model.token, self.conditions.slippage)
        caps = (MAX_UINT128, MAX_UINT128)
        for name, last in (("reverse", MAX_UINT128), ("forward", NO_BLOCK_CAP)):
            pool = self.contracts[name]
            self.factory.set_caps(pool, *caps, last, sender=owner)
            self.factory.set_fee(pool, FEE_PERMILLE, sender=owner)
            model.set_caps("owner", name, *caps, last)
            model.set_fee("owner", name, FEE_PERMILLE)
            model.pools[name].state = _stored(pool, model.pools[name].state)

    def fund(self, account: str, *, tokens: int = 0, usdt: int = 0) -> None:
        """Mint in both worlds; all contracts put so far may take any number of either."""
        for name, amount in (("token", tokens), ("usdt", usdt)):
            contract, at = getattr(self, name), self.addresses[account]
            if amount:
                contract.mint(at, amount, sender=self.owner)
                getattr(self.model, name).mint(account, amount)
            if isinstance(at, Account):
                for spender in self.contracts.values():
                    if contract.allowance(at, spender) == 0:
                        contract.approve(spender, 2**256 - 1, sender=at)

    def _gather_crowd(self, price: int) -> None:
        """Debts of the crowd, and lenders for the stated utilisation."""
        for account in (USDT_LENDERS, TOKEN_LENDERS, BORROWERS, SHORTERS, SWAPPER):
            self.fund(account, tokens=PLENTY, usdt=PLENTY)
        owed = CROWD * self.conditions.deposit
        owed_tokens = owed * PRICE_SCALE // price
        lent = owed * WAD // self.conditions.usdt_utilisation
        lent_tokens = owed_tokens * WAD // self.conditions.token_utilisation
        self.do("reverse", "deposit", USDT_LENDERS, lent, USDT_LENDERS)
        self.do("forward", "deposit", TOKEN_LENDERS, lent_tokens, TOKEN_LENDERS)
        collateral = owed_tokens * BACKING
        self.fund(BORROWERS, tokens=collateral)
        self.do("reverse", "supply_collateral", BORROWERS, collateral, BORROWERS)
        self.do("reverse", "borrow", BORROWERS, owed, BORROWERS, BORROWERS)
        self.fund(SWAPPER, usdt=2 * owed)
        margin = owed * BACKING
        self.fund(SHORTERS, usdt=margin)
        terms = (margin, owed_tokens, 0, 2**256 - 1, SHORTERS, SWAPPER, b"")
        self.do("forward", "open_short", SHORTERS, *terms)

        liquidity = owed * LIQUIDITY
        self.fund(PROVIDER, usdt=liquidity)
        self.do("perp", "add_liquidity", PROVIDER, liquidity, PROVIDER)

    def add_vault(
        self,
        name: str,
        parameters: CarryParameters,
        artifact: str | Artifact = "CarryVault",
        strategy: str | Artifact = "CarryStrategy",
    ) -> CarryVault:
        """A vault of both worlds, without a cap; the first one's strategy is all others' too."""
        if not self.vaults:
            self.blueprint = self.evm.deploy_blueprint(strategy)
        pools = self.contracts["reverse"], self.contracts["forward"], self.contracts["perp"]
        title = f"Carry vault, {name}"
        contract = self.evm.deploy(
            artifact, self.blueprint, *pools, astuple(parameters), title, name
        )
        vault = CarryVault(self.model, self.venue, parameters, name)
        self.model.parts += [vault.strategy, vault]
        self.vaults[name] = vault
        self.put(name, contract)
        self.addresses[vault.strategy.name] = contract.strategy()
        contract.set_limits(MAX_UINT128, MAX_UINT128, sender=self.owner)
        contract.set_swapper(self.swapper, b"", b"", sender=self.owner)
        vault.memory.cap = vault.strategy.memory.max_trade = MAX_UINT128
        vault.strategy.memory.swapper = SWAPPER
        return vault

    # -- time --

    def look(self, moment: Moment) -> None:
        """Move the model alone: `move` follows before anything is done."""
        model, price = self.model, moment.price_e36
        self.moment = moment
        model.now = moment.time
        prices = model.prices
        prices.lower = prices.upper = prices.liquidation = price
        prices.observed_at = moment.time
        model.funding = moment.average_wad, moment.observed_at
        self.venue.accruing = moment.accruing_wad, moment.time
        model.swappers[SWAPPER].price = price  # type: ignore[attr-defined]

    def move(self) -> None:
        """Bring time and feeds of the chain to where the model is."""
        moment, owner = self.moment, self.owner
        elapsed = moment.time - self.evm.timestamp
        if elapsed == 0 and self.transactions:
            return
        self.evm.warp(elapsed)
        self.feed.set(answer_of(moment.price_e36), sender=owner)
        self.swapper.set_terms(moment.price_e36, self.conditions.slippage, 0, sender=owner)
        self.averages.set_at(self.token, moment.average_wad, moment.observed_at, sender=owner)
        self.accruals.set(self.token, moment.accruing_wad, sender=owner)
        self.transactions += 4

    # -- calls --

    def do(self, name: str, function: str, caller: str, *args: Any) -> Any:
        """A call in both worlds, at the model's time. Raises StageError where they differ."""
        given = [self.addresses[each] if isinstance(each, str) else each for each in args]
        target = self.contracts[name]
        receipt = getattr(target, function).transact(*given, sender=self.addresses[caller])
        self.transactions += 1
        self.receipt = receipt
        self.model.block_number = receipt.block_number
        try:
            told = getattr(self.twin(name), function)(caller, *args)
        except PoolError as error:
            raise StageError(f"{name}.{function}: the model refuses it: {error}") from error
        self.model.events.clear()
        if receipt.return_value != told:
            raise StageError(f"{name}.{function}: {receipt.return_value}, model {told}")
        return told

    def twin(self, name: str) -> Any:
        """What of the model is called by that name."""
        if name in self.vaults:
            return self.vaults[name]
        return self.venue if name == "perp" else self.model.pools[name]

    # -- rates --

    def used(self, name: str) -> int:
        """Utilisation of a pool, WAD."""
        state = self.model.pools[name].accrued()
        return utilisation(state.debt_assets, state.all_assets)

    def hold_utilisation(self) -> None:
        """Lenders come or go where a pool has drifted away from what is stated."""
        for name, lender, wanted in (
            ("reverse", USDT_LENDERS, self.conditions.usdt_utilisation),
            ("forward", TOKEN_LENDERS, self.conditions.token_utilisation),
        ):
            if abs(self.used(name) - wanted) <= DRIFT:
                continue
            state = self.model.pools[name].accrued()
            change = state.debt_assets * WAD // wanted - state.all_assets
            if change > 0:
                self.do(name, "deposit", lender, change, lender)
            else:
                self.do(name, "withdraw", lender, -change, lender, lender)

    # -- comparing --

    def compare_totals(self) -> None:
        """All totals of pools and venue. Raises StageError."""
        for name, pool in self.model.pools.items():
            same(f"{name} pool", _stored(self.contracts[name], pool.state), pool.state)
        same("venue", tuple(self.contracts["perp"].state()), astuple(self.venue.memory.state))

    def compare(self, *, views: bool = True) -> None:
        """Totals, positions, shares, what vaults hold and, in `views`, what is due of them."""
        self.compare_totals()
        self._compare_positions()
        for name, vault in self.vaults.items():
            self._compare_vault(name, vault)
            if views:
                self._compare_views(name, vault)

    def _compare_positions(self) -> None:
        contract, memory = self.contracts["perp"], self.venue.memory
        for vault in self.vaults.values():
            name = vault.strategy.name
            position = tuple(contract.position(self.addresses[name]))
            same(f"{name}'s position", position, self.venue.position(name))
        if any(held.size == 0 and held.margin for held in memory.held.values()):
            raise StageError("a position without a size has margin")

    def _compare_vault(self, name: str, vault: CarryVault) -> None:
        contract, strategy = self.contracts[name], vault.strategy
        book = strategy.book()
        found = tuple(contract.holdings())
        expected = (
            book.price,
            book.idle,
            book.lent,
            book.collateral,
            book.debt,
            book.short,
            book.equity,
            book.cash,
        )
        same(f"{name}'s holdings", found, expected)
        same(f"{name}'s shares", contract.totalSupply(), vault.memory.total)

    def _compare_views(self, name: str, vault: CarryVault) -> None:
        contract, strategy = self.contracts[name], vault.strategy
        same(f"{name}'s tip", contract.tip(), vault.tip())
        same(f"{name} is due", contract.is_due(), strategy.is_due())
        same(f"{name}'s net carry", contract.net_carry(), strategy.net_carry())


def same(what: str, found: Any, expected: Any) -> None:
    """Raises StageError where contracts and model differ."""
    if found != expected:
        raise StageError(f"{what}: {found}, model {expected}")


def _stored(contract: Contract, like: Any) -> Any:
    """A pool's State as it is on chain."""
    state = contract.state()
    return type(like)(**{name: getattr(state, name) for name in like.__dataclass_fields__})
