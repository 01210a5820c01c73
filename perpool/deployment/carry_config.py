"""The sections of a configuration that are about carry vaults: a venue of ours, and the vaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from perpool.reference.presets import PRESETS
from perpool.reference.targets import CarryParameters
from perpool.settings import (
    Address,
    Amount,
    Cap,
    Duration,
    Percent,
    Section,
    percent_text,
)

VAULT_NAME = r"[a-z0-9]{1,12}"
TAKEN_NAMES = frozenset({"reverse", "forward", "venue", "price_feed", "price_oracle", "strategy"})
"""What else is recorded under a market's symbol."""
_PARAMETERS = tuple(CarryParameters.__dataclass_fields__)
_WAD = 10**18
_POINT = _WAD // 100
_DAY = 86_400
_YEAR = 365 * _DAY


@dataclass(frozen=True)
class VenueTerms:
    """What a vault's parameters are held against; WAD, of the notional."""

    initial_margin: int
    maintenance_margin: int
    fee: int


class Venue(Section):
    """A `PerpVenue` of this deployment, for test networks.

    IPerpMarket.Parameters has the same names and their meaning.
    """

    initial_margin: Percent = Decimal("0.1")
    maintenance_margin: Percent = Decimal("0.05")
    fee: Percent = Decimal("0.0005")
    fee_to_insurance: Percent = Decimal("0.2")
    penalty: Percent = Decimal("0.02")
    penalty_to_caller: Percent = Decimal("0.5")
    largest_long_gain: Percent = Decimal(1)
    exposure_cap: Amount
    funding_max_age: Duration = _DAY
    adl_horizon: Duration = _DAY
    delay_blocks: int = Field(default=0, ge=0, le=1000)

    liquidity: Amount = Decimal(0)
    """USDT, minted and given by who deploys."""

    @property
    def terms(self) -> VenueTerms:
        """For vaults."""
        fractions = (self.initial_margin, self.maintenance_margin, self.fee)
        return VenueTerms(*(int(each * _WAD) for each in fractions))

    def faults(self) -> list[str]:
        # contracts/modules/perp/terms.vy
        faults = []
        if not 0 < self.maintenance_margin < self.initial_margin <= 1:
            faults.append("0% < maintenance_margin < initial_margin <= 100% has to hold")
        for name, most in (
            ("fee", self.maintenance_margin),
            ("fee_to_insurance", Decimal(1)),
            ("penalty", self.maintenance_margin),
            ("penalty_to_caller", Decimal(1)),
        ):
            faults += _outside(name, getattr(self, name), most)
        if not Decimal("0.1") <= self.largest_long_gain <= 10:
            faults.append("largest_long_gain has to be between 10% and 1000%")
        if self.exposure_cap == 0:
            faults.append("exposure_cap has to be above 0")
        if not 0 < self.funding_max_age <= 7 * _DAY:
            faults.append("funding_max_age has to be above 0 and at most 7d")
        if not 0 < self.adl_horizon <= 30 * _DAY:
            faults.append("adl_horizon has to be above 0 and at most 30d")
        return faults


