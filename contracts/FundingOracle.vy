# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Funding oracle
@license AGPL-3.0-only
@author Perpool
@notice Annualised perp funding of many tokens, by a quorum of reporters. A token's median is held
        by its bounds and folded into an exponential moving average,
            ema += (median - ema) * (1 - exp(-dt / tau)),
        which starts at the first median. Past rounds are events; here is one storage word a token.

@dev ASSUMPTIONS
     Those of `reports`. A leaked quorum moves a token's EMA towards a bound and no further, most of
     the way within a few tau; the pools' cap on rates holds what it does there. Owners keep bounds
     as wide as real funding (extreme settlements are beyond +-500 % a year).

     LIVENESS
     A round updates whichever tokens it can: one with fewer values than the quorum, one whose last
     round is as new or newer, and one that was never set are skipped, the rest go on. A token named
     twice is updated once. Without rounds an EMA stays as it is; its readers see its time and judge
     its age.

     ROLES
     The owner sets reporters, quorum, and each token's bounds and tau. Anyone submits.

     ROUNDING
     Rates are integers of 1e-9, medians rounded down (`medians`), EMAs to the nearest, halves up:
     an EMA comes to rest within tau / (2 * dt) units of 1e-9 of a steady median. exp(-dt / tau) is
     snekmate's, to 1e-18.
