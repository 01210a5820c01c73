# pragma version 0.4.3
"""
@title Words of a reward programme and of an account in it
@license AGPL-3.0-only
@author Perpool
@notice Where bits are placed and taken, and what time does to them. Lowest bits first:
            programme  weight 72 | updated_at 32 | left 32 | rate 16 << 7 | exponent of the unit 7 | more 1 | 0 | index 88
            account    weight 72 | earned 96 | index 88
        Rewards are counted in 1e-18 of a whole token, weights in units of shares. The index is what a weight of 1 has earned
        since the start, in 2**-16 of that, modulo 2**88: an account earns by the difference to the index it was last seen at.
@dev ROUNDING. All down, so that no more is earned than streamed: a step of the index leaves less than 2**-16 for each
     weight of 1, an account's share less than 1e-18 of a token. A rate has 16 significant bits.
"""

MAX_WEIGHT: constant(uint256) = 2**72 - 1
MAX_INDEX: constant(uint256) = 2**88 - 1
MAX_TIME: constant(uint256) = 2**32 - 1
MAX_EARNED: constant(uint256) = 2**96 - 1
# seconds left, and rate
STREAM: constant(uint256) = (2**55 - 1) << 104
# whether its side of the source has a next programme
MORE: constant(uint256) = 1 << 166


@internal
@pure
def _first(unit_exponent: uint256, now: uint256) -> uint256:
    """
    @notice A programme that nobody has funded yet. Its word is not 0.
    """
    return (now << 72) | (unit_exponent << 159)


# --- what is in a word


@internal
@pure
def _weight(word: uint256) -> uint256:
    return word & MAX_WEIGHT


@internal
@pure
def _earned(account: uint256) -> uint256:
    return (account >> 72) & MAX_EARNED


@internal
@pure
def _updated_at(programme: uint256) -> uint256:
    return (programme >> 72) & MAX_TIME


@internal
@pure
def _left(programme: uint256) -> uint256:
    """
    @return Seconds that the stream has still to go.
    """
    return (programme >> 104) & MAX_TIME


@internal
@pure
def _rate(programme: uint256) -> uint256:
    """
    @return Below 2**143.
    """
    return ((programme >> 136) & (2**16 - 1)) << ((programme >> 152) & (2**7 - 1))


@internal
@pure
def _unit_exponent(programme: uint256) -> uint256:
    return (programme >> 159) & (2**7 - 1)


@internal
@pure
def _unstreamed(programme: uint256) -> uint256:
    """
    @notice What is still to come after the word's time.
    """
    return self._rate(programme) * self._left(programme)


# --- time


@internal
@pure
def _advance(programme: uint256, now: uint256) -> uint256:
    """
    @notice The word as of now. Time in which nobody is there does not pass for the stream.
    @dev Every operation of a source pays for this, so the fields are read in place.
    """
    # time does not go backwards, and has 32 bits until 2106
    elapsed: uint256 = unsafe_sub(now, (programme >> 72) & MAX_TIME)
    advanced: uint256 = unsafe_add(programme, elapsed << 72)
    weight: uint256 = programme & MAX_WEIGHT
    if weight == 0:
        return advanced
    left: uint256 = (programme >> 104) & MAX_TIME
    if elapsed > left:
        elapsed = left
    rate: uint256 = ((programme >> 136) & (2**16 - 1)) << ((programme >> 152) & (2**7 - 1))
    # no more passes than is left; a rate of at most 143 bits leaves room for 32 + 16 more; the weight is not 0; and the
    # index has the highest bits, where it wraps
    return unsafe_add(
        unsafe_sub(advanced, elapsed << 104),
        unsafe_div(unsafe_mul(rate, elapsed) << 16, weight) << 168,
    )


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
    left: uint256 = 0
    if mantissa > 0:
        left = amount // (mantissa << exponent)
    return (programme & ~STREAM) | (left << 104) | (mantissa << 136) | (exponent << 152)


# --- accounts


@internal
@pure
def _settle(account: uint256, programme: uint256) -> uint256:
    """
    @notice The account's word at the programme's index, with what it has earned until there.
    @dev The difference of two indices is right while it is below 2**88, and less than what is right beyond. Times a weight it has
         160 bits. What an account has earned has 96: the weights of all accounts are the programme's, so together they earn no
         more than was streamed, and a programme never holds more than 96 bits.
    """
    since: uint256 = unsafe_sub(programme >> 168, account >> 168) & MAX_INDEX
    earned: uint256 = unsafe_mul(account & MAX_WEIGHT, since) >> 16
    return unsafe_add(account, (since << 168) | (earned << 72))


@internal
@pure
def _with_earned(account: uint256, earned: uint256) -> uint256:
    """
    @param earned At most 2**96 - 1.
    """
    return (account & ~(MAX_EARNED << 72)) | (earned << 72)
