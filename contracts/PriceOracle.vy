# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Price oracle of one market
@license AGPL-3.0-only
@author Perpool
@notice A token's price in USDT from any Chainlink AggregatorV3, optionally divided by a USDT/USD
        feed and optionally checked against a Uniswap v3 TWAP; and its realised volatility.

@dev ASSUMPTIONS
     Feeds are honest within their range and age. The pool has liquidity enough that moving its
     average over the window costs more than it brings, and enough observations to reach the window
     back; anyone can pay for more (`increaseObservationCardinalityNext`). Token and USDT keep their
     decimals.

     NEW RISK AND LIQUIDATION
     `price_bounds` is for what could be taken on at a wrong price: every source must be fresh and
     in range, the primary feed's answer of its own round (`answeredInRound`; a `PriceFeed` that is
     held back in a large move says it is not), feed and TWAP within the tolerance, and of the two
     each side gets the worse.
     `liquidation_price` is for what must not stop: it needs a fresh
     primary feed in range and nothing else. Where a USDT/USD feed is named, its last answer is
     taken at any age and held within its range: a peg a day old is off by a percent or two, a
     market that cannot liquidate loses everything.

     LIVENESS
     A feed that reverts, a pool too young for its window: the revert comes through, and no new risk
     is taken until it ends. Nothing here can be paused or changed.

     ROLES
     None.

     ROUNDING
     A division by USDT's price is rounded down for the lower bound and the liquidation price, up
     for the higher bound. The mean tick of the TWAP is rounded down as Uniswap's library does, by
     less than 0.01 %; the price of that tick is rounded down for the lower bound and one unit up
     for the higher. Volatility is rounded up.