"""

from contracts.modules import medians
from contracts.modules import oracle_errors as errors
from contracts.modules import reports
from interfaces import IFundingOracle
from interfaces import IReports
from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.utils import math

implements: IFundingOracle
implements: IReports

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: reports[ownable := ownable]

exports: (
    # two-step ownership; never given up, since reporters must stay replaceable
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    reports.reporters,
    reports.is_reporter,
    reports.quorum,
    reports.max_report_age,
    reports.set_reporters,
    reports.DOMAIN_SEPARATOR,
)

WAD: constant(uint256) = 10**18
# WAD in one unit of a packed rate
RATE_UNIT: constant(int256) = 10**9
# a packed rate is this much more than the rate in units; 0 is no rate
RATE_BIAS: constant(int256) = 2**47
LARGEST_BOUND: constant(int256) = 100_000 * 10**18
LEAST_TAU: constant(uint256) = 3600
LARGEST_TAU: constant(uint256) = 30 * 86400

# A feed's word, from its lowest bit: time of the last round 40 | tau 23 | clamped 1 | EMA 48 |
# median 48 | lower bound 48 | upper bound 48. Rates are packed as in a lane, so that no bound is 0:
# a word of 0 is a feed that was never set.
TIME_MASK: constant(uint256) = 2**40 - 1
TAU_MASK: constant(uint256) = 2**23 - 1
RATE_MASK: constant(uint256) = 2**48 - 1
TAU_SHIFT: constant(uint256) = 40
CLAMPED_SHIFT: constant(uint256) = 63
EMA_SHIFT: constant(uint256) = 64
MEDIAN_SHIFT: constant(uint256) = 112
LOWER_SHIFT: constant(uint256) = 160
UPPER_SHIFT: constant(uint256) = 208
# time and tau
CLOCK_MASK: constant(uint256) = 2**63 - 1
# what a round leaves as it is: tau and the bounds
SETTINGS_MASK: constant(uint256) = (TAU_MASK << TAU_SHIFT) | ((2**96 - 1) << LOWER_SHIFT)

_feeds: HashMap[address, uint256]


@deploy
def __init__(max_report_age: uint256):
    """
    @notice The deployer is the owner; reporters and feeds have yet to be set.
    @param max_report_age seconds a report may be old when it is submitted
    """
    ownable.__init__()
    ownable_2step.__init__()
    reports.__init__("Perpool FundingOracle", max_report_age)


@external
def submit(
    observed_at: uint256,
    tokens: DynArray[address, 64],
    values: Bytes[7680],
    seats: DynArray[IReports.Seat, 15],
) -> uint256:
    """
    @notice Take a round. Anyone may send it.
    @param observed_at the moment the reporters signed for, unix seconds
    @param tokens the list they signed
    @param values packed rates of those who take part, one after the other in the order of their
             seats
    @param seats one for each reporter, ascending: a signature, or the address of one who takes no
             part
    @return how many tokens were updated
    """
    # Longer than a function should be: handing the arrays to another would copy them each time.
    # `width` is what one reporter sends: a word for every four tokens.
    width: uint256 = (len(tokens) + 3) // 4 * 32
    count: uint256 = reports._count_signatures(seats)
    assert len(values) == count * width, errors.WRONG_LENGTH
    hashes: DynArray[bytes32, 15] = []
    for i: uint256 in range(count, bound=15):
        hashes.append(keccak256(slice(values, i * width, width)))
    # an array's encoding is two words (offset, length) and its elements, of which EIP-712 hashes
    # the elements
    tokens_hash: bytes32 = keccak256(slice(abi_encode(tokens), 64, 32 * len(tokens)))
    quorum: uint256 = reports._check_quorum(observed_at, tokens_hash, hashes, seats)

    # `index` is that of the token in hand; unsafe additions count tokens and words, of which there
    # are at most 64 and 240
    index: uint256 = 0
    updated: uint256 = 0
    clamped: uint256 = 0
    medians_taken: DynArray[uint256, 16] = []
    emas: DynArray[uint256, 16] = []
    # tokens of a round mostly share their clock, and so the weight of its median
    clock: uint256 = 0
    weight: uint256 = WAD
    for i: uint256 in range(width // 32, bound=16):
        words: uint256[15] = empty(uint256[15])
        position: uint256 = unsafe_mul(32, i)
        for j: uint256 in range(count, bound=15):
            words[j] = extract32(values, position, output_type=uint256)
            position = unsafe_add(position, width)
        medians_word: uint256 = medians._median_word(words, count, quorum)
        median_word: uint256 = 0
        ema_word: uint256 = 0
        for lane: uint256 in range(4):
            offset: uint256 = unsafe_mul(64, lane)
            median: uint256 = (medians_word >> offset) & medians.LANE
            if median != 0:
                # reverts where a quorum has put values behind the last token
                token: address = tokens[index]
                feed: uint256 = self._feeds[token]
                if feed != 0 and feed & TIME_MASK < observed_at:
                    if feed & CLOCK_MASK != clock:
                        clock = feed & CLOCK_MASK
                        weight = self._weight(clock, observed_at)
                    feed = self._fold(feed, observed_at, median, weight)
                    self._feeds[token] = feed
                    median_word |= ((feed >> MEDIAN_SHIFT) & RATE_MASK) << offset
                    ema_word |= ((feed >> EMA_SHIFT) & RATE_MASK) << offset
                    clamped |= ((feed >> CLAMPED_SHIFT) & 1) << index
                    updated = unsafe_add(updated, 1)
            index = unsafe_add(index, 1)
        medians_taken.append(median_word)
        emas.append(ema_word)
    log IFundingOracle.Round(
        observed_at=observed_at,
        submitter=msg.sender,
        tokens=tokens,
        medians=medians_taken,
        emas=emas,
        clamped=clamped,
    )
    return updated


@external
def set_feed(token: address, lower_wad: int256, upper_wad: int256, tau: uint256):
    """
    @notice Set a token's bounds and the time constant of its average. Its average and last median
            are moved to the nearer bound where they are outside.
    @param lower_wad WAD a year, rounded towards zero to 1e-9
    @param upper_wad WAD a year, rounded towards zero to 1e-9
    @param tau seconds
    """
    ownable._check_owner()
    assert lower_wad >= -LARGEST_BOUND and upper_wad <= LARGEST_BOUND, errors.BAD_RATE_BOUNDS
    lower: uint256 = convert(lower_wad // RATE_UNIT + RATE_BIAS, uint256)
    upper: uint256 = convert(upper_wad // RATE_UNIT + RATE_BIAS, uint256)
    assert lower < upper, errors.BAD_RATE_BOUNDS
    assert tau >= LEAST_TAU and tau <= LARGEST_TAU, errors.BAD_TAU
    feed: uint256 = self._feeds[token]
    word: uint256 = (
        (feed & TIME_MASK) | (tau << TAU_SHIFT) | (lower << LOWER_SHIFT) | (upper << UPPER_SHIFT)
    )
    if feed & TIME_MASK != 0:
        ema: uint256 = max(min((feed >> EMA_SHIFT) & RATE_MASK, upper), lower)
        median: uint256 = max(min((feed >> MEDIAN_SHIFT) & RATE_MASK, upper), lower)
        word |= (ema << EMA_SHIFT) | (median << MEDIAN_SHIFT)
    self._feeds[token] = word
    log IFundingOracle.FeedSet(
        token=token, lower_wad=self._rate_wad(lower), upper_wad=self._rate_wad(upper), tau=tau
    )


@external
@view
@reentrant
def funding(token: address) -> (int256, uint256):
    """
    @notice (EMA in WAD a year, the time it was observed at); (0, 0) where there has been no round.
    """
    feed: uint256 = self._feeds[token]
    if feed & TIME_MASK == 0:
        return 0, 0
    return self._rate_wad(feed >> EMA_SHIFT), feed & TIME_MASK


@external
@view
@reentrant
def feed(token: address) -> IFundingOracle.Feed:
    """
    @notice All that is kept of a token; all zero if it was never set.
    """
    feed: uint256 = self._feeds[token]
    if feed == 0:
        return empty(IFundingOracle.Feed)
    result: IFundingOracle.Feed = IFundingOracle.Feed(
        ema_wad=0,
        median_wad=0,
        observed_at=feed & TIME_MASK,
        lower_wad=self._rate_wad(feed >> LOWER_SHIFT),
        upper_wad=self._rate_wad(feed >> UPPER_SHIFT),
        tau=(feed >> TAU_SHIFT) & TAU_MASK,
        clamped=(feed >> CLAMPED_SHIFT) & 1 == 1,
    )
    if result.observed_at != 0:
        result.ema_wad = self._rate_wad(feed >> EMA_SHIFT)
        result.median_wad = self._rate_wad(feed >> MEDIAN_SHIFT)
    return result


@internal
@pure
def _weight(clock: uint256, observed_at: uint256) -> uint256:
    """
    @notice 1 - exp(-dt / tau) in WAD, what a median counts for in the average; 1 for the first one.
    """
    last: uint256 = clock & TIME_MASK
    if last == 0:
        return WAD
    exponent: uint256 = (observed_at - last) * WAD // (clock >> TAU_SHIFT)
    return WAD - convert(math._wad_exp(-convert(exponent, int256)), uint256)


@internal
@pure
def _fold(feed: uint256, observed_at: uint256, median: uint256, weight: uint256) -> uint256:
    """
    @notice A feed's word after a round.
    """
    bounded: uint256 = max(min(median, feed >> UPPER_SHIFT), (feed >> LOWER_SHIFT) & RATE_MASK)
    # rates are below 2**48 and the weight is at most WAD: the sum is below 2**109. The mean of two
    # rates is a rate.
    ema: uint256 = unsafe_mul((feed >> EMA_SHIFT) & RATE_MASK, unsafe_sub(WAD, weight))
    ema = unsafe_div(unsafe_add(unsafe_add(ema, unsafe_mul(bounded, weight)), WAD // 2), WAD)
    word: uint256 = (
        (feed & SETTINGS_MASK) | observed_at | (ema << EMA_SHIFT) | (bounded << MEDIAN_SHIFT)
    )
    return word if bounded == median else word | (1 << CLAMPED_SHIFT)


@internal
@pure
def _rate_wad(shifted: uint256) -> int256:
    """
    @notice The packed rate in the lowest bits of a word, in WAD.
    """
    return (convert(shifted & RATE_MASK, int256) - RATE_BIAS) * RATE_UNIT
