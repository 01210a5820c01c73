"""Parameters of carry vaults that `perpool replay` has tried on recorded history."""

from __future__ import annotations

from perpool.reference.targets import CarryParameters

_POINT = 10**16
KEEP = CarryParameters(
    hedge_ratio=30 * _POINT,
    margin_ratio=50 * _POINT,
    margin_band=5 * _POINT,
    hedge_band=5 * _POINT,
    ltv_ceiling=50 * _POINT,
    ltv_band=2 * _POINT,
    may_sell=False,
    enter_rate=20 * _POINT,
    leave_rate=5 * _POINT,
    min_stay=72 * 3_600,
    worst_carry=55 * _POINT,
    max_slippage=1 * _POINT,
    tip_rate=_POINT // 10,
)
"""Keeps most of the upside: a third is hedged, and gives way before tokens are sold."""
NEUTRAL = CarryParameters(
    hedge_ratio=100 * _POINT,
    margin_ratio=50 * _POINT,
    margin_band=5 * _POINT,
    hedge_band=5 * _POINT,
    ltv_ceiling=55 * _POINT,
    ltv_band=2 * _POINT,
    may_sell=True,
    enter_rate=20 * _POINT,
    leave_rate=5 * _POINT,
    min_stay=72 * 3_600,
    worst_carry=60 * _POINT,
    max_slippage=1 * _POINT,
    tip_rate=_POINT // 10,
)
"""Worth the same in USDT whatever the price: all is hedged, and tokens are sold to hold that."""
PRESETS = {"keep": KEEP, "neutral": NEUTRAL}
