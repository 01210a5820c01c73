# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Realised volatility
@license AGPL-3.0-only
@author Perpool
@notice An average of squared log returns a year and its square root, out of one storage word.

@dev Every observation adds ln(p / p0)**2 * YEAR / dt with weight 1 - exp(-dt / WINDOW), or
     dt / (time covered) while that is more: the plain mean at first, an EWMA after. For a price
     without memory the expected average is the same however often and whenever one looks, so
     observers cannot bias it, only make it noisier; SPACING limits that. It is unknown until a
     whole WINDOW is covered, and while the last observation is older than SILENCE. A gap longer
     than WINDOW starts it anew.

     ROUNDING
     Squared returns, averages and the square root are rounded up.
"""

from snekmate.utils import math

WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86400
# seconds
WINDOW: constant(uint256) = 72 * 3600
SPACING: constant(uint256) = 1800
SILENCE: constant(uint256) = 12 * 3600

# The word, from its lowest bit: time of the last observation 40 | time covered 24, at most
# COVERED_MASK | volatility in 1e-9 40 | variance in WAD 80 | logarithm of the last price 72, of
# price_e36 / 1e18 in WAD plus LOG_BIAS. 0 before the first.
TIME_MASK: constant(uint256) = 2**40 - 1
COVERED_MASK: constant(uint256) = 2**24 - 1
VOLATILITY_MASK: constant(uint256) = 2**40 - 1
VARIANCE_MASK: constant(uint256) = 2**80 - 1
COVERED_SHIFT: constant(uint256) = 40
VOLATILITY_SHIFT: constant(uint256) = 64
VARIANCE_SHIFT: constant(uint256) = 104
LOG_SHIFT: constant(uint256) = 184
# ln(1e-18) is -41.4
LOG_BIAS: constant(int256) = 42 * 10**18
# the square root of a WAD is in 1e-9
VOLATILITY_UNIT: constant(uint256) = 10**9
LARGEST_VARIANCE: constant(uint256) = (2**40 - 1)**2

_observations: uint256


@external
@view
@reentrant
def volatility() -> uint256:
    """
    @notice WAD a year; max_value(uint256) where it is unknown.
    """
    return self._volatility()


@internal
@view
def _volatility() -> uint256:
    word: uint256 = self._observations
    covered: uint256 = (word >> COVERED_SHIFT) & COVERED_MASK
    if covered < WINDOW or block.timestamp > (word & TIME_MASK) + SILENCE:
        return max_value(uint256)
    return ((word >> VOLATILITY_SHIFT) & VOLATILITY_MASK) * VOLATILITY_UNIT


@internal
@view
def _is_too_soon() -> bool:
    return block.timestamp < (self._observations & TIME_MASK) + SPACING


@internal
def _observe(price_e36: uint256) -> (uint256, uint256):
    """
    @notice Take a price, at least 1 and below 2**187, not too soon. Returns variance and
            volatility in WAD.
    """
    word: uint256 = self._observations
    elapsed: uint256 = block.timestamp - (word & TIME_MASK)
    log_price: int256 = math._wad_ln(convert(price_e36, int256)) + LOG_BIAS
    covered: uint256 = 0
    variance: uint256 = 0
    # otherwise there is nothing to compare with: the first, or the first after a gap
    if word != 0 and elapsed <= WINDOW:
        covered = min(((word >> COVERED_SHIFT) & COVERED_MASK) + elapsed, COVERED_MASK)
        variance = self._fold(
            (word >> VARIANCE_SHIFT) & VARIANCE_MASK,
            log_price - convert(word >> LOG_SHIFT, int256),
            elapsed,
            covered,
        )
    volatility_units: uint256 = isqrt(variance)
    if volatility_units * volatility_units < variance:
        volatility_units += 1
    self._observations = (
        block.timestamp
        | (covered << COVERED_SHIFT)
        | (volatility_units << VOLATILITY_SHIFT)
        | (variance << VARIANCE_SHIFT)
        | (convert(log_price, uint256) << LOG_SHIFT)
    )
    return variance, volatility_units * VOLATILITY_UNIT


@internal
@pure
def _fold(variance: uint256, log_return: int256, elapsed: uint256, covered: uint256) -> uint256:
    """
    @notice The variance after another return, rounded up.
    @param covered seconds, with the return's own
    """
    decay: uint256 = convert(math._wad_exp(-convert(elapsed * WAD // WINDOW, int256)), uint256)
    weight: uint256 = max(WAD - decay, elapsed * WAD // covered)
    # a return is below 2**68, its square times a year below 2**161
    square: uint256 = convert(log_return * log_return, uint256)
    sample: uint256 = min(math._ceil_div(square * YEAR, elapsed * WAD), LARGEST_VARIANCE)
    return math._ceil_div(variance * (WAD - weight) + sample * weight, WAD)
