"""From what venues say to what reporters sign."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpool.keeper.model import Consensus, Observation, Values


def median(values: Sequence[Decimal]) -> Decimal:
    """The middle value, or the mean of the middle two.

    Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values, no median")
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2


def consensus(values: Sequence[Decimal], min_venues: int) -> Consensus | None:
    """Median and spread of one value a venue; None where there are fewer than `min_venues`."""
    if len(values) < max(min_venues, 1):
        return None
    return Consensus(median(values), max(values) - min(values), len(values))


def aggregate(observation: Observation, min_venues: int) -> Values:
    """What the venues agree on: annual funding rate and price, each of those that have it."""
    readings = observation.readings
    return Values(
        observation.market,
        consensus([each.funding.annual for each in readings if each.funding], min_venues),
        consensus([each.price for each in readings if each.price is not None], min_venues),
    )
