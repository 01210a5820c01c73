# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a perp market is about, and its prices
@license AGPL-3.0-only
@author Perpool
@notice Nothing of it changes.
"""

from contracts.modules import perp_errors as errors
from interfaces import IAggregatorV3
from interfaces import IPerpMarket
from interfaces import IPriceOracle


interface IDecimals:
    def decimals() -> uint8: view


WAD: constant(uint256) = 10**18
DAY: constant(uint256) = 86400

TOKEN: immutable(address)
USDT: immutable(address)
PRICE_ORACLE: immutable(address)
FUNDING_ORACLE: immutable(address)
PRICE_FEED: immutable(address)
PARAMETERS: immutable(IPerpMarket.Parameters)


@deploy
def __init__(
    token_: address,
    usdt_: address,
    price_oracle_: address,
    funding_oracle_: address,
    parameters_: IPerpMarket.Parameters,
):
    assert token_ != empty(address) and usdt_ != empty(address), errors.MISSING_ADDRESS
    assert (
        price_oracle_ != empty(address) and funding_oracle_ != empty(address)
    ), errors.MISSING_ADDRESS
    assert token_ != usdt_, errors.EQUAL_TOKENS
    assert staticcall IPriceOracle(price_oracle_).token() == token_, errors.WRONG_ORACLE
    assert staticcall IPriceOracle(price_oracle_).usdt() == usdt_, errors.WRONG_ORACLE
    self._check(parameters_)
    TOKEN = token_
    USDT = usdt_
    PRICE_ORACLE = price_oracle_
    FUNDING_ORACLE = funding_oracle_
    PRICE_FEED = (staticcall IPriceOracle(price_oracle_).primary()).feed
    PARAMETERS = parameters_


@external
@view
@reentrant
def token() -> address:
    return TOKEN


@external
@view
@reentrant
def usdt() -> address:
    return USDT


@external
@view
@reentrant
def price_oracle() -> address:
    return PRICE_ORACLE


@external
@view
@reentrant
def funding_oracle() -> address:
    return FUNDING_ORACLE


@external
@view
@reentrant
def parameters() -> IPerpMarket.Parameters:
    return PARAMETERS


@external
@view
@reentrant
def initial_margin() -> uint256:
    return PARAMETERS.initial_margin


@external
@view
@reentrant
def maintenance_margin() -> uint256:
    return PARAMETERS.maintenance_margin


@external
@view
@reentrant
def fee() -> uint256:
    return PARAMETERS.fee


@external
@view
@reentrant
def mark_price() -> uint256:
    """
    @notice The price that positions are valued at. Reverts with the oracle's reason where there is none.
    """
    return self._mark()


@internal
@view
def _check_receiver(receiver: address):
    assert receiver != empty(address) and receiver != self, errors.BAD_RECEIVER


@internal
@view
def _mark() -> uint256:
    return staticcall IPriceOracle(PRICE_ORACLE).liquidation_price()


@internal
@view
def _mark_or(last: uint256) -> uint256:
    """
    @notice The mark, or what it was where the oracle has none now: what is done without a price must not stop for it.
    @dev Whoever starves the call of gas has a sixty-fourth of it left, too little for the writes that follow.
    """
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        PRICE_ORACLE,
        method_id("liquidation_price()"),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    if success and len(answer) == 32:
        return convert(answer, uint256)
    return last


@internal
@view
def _bounds() -> (uint256, uint256):
    return staticcall IPriceOracle(PRICE_ORACLE).price_bounds()


@internal
@view
def _bounds_or_none() -> (uint256, uint256):
    """
    @notice (0, 0) where the oracle has no prices for new risk.
    """
    success: bool = False
    answer: Bytes[64] = b""
    success, answer = raw_call(
        PRICE_ORACLE,
        method_id("price_bounds()"),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    if success and len(answer) == 64:
        return abi_decode(answer, (uint256, uint256))
    return 0, 0


@internal
@view
def _observed_at() -> uint256:
    """
    @notice When the feed's price was observed.
    """
    return (staticcall IAggregatorV3(PRICE_FEED).latestRoundData())[3]


@internal
@view
def _usdt_decimals() -> uint256:
    return convert(staticcall IDecimals(USDT).decimals(), uint256)


@internal
@pure
def _check(terms: IPerpMarket.Parameters):
    """
    @dev Fee and penalty are covered by the equity of a position that is just short of being liquidated.
    """
    assert terms.maintenance_margin < terms.initial_margin, errors.BAD_MARGINS
    assert terms.maintenance_margin != 0 and terms.initial_margin <= WAD, errors.BAD_MARGINS
    assert terms.fee <= terms.maintenance_margin and terms.fee_to_insurance <= WAD, errors.BAD_FEE
    assert (
        terms.penalty <= terms.maintenance_margin and terms.penalty_to_caller <= WAD
    ), errors.BAD_PENALTY
    assert (
        terms.largest_long_gain >= WAD // 10 and terms.largest_long_gain <= 10 * WAD
    ), errors.BAD_GAIN
    assert terms.exposure_cap != 0 and terms.exposure_cap < 2**112, errors.BAD_CAP
    assert (terms.funding_max_age != 0 and terms.funding_max_age <= 7 * DAY), errors.BAD_MAX_AGE
    assert terms.adl_horizon != 0 and terms.adl_horizon <= 30 * DAY, errors.BAD_HORIZON
    assert terms.delay_blocks <= 1000, errors.BAD_DELAY