class Vault(Section):
    """A carry vault: a preset, and what is to be other than in it.

    ICarryVault.Parameters has the same names and their meaning; they never change.
    """

    preset: Literal["keep", "neutral"]
    venue: Address | None = None
    """Of others; without it the market's own."""

    hedge_ratio: Percent | None = None
    margin_ratio: Percent | None = None
    margin_band: Percent | None = None
    hedge_band: Percent | None = None
    ltv_ceiling: Percent | None = None
    ltv_band: Percent | None = None
    may_sell: bool | None = None
    enter_rate: Percent | None = None
    leave_rate: Percent | None = None
    min_stay: Duration | None = None
    worst_carry: Percent | None = None
    max_slippage: Percent | None = None
    tip_rate: Percent | None = None

    cap: Cap
    """On all assets, in tokens."""
    max_trade: Amount
    """USDT that an order or a swap of one call may be worth."""
    rewards: bool = False
    """Whether the reward stream hears of its shares."""

    @property
    def parameters(self) -> CarryParameters:
        """As the contract takes them: WAD and seconds."""
        units: dict[str, Any] = {each: self._units(each) for each in _PARAMETERS}
        return CarryParameters(**units)

    def _units(self, name: str) -> int:
        given = getattr(self, name)
        if isinstance(given, Decimal):
            return int(given * _WAD)
        units: int = getattr(PRESETS[self.preset], name) if given is None else given
        return units

    @property
    def _margin_share(self) -> int:
        """Margin of a whole hedge, of the tokens' value; rounded up."""
        return -(-self._units("margin_ratio") * self._units("hedge_ratio") // _WAD)

    # contracts/modules/carry/rules.vy, each with its remedy

    def faults_of_signs(self) -> Iterator[str]:
        """Nothing is negative."""
        for name in _PARAMETERS:
            if self.__dict__.get(name) is not None and self.__dict__[name] < 0:
                yield f"{name}: may not be negative"

    def faults_of_the_hedge(self) -> Iterator[str]:
        """How far it goes and what it is allowed to drift."""
        if not 0 < self._units("hedge_ratio") <= 2 * _WAD:
            yield "hedge_ratio: has to be above 0% and at most 200%"
        if not 0 < self._units("hedge_band") < _WAD:
            yield "hedge_band: has to be above 0% and below 100%"
        if self._units("margin_band") == 0:
            yield "margin_band: has to be above 0%"
        if self._units("margin_ratio") > _WAD:
            yield "margin_ratio: has to be at most 100%"

    def faults_of_the_debt(self) -> Iterator[str]:
        """What it comes to."""
        share, ceiling = self._margin_share, self._units("ltv_ceiling")
        if share > ceiling:
            yield (
                f"the margin of a whole hedge, margin_ratio * hedge_ratio = {_shown(share)}, is "
                "above ltv_ceiling: hedge less, or raise it"
            )
        if not self._units("may_sell"):
            needed = self._units("hedge_ratio") + share + 5 * _POINT
            if needed > ceiling:
                yield (
                    f"without may_sell, ltv_ceiling has to be {_shown(needed)} at least, which is "
                    "hedge_ratio * (1 + margin_ratio) and 5%: hedge less, or let it sell"
                )

    def faults_of_switching(self) -> Iterator[str]:
        """When it changes sides."""
        if self._units("leave_rate") >= self._units("enter_rate"):
            yield "leave_rate has to be below enter_rate"
        if self._units("min_stay") > 90 * _DAY:
            yield "min_stay: has to be at most 90d"

    def faults_of_costs(self) -> Iterator[str]:
        """What others get."""
        if not 0 < self._units("max_slippage") <= 5 * _POINT:
            yield "max_slippage: has to be above 0% and at most 5%"
        if self._units("tip_rate") > _POINT:
            yield "tip_rate: has to be at most 1%"

    def pool_faults(
        self,
        stressed_ltv: Decimal,
        liquidation_ltv: Decimal,
        max_slippage: Decimal,
        full_rate: Decimal,
    ) -> Iterator[str]:
        """Against the numbers of the market's reverse pool."""
        ceiling = self._units("ltv_ceiling")
        if ceiling > stressed_ltv * _WAD:
            yield (
                "ltv_ceiling is above the reverse pool's stressed_ltv, "
                f"{percent_text(stressed_ltv)}: in a storm the pool would not lend that"
            )
        if ceiling + self._units("ltv_band") + 5 * _POINT > liquidation_ltv * _WAD:
            yield (
                "ltv_ceiling + ltv_band has to be 5% below the reverse pool's liquidation_ltv, "
                f"{percent_text(liquidation_ltv)}: lower one of them"
            )
        if self._units("max_slippage") > max_slippage * _WAD:
            yield f"max_slippage is above the reverse pool's, {percent_text(max_slippage)}"
        dearest = -int(-(ceiling + self._units("ltv_band")) * full_rate // 1)
        if self._units("worst_carry") < dearest:
            yield (
                f"worst_carry has to be {_shown(dearest)} at least, what a debt of ltv_ceiling + "
                f"ltv_band costs at the reverse pool's {percent_text(full_rate)} of full "
                "utilisation: raise it, else anybody's borrowing ends a stay"
            )

    def venue_faults(self, venue: VenueTerms) -> Iterator[str]:
        """Against the venue's terms."""
        least = self._units("margin_band") + max(
            venue.maintenance_margin + 20 * _POINT, venue.initial_margin
        )
        if self._units("margin_ratio") < least:
            yield (
                f"margin_ratio has to be {_shown(least)} at least: margin_band, and the venue's "
                "initial margin or its maintenance margin and 20%"
            )
        between = self._units("enter_rate") - self._units("leave_rate")
        if between * self._units("min_stay") < 2 * _YEAR * venue.fee:
            yield (
                "what enter_rate is above leave_rate has to earn the venue's fee of opening and "
                f"closing, {_shown(2 * venue.fee)}, within min_stay: stay longer"
            )


def _outside(name: str, value: Decimal, most: Decimal) -> list[str]:
    if 0 <= value <= most:
        return []
    return [f"{name} is {percent_text(value)}, and has to be between 0% and {percent_text(most)}"]


def _shown(fraction_wad: int) -> str:
    return percent_text(Decimal(fraction_wad) / _WAD)
