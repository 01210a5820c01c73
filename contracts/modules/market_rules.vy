# pragma version 0.4.3
"""
@title What a market's parameters must satisfy
@license AGPL-3.0-only
@notice A pool trusts its parameters; this is where they earn it.
"""
from ethereum.ercs import IERC20Detailed
from interfaces import IPool
from interfaces import IPoolFactory
from interfaces import IPriceOracle
from contracts.modules import factory_errors as errors
from contracts.modules import wad_math

WAD: constant(uint256) = 10**18

# 10,000 % a year. Interest of a century at this rate still fits the arithmetic of `rate_model`.
MAX_RATE: constant(uint256) = 100 * WAD
MAX_PASS_THROUGH: constant(uint256) = WAD // 2
MIN_FUNDING_AGE: constant(uint256) = 3600
MAX_FUNDING_AGE: constant(uint256) = 7 * 86400
# above the tip of a liquidation by purchase, which comes out of the bonus
MIN_BONUS: constant(uint256) = 2 * 10**16
MAX_BONUS_SLOPE: constant(uint256) = 10 * WAD
MAX_SLIPPAGE: constant(uint256) = 10**17
MAX_DECIMALS: constant(uint256) = 24
# every accrual rounds interest up by less than a unit, and anybody may accrue in every block
MIN_DECIMALS: constant(uint256) = 6
# so many units that the rounding of a debt share never matters
MIN_MIN_DEBT: constant(uint256) = 1000


@internal
@view
def _check(parameters: IPoolFactory.MarketParameters):
    for account: address in [
        parameters.token,
        parameters.usdt,
        parameters.funding_oracle,
        parameters.price_oracle,
    ]:
        assert account != empty(address), errors.NO_ADDRESS
    assert parameters.token != parameters.usdt, errors.SAME_TOKEN
    for token: address in [parameters.token, parameters.usdt]:
        decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
        assert decimals >= MIN_DECIMALS and decimals <= MAX_DECIMALS, errors.BAD_DECIMALS
    oracle: IPriceOracle = IPriceOracle(parameters.price_oracle)
    assert staticcall oracle.token() == parameters.token, errors.BAD_ORACLE
    assert staticcall oracle.usdt() == parameters.usdt, errors.BAD_ORACLE
    self._check_leg(parameters.reverse)
    self._check_leg(parameters.forward)


@internal
@pure
def _check_leg(leg: IPool.LegParameters):
    # interest
    assert leg.kink > 0 and leg.kink < WAD, errors.BAD_KINK
    assert leg.rate_cap <= MAX_RATE, errors.BAD_RATE_CAP
    assert max(leg.base_rate, max(leg.slope1, leg.slope2)) <= leg.rate_cap, errors.BAD_RATE_CAP
    assert leg.base_rate + leg.slope1 + leg.slope2 <= leg.rate_cap, errors.BAD_RATE_CAP
    assert leg.pass_through <= MAX_PASS_THROUGH, errors.BAD_PASS_THROUGH
    assert leg.funding_max_age >= MIN_FUNDING_AGE, errors.BAD_MAX_AGE
    assert leg.funding_max_age <= MAX_FUNDING_AGE, errors.BAD_MAX_AGE
    # loan to value
    assert leg.stressed_ltv > 0 and leg.stressed_ltv <= leg.max_ltv, errors.BAD_LTV
    assert leg.max_ltv < leg.liquidation_ltv and leg.liquidation_ltv < WAD, errors.BAD_LTV
    # bonus: liquidation_ltv * (1 + b_cap) < 1
    assert leg.bonus_base >= MIN_BONUS and leg.bonus_base <= leg.bonus_cap, errors.BAD_BONUS
    assert leg.bonus_cap < WAD and leg.bonus_slope <= MAX_BONUS_SLOPE, errors.BAD_BONUS
    assert wad_math._share_of_up(leg.liquidation_ltv, WAD + leg.bonus_cap) < WAD, errors.BAD_BONUS
    # the rest
    assert leg.max_slippage > 0 and leg.max_slippage <= MAX_SLIPPAGE, errors.BAD_SLIPPAGE
    assert leg.min_debt >= MIN_MIN_DEBT, errors.BAD_MIN_DEBT
    assert leg.reserve_floor <= WAD, errors.BAD_RESERVE_FLOOR