"""

from contracts.modules import oracle_errors as errors
from contracts.modules import realised_volatility
from contracts.modules import tick_math
from interfaces import IAggregatorV3
from interfaces import IPriceOracle
from snekmate.utils import math

implements: IPriceOracle

initializes: realised_volatility

exports: realised_volatility.volatility


interface IDecimals:
    def decimals() -> uint8: view


interface IUniswapV3Pool:
    def token0() -> address: view
    def token1() -> address: view
    def observe(seconds_ago: DynArray[uint32, 2]) -> (
        DynArray[int56, 2], DynArray[uint160, 2]
    ): view


WAD: constant(uint256) = 10**18
LARGEST_DECIMALS: constant(uint256) = 24
# times WAD, or a tolerance, it still fits a word
LARGEST_PRICE: constant(uint256) = 2**187
LARGEST_AGE: constant(uint256) = 7 * 86400
LEAST_TWAP_WINDOW: constant(uint256) = 300
LARGEST_TWAP_WINDOW: constant(uint256) = 86400
LARGEST_TOLERANCE: constant(uint256) = 10**18 // 2

token: public(immutable(address))
usdt: public(immutable(address))

_FEED: immutable(address)
_MAX_AGE: immutable(uint256)
_MIN_ANSWER: immutable(int256)
_MAX_ANSWER: immutable(int256)
_USDT_FEED: immutable(address)
_USDT_MAX_AGE: immutable(uint256)
_USDT_MIN_ANSWER: immutable(int256)
_USDT_MAX_ANSWER: immutable(int256)
_POOL: immutable(address)
_TWAP_WINDOW: immutable(uint256)
_TOLERANCE: immutable(uint256)
# an answer times _SCALE is price_e36; with a USDT/USD feed, price_e36 times that feed's answer
_SCALE: immutable(uint256)
_TOKEN_IS_TOKEN1: immutable(bool)


@deploy
def __init__(
    token_: address,
    usdt_: address,
    primary_: IPriceOracle.Source,
    usdt_usd_: IPriceOracle.Source,
    twap_: IPriceOracle.Twap,
):
    """
    @param primary_ price of a whole token, in USDT or in what `usdt_usd_` is in
    @param usdt_usd_ price of a whole USDT; feed zero for none
    @param twap_ pool of token and USDT; zero for none
    """
    assert token_ != empty(address) and usdt_ != empty(address), errors.MISSING_ADDRESS
    assert primary_.feed != empty(address), errors.MISSING_ADDRESS
    assert token_ != usdt_, errors.EQUAL_TOKENS
    self._check_source(primary_)
    token_decimals: uint256 = self._decimals(token_)
    usdt_decimals: uint256 = self._decimals(usdt_)
    assert (
        token_decimals <= LARGEST_DECIMALS and usdt_decimals <= LARGEST_DECIMALS
    ), errors.BAD_DECIMALS
    gained: uint256 = 36 + usdt_decimals
    lost: uint256 = token_decimals + self._decimals(primary_.feed)
    usdt_max_answer: uint256 = 1
    if usdt_usd_.feed != empty(address):
        self._check_source(usdt_usd_)
        gained += self._decimals(usdt_usd_.feed)
        usdt_max_answer = usdt_usd_.max_answer
    assert gained >= lost and gained - lost <= 77, errors.BAD_DECIMALS
    scale: uint256 = 10**(gained - lost)
    # prices fit, and none is 0
    assert primary_.max_answer <= LARGEST_PRICE // scale, errors.BAD_RANGE
    assert primary_.min_answer * scale >= usdt_max_answer, errors.BAD_RANGE
    token_is_token1: bool = False
    if twap_.pool != empty(address):
        token0: address = staticcall IUniswapV3Pool(twap_.pool).token0()
        token1: address = staticcall IUniswapV3Pool(twap_.pool).token1()
        token_is_token1 = token1 == token_
        assert (
            (token0 == usdt_) if token_is_token1 else (token0 == token_ and token1 == usdt_)
        ), errors.WRONG_POOL
        assert (
            twap_.window >= LEAST_TWAP_WINDOW and twap_.window <= LARGEST_TWAP_WINDOW
        ), errors.BAD_WINDOW
        assert (
            twap_.tolerance_wad != 0 and twap_.tolerance_wad <= LARGEST_TOLERANCE
        ), errors.BAD_TOLERANCE
    token = token_
    usdt = usdt_
    _FEED = primary_.feed
    _MAX_AGE = primary_.max_age
    _MIN_ANSWER = convert(primary_.min_answer, int256)
    _MAX_ANSWER = convert(primary_.max_answer, int256)
    _USDT_FEED = usdt_usd_.feed
    _USDT_MAX_AGE = usdt_usd_.max_age
    _USDT_MIN_ANSWER = convert(usdt_usd_.min_answer, int256)
    _USDT_MAX_ANSWER = convert(usdt_usd_.max_answer, int256)
    _POOL = twap_.pool
    _TWAP_WINDOW = twap_.window
    _TOLERANCE = twap_.tolerance_wad
    _SCALE = scale
    _TOKEN_IS_TOKEN1 = token_is_token1


@external
def observe() -> bool:
    """
    @notice Fold the primary feed's price into the volatility. Anyone may call.
    @return False where the last observation is less than half an hour old
    """
    if realised_volatility._is_too_soon():
        return False
    price: uint256 = self._liquidation_price()
    variance_wad: uint256 = 0
    volatility_wad: uint256 = 0
    variance_wad, volatility_wad = realised_volatility._observe(price)
    log IPriceOracle.Observed(
        price_e36=price, variance_wad=variance_wad, volatility_wad=volatility_wad
    )
    return True


@external
@view
@reentrant
def price_bounds() -> (uint256, uint256):
    """
    @notice (lower, higher) price for new risk, scaled by 1e36. Reverts without a price both sides
             can rely on.
    """
    return self._price_bounds()


@external
@view
@reentrant
def price_bounds_and_volatility() -> (uint256, uint256, uint256):
    """
    @notice The same and the volatility in WAD a year, max_value(uint256) where it is unknown.
    """
    low: uint256 = 0
    high: uint256 = 0
    low, high = self._price_bounds()
    return low, high, realised_volatility._volatility()


@external
@view
@reentrant
def liquidation_price() -> uint256:
    """
    @notice The primary feed's price, scaled by 1e36, rounded down. Reverts where that feed is stale
             or out of range.
    """
    return self._liquidation_price()


@external
@view
@reentrant
def primary() -> IPriceOracle.Source:
    """
    @notice The feed of the token's price.
    """
    return IPriceOracle.Source(
        feed=_FEED,
        max_age=_MAX_AGE,
        min_answer=convert(_MIN_ANSWER, uint256),
        max_answer=convert(_MAX_ANSWER, uint256),
    )


@external
@view
@reentrant
def usdt_usd() -> IPriceOracle.Source:
    """
    @notice The feed of USDT's price; all zero where there is none.
    """
    return IPriceOracle.Source(
        feed=_USDT_FEED,
        max_age=_USDT_MAX_AGE,
        min_answer=convert(_USDT_MIN_ANSWER, uint256),
        max_answer=convert(_USDT_MAX_ANSWER, uint256),
    )


@external
@view
@reentrant
def twap() -> IPriceOracle.Twap:
    """
    @notice The pool and how its average is used; all zero where there is none.
    """
    return IPriceOracle.Twap(pool=_POOL, window=_TWAP_WINDOW, tolerance_wad=_TOLERANCE)


@internal
@view
def _price_bounds() -> (uint256, uint256):
    answer: uint256 = 0
    of_its_round: bool = False
    answer, of_its_round = self._answer(_FEED, _MAX_AGE, _MIN_ANSWER, _MAX_ANSWER)
    assert of_its_round, errors.PRICE_CATCHING_UP
    # the constructor held the largest answer times the scale to LARGEST_PRICE
    low: uint256 = unsafe_mul(answer, _SCALE)
    high: uint256 = low
    if _USDT_FEED != empty(address):
        answer, of_its_round = self._answer(
            _USDT_FEED, _USDT_MAX_AGE, _USDT_MIN_ANSWER, _USDT_MAX_ANSWER
        )
        low = high // answer
        high = math._ceil_div(high, answer)
    if _POOL != empty(address):
        average: uint256 = self._average_price()
        # above that it cannot agree, and the check of the tolerance would overflow
        assert average < LARGEST_PRICE, errors.PRICES_DISAGREE
        low = min(low, average)
        high = max(high, average + 1)
        assert (high - low) * WAD <= low * _TOLERANCE, errors.PRICES_DISAGREE
    return low, high


@internal
@view
def _liquidation_price() -> uint256:
    answer: uint256 = 0
    of_its_round: bool = False
    answer, of_its_round = self._answer(_FEED, _MAX_AGE, _MIN_ANSWER, _MAX_ANSWER)
    # as in `_price_bounds`
    price: uint256 = unsafe_mul(answer, _SCALE)
    if _USDT_FEED != empty(address):
        usdt_answer: int256 = (staticcall IAggregatorV3(_USDT_FEED).latestRoundData())[1]
        price //= convert(min(max(usdt_answer, _USDT_MIN_ANSWER), _USDT_MAX_ANSWER), uint256)
    return price


@internal
@view
def _answer(
    feed: address, max_age: uint256, min_answer: int256, max_answer: int256
) -> (uint256, bool):
    """
    @notice A feed's fresh answer in range, and whether it is of its own round.
    """
    round_id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    # an address without code returns too little to decode, which reverts without another check
    round_id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(
        feed
    ).latestRoundData(skip_contract_check=True)
    # a time in the future wraps to an age beyond any limit, and one of 0 is as old as time: both
    # are stale
    assert unsafe_sub(block.timestamp, updated_at) <= max_age, errors.STALE_PRICE
    assert answer >= min_answer and answer <= max_answer, errors.PRICE_OUT_OF_RANGE
    return convert(answer, uint256), answered_in >= round_id


@internal
@view
def _average_price() -> uint256:
    """
    @notice The pool's time-weighted geometric mean price, scaled by 1e36, rounded down.
    """
    cumulatives: DynArray[int56, 2] = []
    unused: DynArray[uint160, 2] = []
    cumulatives, unused = staticcall IUniswapV3Pool(_POOL).observe(
        [convert(_TWAP_WINDOW, uint32), 0]
    )
    sum: int256 = convert(cumulatives[1], int256) - convert(cumulatives[0], int256)
    window: int256 = convert(_TWAP_WINDOW, int256)
    tick: int256 = sum // window
    if sum < 0 and sum % window != 0:
        tick -= 1
    return tick_math._price_e36(tick, _TOKEN_IS_TOKEN1)


@internal
@view
def _decimals(contract: address) -> uint256:
    return convert(staticcall IDecimals(contract).decimals(), uint256)


@internal
@pure
def _check_source(source: IPriceOracle.Source):
    assert source.max_age != 0 and source.max_age <= LARGEST_AGE, errors.BAD_MAX_AGE
    assert source.min_answer != 0 and source.min_answer < source.max_answer, errors.BAD_RANGE
    assert source.max_answer <= LARGEST_PRICE, errors.BAD_RANGE
