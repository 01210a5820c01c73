"""Reference model of a liquidation's terms, the same for both pools.

D debt and C collateral in values of one unit (USDT), L = max_ltv:

    b = clamp(b0 + k * (LTV - liquidation_ltv), b0, b_cap), at most max(C / D - 1, b0)
    R = min((D - L * C) / (1 - L * (1 + b)), D, C / (1 + b))

The bonus is rounded down, R up, what a collateral can pay for down.
"""

from __future__ import annotations

from typing import NamedTuple

from perpool.reference.arithmetic import mul_div_down, mul_div_up, share_of_down, share_of_up, word
from perpool.reference.interest import LegParameters
from perpool.reference.wad import WAD


class Terms(NamedTuple):
    """What a liquidation may do at most."""

    repay: int
    """R, in value."""
    bonus: int
    """b in WAD."""
    exhausts: bool
    """Whether R takes all collateral and still leaves debt."""


def bonus(leg: LegParameters, debt_value: int, collateral_value: int) -> int:
    """b in WAD, rounded down; the debt is above zero."""
    ltv = mul_div_down(debt_value, WAD, max(collateral_value, 1))
    above = max(ltv - leg.liquidation_ltv, 0)
    wanted = leg.bonus_base + share_of_down(above, leg.bonus_slope)
    surplus = max(mul_div_down(collateral_value, WAD, debt_value) - WAD, 0)
    return min(max(min(wanted, leg.bonus_cap), leg.bonus_base), max(surplus, leg.bonus_base))


def terms(leg: LegParameters, debt_value: int, collateral_value: int, dust_value: int) -> Terms:
    """The terms of an unhealthy debt; whole where less than `dust_value` would be left."""
    b = bonus(leg, debt_value, collateral_value)
    most = min(debt_value, mul_div_down(collateral_value, WAD, WAD + b))
    excess = word(debt_value - share_of_down(collateral_value, leg.max_ltv))
    repay = mul_div_up(excess, WAD, WAD - share_of_up(WAD + b, leg.max_ltv))
    if repay >= most or debt_value - repay < dust_value:
        return Terms(most, b, most < debt_value)
    return Terms(repay, b, False)
