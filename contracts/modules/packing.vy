# pragma version 0.4.3
"""
@title Layout of the packed storage words
@license AGPL-3.0-only
@notice Where bits are placed and taken.
            halves   low 128 | high 128
            clock    updated_at 32 | funding_time 32 | funding 48 (signed, 1e-9) | flags 16
            short    collateral 96 | opened_block 32 | debt shares 128
        The clock is a low half; the debt shares of a position are in the high half on both pools.
        Of amounts, bounds are checked where they are packed, so that nothing is cut off silently; times and block
        numbers fit for as long as anybody needs.
"""
from contracts.modules import errors

MAX_UINT128: constant(uint256) = 2**128 - 1
FUNDING_UNIT: constant(int256) = 10**9
FUNDING_SIGN: constant(int256) = 2**47
MAX_UINT48: constant(uint256) = 2**48 - 1
MAX_UINT32: constant(uint256) = 2**32 - 1
MAX_UINT16: constant(uint256) = 2**16 - 1

PAUSED_FLAG: constant(uint256) = 1
HOOK_FLAG: constant(uint256) = 2
CAPPED_FLAG: constant(uint256) = 4
STANDARD_HOOK_FLAG: constant(uint256) = 8  # the hook is CONFIG.standard_hook
SWITCHES: constant(uint256) = 2**8 - 1  # the flags but for the fee
# the clock of a pool that knows no funding yet, but for the time
FIRST_CLOCK: constant(uint256) = (CAPPED_FLAG << 112) | (2**47 << 64)


@internal
@pure
def _pack_halves(low: uint256, high: uint256) -> uint256:
    if (low | high) >> 128 != 0:
        errors._too_large()
    return low | (high << 128)


@internal
@pure
def _with_time(clock: uint256, updated_at: uint256) -> uint256:
    return ((clock >> 32) << 32) | updated_at


@internal
@pure
def _with_funding(clock: uint256, funding_time: uint256, funding_wad: int256) -> uint256:
    """
    @param funding_time Below 2**32, which is so until 2106.
    @param funding_wad Becomes the nearest rate that fits: within +-2**47 - 1 units of 1e-9, the rest cut towards zero.
    """
    limit: int256 = FUNDING_SIGN - 1
    # the divisor is constant, and what is added makes it at least 1
    units: int256 = min(max(unsafe_div(funding_wad, FUNDING_UNIT), -limit), limit)
    kept: uint256 = clock & (MAX_UINT32 | (MAX_UINT16 << 112))
    return kept | (funding_time << 32) | (convert(unsafe_add(units, FUNDING_SIGN), uint256) << 64)


@internal
@pure
def _with_flags(clock: uint256, flags: uint256) -> uint256:
    return (clock & (2**112 - 1)) | (flags << 112)


@internal
@pure
def _clock_time(clock: uint256) -> uint256:
    return clock & MAX_UINT32


@internal
@pure
def _clock_funding_time(clock: uint256) -> uint256:
    return (clock >> 32) & MAX_UINT32


@internal
@pure
def _clock_funding(clock: uint256) -> int256:
    # 48 bits times 30
    return unsafe_mul(
        unsafe_sub(convert((clock >> 64) & MAX_UINT48, int256), FUNDING_SIGN), FUNDING_UNIT
    )


@internal
@pure
def _clock_flags(clock: uint256) -> uint256:
    return (clock >> 112) & MAX_UINT16


@internal
@pure
def _fee_of(clock: uint256, interest: uint256) -> uint256:
    """
    @notice The reserve's part of interest, at most 255/1000, rounded down.
    @param interest Below 2**128.
    """
    return unsafe_div(unsafe_mul(interest, self._clock_flags(clock) >> 8), 1000)


@internal
@pure
def _pack_short(collateral: uint256, opened_block: uint256, debt_shares: uint256) -> uint256:
    if collateral >> 96 != 0:
        errors._too_large()
    if debt_shares >> 128 != 0:
        errors._too_large()
    return collateral | (opened_block << 96) | (debt_shares << 128)


@internal
@pure
def _short_collateral(word: uint256) -> uint256:
    return word & (2**96 - 1)


@internal
@pure
def _short_block(word: uint256) -> uint256:
    return (word >> 96) & (2**32 - 1)
