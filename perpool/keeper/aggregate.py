"""From what venues say to what reporters sign."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpool.keeper.model import Observation, Values


def median(values: Sequence[Decimal]) -> Decimal:
    """The middle value, or the mean of the middle two.

    Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values, no median")
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2


def aggregate(observation: Observation, min_venues: int) -> Values:
    """Medians over the venues; None where fewer than `min_venues` have a value."""
    funding = [each.funding.annual for each in observation.readings if each.funding is not None]
    prices = [each.price for each in observation.readings if each.price is not None]
    return Values(
        observation.market,
        median(funding) if len(funding) >= max(min_venues, 1) else None,
        median(prices) if len(prices) >= max(min_venues, 1) else None,
    )
