# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Signed price feed
@license AGPL-3.0-only
@author Perpool
@notice One token's price in USDT: the median of a quorum of reporters, readable as a Chainlink
        AggregatorV3 with 18 decimals. For tokens that have no other feed.

@dev ASSUMPTIONS
     Those of `reports`. The first round is taken as it is, so the deployer looks at it before
     anything relies on it.

     WHY A LARGE MOVE IS HELD BACK, NOT REJECTED
     A leaked quorum must not be able to name any price at once. Rejecting what moves too far would
     stop the feed in a real crash, of all moments: hours of -26 % by closes and wicks of -62 % have
     happened. It would go stale, nobody could be liquidated, and lenders would pay. So a round
     moves the price by `max_move` at most, towards the median, and the next follows after
     `spacing`: at 20 % and a minute, half the price is four minutes away. In that time the price is
     known to lag, and says so: `answeredInRound` is behind `roundId`, Chainlink's sign that an
     answer is of an earlier round. `PriceOracle` then refuses new risk, which could be taken on at
     the old price, and goes on liquidating, at a price better than none. Forgers get the same:
     liquidations `max_move` off a round, no new debt.

     LIVENESS
     Without a quorum there are no rounds, and readers see the time of the last. Past rounds are
     events, only the last can be read.

     ROLES
     The owner sets reporters and quorum. Anyone submits. Token, spacing and largest move are fixed.

     ROUNDING
     The median of an even number of prices is rounded down; the largest move is rounded down.
"""

from contracts.modules import medians
from contracts.modules import oracle_errors as errors
from contracts.modules import reports
from interfaces import IAggregatorV3
from interfaces import IPriceFeed
from interfaces import IReports
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IAggregatorV3
implements: IPriceFeed
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

decimals: public(constant(uint8)) = 18
version: public(constant(uint256)) = 1
WAD: constant(uint256) = 10**18
LARGEST_PRICE: constant(uint256) = 2**128 - 1
LEAST_SPACING: constant(uint256) = 10
LARGEST_SPACING: constant(uint256) = 3600
# a smaller move would follow a crash too slowly, a larger one would hold nothing back
LEAST_MOVE: constant(uint256) = 10**18 // 20
LARGEST_MOVE: constant(uint256) = 10**18 // 2

# The round's word, from its lowest bit: price 128 | time 64 | 1 if it was held back 1 | id 63.
TIME_SHIFT: constant(uint256) = 128
HELD_SHIFT: constant(uint256) = 192
ID_SHIFT: constant(uint256) = 193

token: public(immutable(address))
spacing: public(immutable(uint256))
max_move: public(immutable(uint256))
description: public(immutable(String[64]))
_TOKENS_HASH: immutable(bytes32)

_round: uint256


@deploy
def __init__(
    token_: address,
    description_: String[64],
    max_report_age: uint256,
    spacing_: uint256,
    max_move_: uint256,
):
    """
    @notice The deployer is the owner; reporters have yet to be set.
    @param max_report_age seconds a report may be old when it is submitted
    @param spacing_ least seconds between the times of two rounds, 10 to 3600
    @param max_move_ largest move a round, WAD of the last price, 5 % to 50 %
    """
    assert token_ != empty(address), errors.MISSING_ADDRESS
    assert spacing_ >= LEAST_SPACING and spacing_ <= LARGEST_SPACING, errors.BAD_SPACING
    assert max_move_ >= LEAST_MOVE and max_move_ <= LARGEST_MOVE, errors.BAD_MAX_MOVE
    ownable.__init__()
    ownable_2step.__init__()
    reports.__init__("Perpool PriceFeed", max_report_age)
    token = token_
    description = description_
    spacing = spacing_
    max_move = max_move_
    _TOKENS_HASH = keccak256(convert(token_, bytes32))


@external
def submit(
    observed_at: uint256, prices: DynArray[uint256, 15], seats: DynArray[IReports.Seat, 15]
) -> uint256:
    """
    @notice Take a round. Anyone may send it.
    @param observed_at the moment the reporters signed for, unix seconds
    @param prices WAD, of those who take part, in the order of their seats
    @param seats one for each reporter, ascending: a signature, or the address of one who takes no
             part
    @return the round's id
    """
    assert len(prices) == reports._count_signatures(seats), errors.WRONG_LENGTH
    hashes: DynArray[bytes32, 15] = []
    for price: uint256 in prices:
        hashes.append(keccak256(convert(price, bytes32)))
    reports._check_quorum(observed_at, _TOKENS_HASH, hashes, seats)

    last: uint256 = self._round
    id: uint256 = (last >> ID_SHIFT) + 1
    median: uint256 = medians._median(prices)
    price: uint256 = median
    if last == 0:
        assert median != 0 and median <= LARGEST_PRICE, errors.PRICE_OUT_OF_RANGE
    else:
        assert observed_at >= self._time_of(last) + spacing, errors.TOO_SOON
        price = self._held(median, last & LARGEST_PRICE)
    held: uint256 = convert(price != median, uint256)
    self._round = price | (observed_at << TIME_SHIFT) | (held << HELD_SHIFT) | (id << ID_SHIFT)
    log IPriceFeed.PriceUpdated(
        round_id=id,
        observed_at=observed_at,
        submitter=msg.sender,
        price_wad=price,
        median_wad=median,
    )
    return id


@external
@view
@reentrant
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice Round id, price in WAD, its time twice, and the round the price is of: the one before
            where the price was held back by the largest move.
    """
    return self._data(self._round)


@external
@view
@reentrant
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The same for the last round; those before are events only.
    """
    word: uint256 = self._round
    assert convert(round_id, uint256) == word >> ID_SHIFT, errors.NO_ROUND
    return self._data(word)


@internal
@pure
def _data(word: uint256) -> (uint80, int256, uint256, uint256, uint80):
    assert word != 0, errors.NO_ROUND
    id: uint80 = convert(word >> ID_SHIFT, uint80)
    time: uint256 = self._time_of(word)
    answered_in: uint80 = id - convert((word >> HELD_SHIFT) & 1, uint80)
    return id, convert(word & LARGEST_PRICE, int256), time, time, answered_in


@internal
@view
def _held(median: uint256, last: uint256) -> uint256:
    """
    @notice The median, or the nearest price to it that is within the largest move of the last
             price.
    """
    move: uint256 = last * max_move // WAD
    # a price of 1 or more loses at most half of itself, rounded down: it never falls to 0
    return min(max(median, last - move), min(last + move, LARGEST_PRICE))


@internal
@pure
def _time_of(word: uint256) -> uint256:
    return (word >> TIME_SHIFT) & (2**64 - 1)
