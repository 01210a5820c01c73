"""Reference model of interest: a kinked base rate, a premium for funding, a Taylor series.

    base(u)  = r0 + slope1 * min(u, kink) / kink + slope2 * max(u - kink, 0) / (1 - kink)
    premium  = pass_through * max(direction * F, 0)
    borrow   = min(base + premium, cap)

Rates are simple annual rates in WAD, debts in the asset's smallest unit, times in seconds. Rates
are rounded down term by term, the exponent and the interest up.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpool.reference.arithmetic import mul_div_down, mul_div_up, share_of_down
from perpool.reference.wad import WAD

YEAR = 365 * 86_400


@dataclass(frozen=True)
class LegParameters:
    """The numbers of one leg that never change, in the order of `IPool.LegParameters`.

    WAD, except `funding_max_age` in seconds and `min_debt` in the asset's smallest unit.
    """

    base_rate: int
    slope1: int
    slope2: int
    kink: int
    rate_cap: int
    pass_through: int
    funding_max_age: int
    max_ltv: int
    stressed_ltv: int
    liquidation_ltv: int
    bonus_base: int
    bonus_slope: int
    bonus_cap: int
    max_slippage: int
    min_debt: int
    reserve_floor: int


def utilisation(debt: int, assets: int) -> int:
    """Debt over assets in WAD, rounded down; 0 for an empty pool."""
    return mul_div_down(debt, WAD, assets) if assets else 0


def base_rate(leg: LegParameters, used: int) -> int:
    """The rate at a utilisation, each term rounded down."""
    if used <= leg.kink:
        return leg.base_rate + mul_div_down(leg.slope1, used, leg.kink)
    above = mul_div_down(leg.slope2, used - leg.kink, WAD - leg.kink)
    return leg.base_rate + leg.slope1 + above


def premium(leg: LegParameters, directed_funding: int) -> int:
    """The lenders' part of funding that borrowers of the leg collect, rounded down.

    `directed_funding` is direction * F: what a borrower of the leg collects when positive.
    """
    return share_of_down(max(directed_funding, 0), leg.pass_through)


def borrow_rate(leg: LegParameters, used: int, directed_funding: int) -> int:
    """The rate that borrowers pay, never above the cap. Pass no funding once it has expired."""
    return min(base_rate(leg, used) + premium(leg, directed_funding), leg.rate_cap)


def growth(rate: int, elapsed: int) -> int:
    """e**x - 1 to the third order in WAD, x = rate * elapsed / year.

    x is rounded up, the second and third terms down.
    """
    x = mul_div_up(rate, elapsed, YEAR)
    return x + x * x // (2 * WAD) + x * x * x // (6 * WAD * WAD)


def interest(debt: int, rate: int, elapsed: int) -> int:
    """What a debt grows by, rounded up."""
    return mul_div_up(debt, growth(rate, elapsed), WAD)
