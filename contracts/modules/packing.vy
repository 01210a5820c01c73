# pragma version 0.4.3
"""
@title Layout of the packed storage words
@license AGPL-3.0-only
@notice The only place where bits are placed and taken.
            halves   low 128 | high 128
            clock    updated_at 32 | funding_time 32 | funding 48 (signed, 1e-9) | flags 16 | reserve shares 128
            short    collateral 96 | opened_block 32 | debt shares 128
        The debt shares of a position are in the high half on both pools.
        Bounds are checked where a value is packed; nothing is ever cut off silently.
"""
from contracts.modules import errors

MAX_UINT128: constant(uint256) = 2**128 - 1
FUNDING_UNIT: constant(int256) = 10**9
FUNDING_SIGN: constant(int256) = 2**47
FUNDING_RANGE: constant(uint256) = 2**48

PAUSED_FLAG: constant(uint256) = 1
HOOK_FLAG: constant(uint256) = 2
CAPPED_FLAG: constant(uint256) = 4


@internal
@pure
def _pack_halves(low: uint256, high: uint256) -> uint256:
    if (low | high) >> 128 != 0:
        errors._too_large()
    return low | (high << 128)


@internal
@pure
def _pack_clock(
    updated_at: uint256,
    funding_time: uint256,
    funding_wad: int256,
    flags: uint256,
    reserve_shares: uint256,
) -> uint256:
    """
    @param updated_at, funding_time Below 2**32, which is so until 2106.
    @param funding_wad As `_cut_funding` gives it.
    @param reserve_shares At most all shares, which fit 128 bits.
    """
    funding: uint256 = convert(funding_wad // FUNDING_UNIT + FUNDING_SIGN, uint256)
    return (
        updated_at
        | (funding_time << 32)
        | (funding << 64)
        | (flags << 112)
        | (reserve_shares << 128)
    )


@internal
@pure
def _unpack_funding(clock: uint256) -> int256:
    return (convert((clock >> 64) & (FUNDING_RANGE - 1), int256) - FUNDING_SIGN) * FUNDING_UNIT


@internal
@pure
def _unpack_flags(clock: uint256) -> uint256:
    return (clock >> 112) & (2**16 - 1)


@internal
@pure
def _cut_funding(funding_wad: int256) -> int256:
    """
    @notice The nearest rate that fits the clock word: within +-2**47 - 1 units of 1e-9, the rest cut towards zero.
    """
    limit: int256 = FUNDING_SIGN - 1
    return min(max(funding_wad // FUNDING_UNIT, -limit), limit) * FUNDING_UNIT


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
