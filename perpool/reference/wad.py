"""exp and ln of 18-decimal integers, bit for bit what snekmate's `_wad_exp` and `_wad_ln` return.

Arithmetic is that of the EVM: division truncates towards zero, right shifts round down. Source:
snekmate 0.1.2, `utils/math.vy`, after Remco Bloemen (https://xn--2-umb.com/22/exp-ln).
"""

from __future__ import annotations

WAD = 10**18
"""100 %."""

_LN2_X96 = 54_916_777_467_707_473_351_141_471_128
_LEAST_EXPONENT = -41_446_531_673_892_822_313
_EXPONENT_LIMIT = 135_305_999_368_893_231_589


def truncated_div(numerator: int, denominator: int) -> int:
    """Quotient rounded towards zero, as the EVM divides."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded up, of a positive denominator."""
    return -(-numerator // denominator)


def wad_exp(x: int) -> int:
    """exp(x), both WAD; 0 where it is below one unit. Rounded down from an approximation.

    Raises OverflowError where the chain reverts.
    """
    if x <= _LEAST_EXPONENT:
        return 0
    if x >= _EXPONENT_LIMIT:
        raise OverflowError(f"exp({x} / 1e18) does not fit a word; pass less than 135.3")
    x = truncated_div(x << 78, 5**18)
    k = (truncated_div(x << 96, _LN2_X96) + 2**95) >> 96
    x -= k * _LN2_X96

    y = ((x + 1_346_386_616_545_796_478_920_950_773_328) * x >> 96) + (
        57_155_421_227_552_351_082_224_309_758_442
    )
    p = (y + x - 94_201_549_194_550_492_254_356_042_504_812) * y >> 96
    p = (p + 28_719_021_644_029_726_153_956_944_680_412_240) * x + (
        4_385_272_521_454_847_904_659_076_985_693_276 << 96
    )
    q = ((x - 2_855_989_394_907_223_263_936_484_059_900) * x >> 96) + (
        50_020_603_652_535_783_019_961_831_881_945
    )
    q = (q * x >> 96) - 533_845_033_583_426_703_283_633_433_725_380
    q = (q * x >> 96) + 3_604_857_256_930_695_427_073_651_918_091_429
    q = (q * x >> 96) - 14_423_608_567_350_463_180_887_372_962_807_573
    q = (q * x >> 96) + 26_449_188_498_355_588_339_934_803_723_976_023
    r = truncated_div(p, q)
    return r * 3_822_833_074_963_236_453_042_738_258_902_158_003_155_416_615_667 >> (195 - k)


def wad_ln(x: int) -> int:
    """ln(x), both WAD; ln(0) is 0. Rounded down from an approximation.

    Raises ValueError where the chain reverts.
    """
    if x < 0:
        raise ValueError("the logarithm of a negative number is undefined")
    if x == 0:
        return 0
    k = x.bit_length() - 1 - 96
    x = x << (159 - k) >> 159

    p = ((x + 3_273_285_459_638_523_848_632_254_066_296) * x >> 96) + (
        24_828_157_081_833_163_892_658_089_445_524
    )
    p = (p * x >> 96) + 43_456_485_725_739_037_958_740_375_743_393
    p = (p * x >> 96) - 11_111_509_109_440_967_052_023_855_526_967
    p = (p * x >> 96) - 45_023_709_667_254_063_763_336_534_515_857
    p = (p * x >> 96) - 14_706_773_417_378_608_786_704_636_184_526
    p = p * x - (795_164_235_651_350_426_258_249_787_498 << 96)
    q = ((x + 5_573_035_233_440_673_466_300_451_813_936) * x >> 96) + (
        71_694_874_799_317_883_764_090_561_454_958
    )
    q = (q * x >> 96) + 283_447_036_172_924_575_727_196_451_306_956
    q = (q * x >> 96) + 401_686_690_394_027_663_651_624_208_769_553
    q = (q * x >> 96) + 204_048_457_590_392_012_362_485_061_816_622
    q = (q * x >> 96) + 31_853_899_698_501_571_402_653_359_427_138
    q = (q * x >> 96) + 909_429_971_244_387_300_277_376_558_375
    r = truncated_div(p, q)
    r *= 1_677_202_110_996_718_588_342_820_967_067_443_963_516_166
    r += k * (
        16_597_577_552_685_614_221_487_285_958_193_947_469_193_820_559_219_878_177_908_093_499_208_371
    )
    r += 600920179829731861736702779321621459595472258049074101567377883020018308
    return r >> 174
