# pragma version 0.4.3
"""
@title Words of a reward programme and of an account in it
@license AGPL-3.0-only
@author Perpool
@notice Where bits are placed and taken, and what time does to them. Lowest bits first:
            programme  weight 72 | index 88 | updated_at 32 | ends_at 32 | rate 16 << 7 | exponent of the unit 7 | side 1 | more 1
            account    weight 72 | index 88 | earned 96
        Rewards are counted in 1e-18 of a whole token, weights in units of shares. The index is what a weight of 1 has earned
        since the start, in 2**-16 of that, modulo 2**88: an account earns by the difference to the index it was last seen at.
@dev ROUNDING. All down, so that no more is earned than streamed: a step of the index leaves less than 2**-16 for each
     weight of 1, an account's share less than 1e-18 of a token. A rate has 16 significant bits.
"""

MAX_WEIGHT: constant(uint256) = 2**72 - 1
MAX_INDEX: constant(uint256) = 2**88 - 1
MAX_TIME: constant(uint256) = 2**32 - 1
MAX_EARNED: constant(uint256) = 2**96 - 1
# what never changes but for `more`
FACTS: constant(uint256) = (2**9 - 1) << 247
BORROWERS: constant(uint256) = 1 << 254
# whether the source has a next programme
MORE: constant(uint256) = 1 << 255


@internal
@pure
def _first(unit_exponent: uint256, of_borrowers: bool, now: uint256) -> uint256:
    """
    @notice A programme that nobody has funded yet. Its word is not 0.
    """
    word: uint256 = (now << 160) | (now << 192) | (unit_exponent << 247)
    if of_borrowers:
        word |= BORROWERS
    return word


# --- what is in a word


@internal
@pure
def _weight(word: uint256) -> uint256:
    return word & MAX_WEIGHT


@internal
@pure
def _index(word: uint256) -> uint256:
    return (word >> 72) & MAX_INDEX


@internal
@pure
def _earned(account: uint256) -> uint256:
    return account >> 160


@internal
@pure
def _updated_at(programme: uint256) -> uint256:
    return (programme >> 160) & MAX_TIME


@internal
@pure
def _ends_at(programme: uint256) -> uint256:
    return (programme >> 192) & MAX_TIME


@internal
@pure
def _rate(programme: uint256) -> uint256:
    """
    @return Below 2**143.
    """
    return ((programme >> 224) & (2**16 - 1)) << ((programme >> 240) & (2**7 - 1))


@internal
@pure
def _unit_exponent(programme: uint256) -> uint256:
    return (programme >> 247) & (2**7 - 1)


# --- time


@internal
@pure
def _advance(programme: uint256, now: uint256) -> uint256:
    """
    @notice The word as of now. Time in which nobody is there does not pass for the stream: it ends later by as much.
    """
    updated_at: uint256 = (programme >> 160) & MAX_TIME
    if updated_at == now:
        return programme
    ends_at: uint256 = (programme >> 192) & MAX_TIME
    index: uint256 = (programme >> 72) & MAX_INDEX
    weight: uint256 = programme & MAX_WEIGHT
    if updated_at < ends_at:
        # time does not go backwards, and a rate of at most 143 bits leaves room for 32 + 16 more
        if weight == 0:
            ends_at = min(unsafe_add(now, unsafe_sub(ends_at, updated_at)), MAX_TIME)
        else:
            streamed: uint256 = unsafe_mul(
                self._rate(programme), unsafe_sub(min(now, ends_at), updated_at)
            )
            index = unsafe_add(index, (streamed << 16) // weight) & MAX_INDEX
    return (((programme >> 224) << 224) | (ends_at << 192) | (now << 160) | (index << 72) | weight)


@internal
@pure
def _unstreamed(programme: uint256) -> uint256:
    """
    @notice What is still to come after the word's time.
    """
    updated_at: uint256 = self._updated_at(programme)
    ends_at: uint256 = self._ends_at(programme)
    if ends_at <= updated_at:
        return 0
    return self._rate(programme) * (ends_at - updated_at)


@internal
@pure
def _with_stream(programme: uint256, amount: uint256, duration: uint256) -> uint256:
    """
    @notice Streams `amount` from the word's time on, at the largest rate of 16 significant bits that takes at least
            `duration`, for as many whole seconds as the amount lasts.
    @param amount At most 2**96 - 1; 0 for no stream.
    """
    exact: uint256 = amount // duration
    exponent: uint256 = 0
    for _: uint256 in range(96):
        if exact >> exponent < 2**16:
            break
        exponent += 1
    mantissa: uint256 = exact >> exponent
    updated_at: uint256 = self._updated_at(programme)
    ends_at: uint256 = updated_at
    if mantissa > 0:
        ends_at += amount // (mantissa << exponent)
    kept: uint256 = programme & (FACTS | (2**192 - 1))
    return kept | (ends_at << 192) | (mantissa << 224) | (exponent << 240)


# --- accounts


@internal
@pure
def _settle(account: uint256, index: uint256, weight: uint256) -> uint256:
    """
    @notice The account's word at the programme's index, with what it has earned until there.
    @param weight From now on; at most 2**72 - 1.
    @dev The difference of two indices is right while it is below 2**88, and less than what is right beyond. Times a weight it has
         160 bits.
    """
    since: uint256 = unsafe_sub(index, account >> 72) & MAX_INDEX
    earned: uint256 = unsafe_add(account >> 160, unsafe_mul(account & MAX_WEIGHT, since) >> 16)
    return weight | (index << 72) | (min(earned, MAX_EARNED) << 160)


@internal
@pure
def _with_earned(account: uint256, earned: uint256) -> uint256:
    """
    @param earned At most 2**96 - 1.
    """
    return (account & (2**160 - 1)) | (earned << 160)
