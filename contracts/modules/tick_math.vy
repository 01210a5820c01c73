# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Uniswap v3 ticks as prices
@license AGPL-3.0-only
@author Perpool
@notice Tick t is the price 1.0001**t, of a unit of token0 in units of token1.

@dev ROUNDING
     The square root of a tick's price is Uniswap's own to the unit: an approximation in 1 / 2**128,
     rounded up to 1 / 2**96. The price is the square of that, rounded down.
"""

from contracts.modules import oracle_errors as errors
from snekmate.utils import math

LARGEST_TICK: constant(int256) = 887_272
E36: constant(uint256) = 10**36

# 2**128 / sqrt(1.0001)**(2**i) for i = 0 .. 19, to the nearest
FACTORS: constant(uint256[20]) = [
    340_265_354_078_544_963_557_816_517_032_075_149_313,
    340_248_342_086_729_790_484_326_174_814_286_782_778,
    340_214_320_654_664_324_051_920_982_716_015_181_260,
    340_146_287_995_602_323_631_171_512_101_879_684_304,
    340_010_263_488_231_146_823_593_991_679_159_461_444,
    339_738_377_640_345_403_697_157_401_104_375_502_016,
    339_195_258_003_219_555_707_034_227_454_543_997_025,
    338_111_622_100_601_834_656_805_679_988_414_885_971,
    335_954_724_994_790_223_023_589_805_789_778_977_700,
    331_682_121_138_379_247_127_172_139_078_559_817_300,
    323_299_236_684_853_023_288_211_250_268_160_618_739,
    307_163_716_377_032_989_948_697_243_942_600_083_929,
    277_268_403_626_896_220_162_999_269_216_087_595_045,
    225_923_453_940_442_621_947_126_027_127_485_391_333,
    149_997_214_084_966_997_727_330_242_082_538_205_943,
    66_119_101_136_024_775_622_716_233_608_466_517_926,
    12_847_376_061_809_297_530_290_974_190_478_138_313,
    485_053_260_817_066_172_746_253_684_029_974_020,
    691_415_978_906_521_570_653_435_304_214_168,
    1_404_880_482_679_654_955_896_180_642,
]


@internal
@pure
def _sqrt_price_x96(tick: int256) -> uint256:
    """
    @notice sqrt(1.0001**tick) * 2**96, as Uniswap's `TickMath.getSqrtRatioAtTick`.
    """
    steps: uint256 = convert(abs(tick), uint256)
    assert steps <= convert(LARGEST_TICK, uint256), errors.BAD_TICK
    # 1 / sqrt(1.0001)**steps in 1 / 2**128. A factor is below 2**128 and the ratio at most that, so
    # their product fits.
    ratio: uint256 = 2**128
    for factor: uint256 in FACTORS:
        if steps & 1 != 0:
            ratio = unsafe_mul(ratio, factor) >> 128
        steps >>= 1
    if tick > 0:
        ratio = max_value(uint256) // ratio
    # from 1 / 2**128 to 1 / 2**96, rounded up; the largest is below 2**192
    return unsafe_add(ratio, 2**32 - 1) >> 32


@internal
@pure
def _price_e36(tick: int256, inverse: bool) -> uint256:
    """
    @notice 10**36 * 1.0001**tick, or 10**36 / 1.0001**tick where `inverse`, rounded down.
    """
    root: uint256 = self._sqrt_price_x96(tick)
    # In 1 / 2**192 the square of a root from 2**128 on does not fit, and is taken in 1 / 2**128.
    # Roots are from 2**32 to 2**160: either way it keeps 64 bits or more, and the price is below
    # 2**248.
    square: uint256 = 0
    one: uint256 = 0
    if root < 2**128:
        square = unsafe_mul(root, root)
        one = 2**192
    else:
        square = math._mul_div(root, root, 2**64, False)
        one = 2**128
    return (
        math._mul_div(E36, one, square, False)
        if inverse
        else math._mul_div(square, E36, one, False)
    )
