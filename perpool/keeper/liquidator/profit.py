"""What a liquidation brings, and which way of it to take. Pure; all I/O is the role's.

Amounts are in smallest units, prices scaled by 1e36, profits Decimals in whole USDT. What a way
brings comes from trying it on the newest block, so fees and slippage of the sale are in it:

    profit = USDT + tokens * the oracle's price - gas * (base fee + tip) * ether's price

Ways. A position of either pool can be liquidated by delivery: `Liquidator` sells the collateral and
repays; what is gained is in the pool's asset. A forward position can also be left to the pool's
own purchase, for a tip. Where the whole of what the terms allow does not pay, because the market
is too shallow for it, smaller parts may.

What is at stake. At the oracle's price a liquidation brings the bonus. That is known before it is
tried, and puts the large before the small, however many of those there are.

What is asked for. Whoever sees a transaction that would be content with its gas may move the market
around it and keep the rest. So it demands most of what was measured, and fails otherwise: it is
measured and sent anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import Enum

from perpool.keeper.liquidator.index import Leg, Moment, values
from perpool.keeper.model import Position
from perpool.reference import liquidation
from perpool.reference.arithmetic import MAX_UINT256, PRICE_SCALE
from perpool.reference.interest import LegParameters
from perpool.reference.wad import WAD

SIZES = 4
"""The whole of what may be repaid, and how often it is halved where it does not pay."""
LEAST_GAS = 150_000
"""Less than any way takes, which swaps and liquidates in one transaction: 176,000 to 264,000. What
is between leaves room for a market that is better than the oracle says."""
_WEI = Decimal(10**18)


class Way(Enum):
    """How a position is liquidated."""

    DELIVERY = "delivery"
    """Through `Liquidator`, which sells the collateral."""
    PURCHASE = "purchase"
    """By the forward pool's `liquidate_by_purchase`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a liquidation has to bring."""

    min_profit: Decimal = Decimal(1)
    """USDT, after gas."""
    bad_debt_loss: Decimal = Decimal(0)
    """USDT of gas that realising a bad debt may cost; 0 is never at a loss."""
    max_slippage: Decimal = Decimal("0.1")
    """Share of the measured gain that may be missing when it is mined."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a pool allows of an unhealthy position."""

    most: int
    """Of the asset that may be repaid."""
    is_bad: bool
    """Whether that takes all collateral and still leaves debt."""
    bonus: int
    """Of USDT, what is seized for it above its own worth at the oracle's price."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A way to liquidate so much."""

    way: Way
    max_repay: int
    """Of the asset; all that the terms allow where it is the largest number."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a proposal brought where it was tried."""

    usdt: int
    tokens: int

    def of_asset(self, leg: Leg) -> int:
        """The part that is in a pool's asset."""
        return self.usdt if leg is Leg.REVERSE else self.tokens


@dataclass(frozen=True, slots=True)
class Rates:
    """What values gains and gas at a moment."""

    price_e36: int
    usdt_unit: int
    """Smallest units in a USDT."""
    gas_price: int
    """Wei for one unit of gas."""
    ether_price: Decimal
    """USDT."""

    def gas_cost(self, gas: int) -> Decimal:
        """USDT."""
        return gas * self.gas_price / _WEI * self.ether_price

    def value(self, usdt: int, tokens: int) -> Decimal:
        """USDT."""
        return Decimal(usdt + tokens * self.price_e36 // PRICE_SCALE) / self.usdt_unit

    def in_asset(self, leg: Leg, usdt: Decimal) -> int:
        """USDT in units of a pool's asset, rounded up."""
        units = int((usdt * self.usdt_unit).to_integral_value(ROUND_CEILING))
        if leg is Leg.REVERSE:
            return units
        return -(-units * PRICE_SCALE // self.price_e36)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What a proposal is worth."""

    proposal: Proposal
    profit: Decimal
    """USDT, after gas."""
    gas_cost: Decimal
    repaid: Decimal
    """USDT of value."""
    gain: Gain
    """What was measured."""


def terms_of(leg: Leg, numbers: LegParameters, position: Position, moment: Moment) -> Terms:
    """As the pools have them, of a position that may be liquidated."""
    debt, collateral = values(leg, position, moment)
    if leg is Leg.REVERSE:
        found = liquidation.terms(numbers, debt, collateral, numbers.min_debt)
        return Terms(found.repay, found.exhausts, _worth(found))
    dust = -(-numbers.min_debt * moment.price_e36 // PRICE_SCALE) + 1
    found = liquidation.terms(numbers, debt, collateral, dust)
    owed = moment.debt_of(position)
    whole = found.repay == debt
    most = owed if whole else min(found.repay * PRICE_SCALE // moment.price_e36, owed)
    return Terms(most, found.exhausts, _worth(found))


def _worth(terms: liquidation.Terms) -> int:
    return terms.repay * terms.bonus // WAD


@dataclass(frozen=True, slots=True)
class Case:
    """A position that may be liquidated, as far as profit goes."""

    leg: Leg
    terms: Terms
    rates: Rates

    @property
    def proposals(self) -> list[list[Proposal]]:
        """At most `SIZES` of them, the largest first; those of one list are of the same size."""
        parts = [self.terms.most >> part for part in range(1, SIZES)]
        found = [[Proposal(Way.DELIVERY, each)] for each in (MAX_UINT256, *parts) if each > 0]
        if self.leg is Leg.FORWARD:
            found[0].append(Proposal(Way.PURCHASE, MAX_UINT256))
        return found

    @property
    def stake(self) -> Decimal:
        """USDT that all that the terms allow brings at the oracle's price, before gas."""
        return self.rates.value(self.terms.bonus, 0)

    def may_pay(self, policy: Policy) -> bool:
        """Whether it is worth trying: the bonus would pay even for the least gas."""
        return self.stake - self.rates.gas_cost(LEAST_GAS) >= self.required(policy)

    def appraise(self, proposal: Proposal, gain: Gain, gas_cost: Decimal) -> Appraisal:
        """What a proposal is worth."""
        repaid = min(proposal.max_repay, self.terms.most)
        worth = (repaid, 0) if self.leg is Leg.REVERSE else (0, repaid)
        value = self.rates.value
        profit = value(gain.usdt, gain.tokens) - gas_cost
        return Appraisal(proposal, profit, gas_cost, value(*worth), gain)

    def required(self, policy: Policy) -> Decimal:
        """USDT of profit that a proposal has to bring."""
        if self.terms.is_bad and policy.bad_debt_loss > 0:
            return -policy.bad_debt_loss
        return policy.min_profit

    def pays(self, appraisal: Appraisal, policy: Policy) -> bool:
        """Whether it does."""
        return appraisal.profit >= self.required(policy)

    def worth_its_gas(self, appraisal: Appraisal, policy: Policy) -> int:
        """Of the pool's asset: with less than that the transaction had better fail."""
        wanted = self.required(policy) + appraisal.gas_cost
        return self.rates.in_asset(self.leg, max(wanted, Decimal(0)))

    def least_gain(self, appraisal: Appraisal, policy: Policy) -> int:
        """The `min_profit` that `Liquidator` is told, of the pool's asset.

        What was measured but for the slippage, and never less than what is worth the gas; of a bad
        debt too, whose loss is the gas and not what anybody else may take.
        """
        kept = int((1 - policy.max_slippage) * WAD)
        measured = appraisal.gain.of_asset(self.leg) * kept // WAD
        return max(measured, self.worth_its_gas(appraisal, policy))
