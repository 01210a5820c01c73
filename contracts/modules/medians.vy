# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Medians of packed values
@license AGPL-3.0-only
@author Perpool
@notice A word holds four lanes of 64 bits, the lowest first. A lane is an unsigned value of 63
        bits, and 0 means that there is none; its highest bit is ignored. `_median_word` takes the
        median of four lanes at once.

@dev How four lanes are compared at once: with the highest bit of every lane of a set and that of b
     clear, (a | HIGH) - b borrows nothing from a neighbour, and keeps the highest bit of a lane
     exactly where a >= b there. Stretched over the lane, that bit selects a - b or 0, which is what
     has to move from a to b to put the two in order. No value of one lane can reach another,
     whatever a reporter puts there.

     ROUNDING
     Of an even number of values the median is the mean of the middle two, rounded down.
"""

LANE: constant(uint256) = 2**63 - 1
# the lowest bit of every lane, all value bits of every lane, the highest bit of every lane
ONES: constant(uint256) = 1 + 2**64 + 2**128 + 2**192
LANES: constant(uint256) = LANE * ONES
HIGH: constant(uint256) = 2**63 * ONES


@internal
@pure
def _excess(a: uint256, b: uint256) -> uint256:
    """
    @notice max(a - b, 0) in every lane; highest bits must be clear.
    """
    # neither subtraction borrows: see above; a stretched bit is 2**63 - 1
    difference: uint256 = unsafe_sub(a | HIGH, b)
    not_less: uint256 = difference & HIGH
    return difference & unsafe_sub(not_less, not_less >> 63)


@internal
@pure
def _median_of_five(a: uint256, b: uint256, c: uint256, d: uint256, e: uint256) -> uint256:
    """
    @notice The median of five values in every lane; highest bits must be clear. Of two pairs, the
            lesser of the lower ends and the greater of the upper ends have three values on one side
            of them and cannot be the median; it is the median of the three that are left.
    """
    # a lane gives up at most what it has, and takes at most up to the other's value: nothing
    # carries or borrows
    excess: uint256 = self._excess(a, b)
    low: uint256 = unsafe_sub(a, excess)
    high: uint256 = unsafe_add(b, excess)
    excess = self._excess(c, d)
    other_low: uint256 = unsafe_sub(c, excess)
    other_high: uint256 = unsafe_add(d, excess)
    low = unsafe_add(other_low, self._excess(low, other_low))
    high = unsafe_sub(high, self._excess(high, other_high))
    # the median of low, high and e
    excess = self._excess(low, high)
    low = unsafe_sub(low, excess)
    high = unsafe_add(high, excess)
    high = unsafe_sub(high, self._excess(high, e))
    return unsafe_add(high, self._excess(low, high))


@internal
@pure
def _median_word(words: uint256[15], count: uint256, least: uint256) -> uint256:
    """
    @notice The median of every lane over those of the first `count` words that have a value there;
            0 in a lane where fewer than `least` have one. `least` must be at least 1.
    """
    # the usual round: five reporters, all with a value in every lane
    if count == 5 and least <= 5:
        full: uint256 = HIGH
        for i: uint256 in range(5):
            # 2**63 - 1 and a value fit into a lane, and reach its highest bit unless the value is 0
            full &= unsafe_add(words[i] & LANES, LANES)
        if full == HIGH:
            return self._median_of_five(
                words[0] & LANES,
                words[1] & LANES,
                words[2] & LANES,
                words[3] & LANES,
                words[4] & LANES,
            )

    # any other: insert word after word into those before it, which are sorted lane by lane
    sorted: uint256[15] = empty(uint256[15])
    for i: uint256 in range(count, bound=15):
        high: uint256 = words[i] & LANES
        for j: uint256 in range(i, bound=15):
            excess: uint256 = self._excess(sorted[j], high)
            # as in `_median_of_five`
            sorted[j] = unsafe_sub(sorted[j], excess)
            high = unsafe_add(high, excess)
        sorted[i] = high

    result: uint256 = 0
    for lane: uint256 in range(4):
        offset: uint256 = 64 * lane
        # those without a value come first
        absent: uint256 = 0
        for i: uint256 in range(count, bound=15):
            if (sorted[i] >> offset) & LANE != 0:
                break
            absent += 1
        if absent + least > count:
            continue
        # the two in the middle of absent .. count - 1, the same one if their number is odd
        total: uint256 = (sorted[(absent + count - 1) // 2] >> offset) & LANE
        total += (sorted[(absent + count) // 2] >> offset) & LANE
        result |= (total // 2) << offset
    return result


@internal
@pure
def _median(values: DynArray[uint256, 15]) -> uint256:
    """
    @notice The median of whole words; at least one.
    """
    sorted: DynArray[uint256, 15] = values
    count: uint256 = len(values)
    for i: uint256 in range(1, count, bound=15):
        value: uint256 = sorted[i]
        position: uint256 = i
        for j: uint256 in range(i, bound=15):
            before: uint256 = sorted[i - 1 - j]
            if before <= value:
                break
            position = i - 1 - j
            sorted[position + 1] = before
        sorted[position] = value
    low: uint256 = sorted[(count - 1) // 2]
    return low + (sorted[count // 2] - low) // 2
