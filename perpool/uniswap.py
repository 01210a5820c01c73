"""Uniswap's arithmetic: prices, ticks, liquidity, routes and addresses. No chain access.

Amounts are integers in a token's smallest unit. A `sqrt_price_x96` is the square root of token1 per
token0, both in smallest units, times 2**96; a tick is the logarithm of that price to base 1.0001.
token0 is the token with the lower address. Prices of a `TokenPair` are Decimal, in whole quote
tokens per whole base token, whichever of the two is token0.

Sources: the whitepapers of Uniswap v2 and v3 core; results equal v3-core's TickMath and
SqrtPriceMath to the unit where the docstring says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isqrt

from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

V3_POOL_INIT_CODE_HASH = bytes.fromhex(
    "e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"
)
"""Hash of UniswapV3Pool's init code, as deployed on Ethereum and in @uniswap/v3-core."""
V2_PAIR_INIT_CODE_HASH = bytes.fromhex(
    "96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"
)
"""Hash of UniswapV2Pair's init code, as deployed on Ethereum and in @uniswap/v2-core."""

Q96 = 2**96
MIN_TICK = -887_272
MAX_TICK = 887_272
MIN_SQRT_PRICE_X96 = 4_295_128_739
"""Price at MIN_TICK. A swap's price limit must be above it."""
MAX_SQRT_PRICE_X96 = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
"""Price at MAX_TICK. A swap's price limit must be below it."""
TICK_SPACINGS = {100: 1, 500: 10, 3_000: 60, 10_000: 200}
"""Fee in millionths -> tick spacing. The factory of the npm package does not know 100."""

_Q128 = 2**128
_MAX_UINT256 = 2**256 - 1
_PRECISION = Context(prec=120)


def _root_factors() -> tuple[int, ...]:
    """1.0001**(-2**k / 2) for k = 0..19, as 128-bit fractions rounded to the nearest."""
    base = Decimal("1.0001")
    powers = (_PRECISION.power(base, Decimal(-(2**k)) / 2) for k in range(20))
    return tuple(
        int(_PRECISION.multiply(power, Decimal(_Q128)).to_integral_value(ROUND_HALF_EVEN))
        for power in powers
    )


_ROOT_FACTORS = _root_factors()


# -- ticks --


def sqrt_price_at_tick(tick: int) -> int:
    """The `sqrt_price_x96` of a tick, equal to TickMath.getSqrtRatioAtTick.

    Raises ValueError outside MIN_TICK..MAX_TICK.
    """
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValueError(f"tick {tick} is outside {MIN_TICK}..{MAX_TICK}")
    ratio = _Q128
    for bit, factor in enumerate(_ROOT_FACTORS):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = _MAX_UINT256 // ratio
    return -(-ratio >> 32)  # from 128 to 96 fractional bits, rounded up


def tick_at_sqrt_price(sqrt_price_x96: int) -> int:
    """The highest tick whose price is not above this one, as TickMath.getTickAtSqrtRatio.

    Raises ValueError outside MIN_SQRT_PRICE_X96..MAX_SQRT_PRICE_X96.
    """
    if not MIN_SQRT_PRICE_X96 <= sqrt_price_x96 < MAX_SQRT_PRICE_X96:
        raise ValueError(f"sqrt price {sqrt_price_x96} is outside the range of Uniswap v3")
    low, high = MIN_TICK, MAX_TICK
    while low < high:
        middle = (low + high + 1) // 2
        if sqrt_price_at_tick(middle) <= sqrt_price_x96:
            low = middle
        else:
            high = middle - 1
    return low


def full_range(tick_spacing: int) -> tuple[int, int]:
    """The lowest and the highest tick that a position may have with this spacing."""
    widest = MAX_TICK // tick_spacing * tick_spacing
    return -widest, widest


def mean_tick(earlier: int, later: int, seconds: int) -> int:
    """Time-weighted mean tick between two observations' tick cumulatives, rounded down.

    Raises ValueError when no time has passed.
    """
    if seconds <= 0:
        raise ValueError("a mean tick needs two observations at different times")
    return (later - earlier) // seconds


# -- liquidity --


def liquidity_for_amounts(
    sqrt_price_x96: int, tick_lower: int, tick_upper: int, amount0: int, amount1: int
) -> int:
    """The most liquidity that a position in the range can have for at most these amounts."""
    lower, upper = sqrt_price_at_tick(tick_lower), sqrt_price_at_tick(tick_upper)
    price = min(max(sqrt_price_x96, lower), upper)
    bounds = []
    if price < upper:
        bounds.append(amount0 * (price * upper // Q96) // (upper - price))
    if price > lower:
        bounds.append(amount1 * Q96 // (price - lower))
    return min(bounds)


def amounts_for_liquidity(
    sqrt_price_x96: int, tick_lower: int, tick_upper: int, liquidity: int
) -> tuple[int, int]:
    """What a pool takes for minting the liquidity, (amount0, amount1), rounded up as it does."""
    lower, upper = sqrt_price_at_tick(tick_lower), sqrt_price_at_tick(tick_upper)
    price = min(max(sqrt_price_x96, lower), upper)
    amount0 = _ceil_div(_ceil_div(liquidity * Q96 * (upper - price), upper), price)
    amount1 = _ceil_div(liquidity * (price - lower), Q96)
    return amount0, amount1


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


# -- v2 --


def v2_amount_out(amount_in: int, reserve_in: int, reserve_out: int) -> int:
    """What a v2 pair sends for an input, after its fee of 0.3 %, rounded down."""
    paid = amount_in * 997
    return paid * reserve_out // (reserve_in * 1000 + paid)


def v2_amount_in(amount_out: int, reserve_in: int, reserve_out: int) -> int:
    """What a v2 pair asks for an output, rounded up. Raises ValueError if it has not that much."""
    if amount_out >= reserve_out:
        raise ValueError(f"the pair holds {reserve_out}, so it cannot send {amount_out}")
    return reserve_in * amount_out * 1000 // ((reserve_out - amount_out) * 997) + 1


# -- routes and addresses --


def encode_v3_route(tokens: Sequence[str], fees: Sequence[int]) -> bytes:
    """Packed path through v3 pools: token, fee in 3 bytes, token, ..., from input to output.

    Raises ValueError unless there is one fee (in millionths) between every two tokens.
    """
    if len(tokens) < 2 or len(fees) != len(tokens) - 1:
        raise ValueError("a v3 route has at least two tokens and one fee between every two")
    route: bytes = to_canonical_address(tokens[0])
    for fee, token in zip(fees, tokens[1:], strict=True):
        route += fee.to_bytes(3, "big") + to_canonical_address(token)
    return route


def reverse_v3_route(route: bytes) -> bytes:
    """The same pools the other way round, as Uniswap's own quoter takes an exact output's path."""
    tokens = [route[start : start + 20] for start in range(0, len(route), 23)]
    fees = [route[start : start + 3] for start in range(20, len(route), 23)]
    steps = zip(tokens[-2::-1], fees[::-1], strict=True)
    return tokens[-1] + b"".join(fee + token for token, fee in steps)


def encode_v2_route(tokens: Sequence[str]) -> bytes:
    """Packed path through v2 pairs: the tokens, from input to output."""
    if len(tokens) < 2:
        raise ValueError("a v2 route has at least two tokens")
    return b"".join(to_canonical_address(token) for token in tokens)


def sort_tokens(token_a: str, token_b: str) -> tuple[str, str]:
    """(token0, token1) of a pool. Raises ValueError if both are the same token."""
    low, high = sorted((to_canonical_address(token_a), to_canonical_address(token_b)))
    if low == high:
        raise ValueError(f"a pool needs two different tokens, not {token_a} twice")
    return to_checksum_address(low), to_checksum_address(high)


def v3_pool_address(factory: str, token_a: str, token_b: str, fee: int) -> str:
    """Where the factory's pool of two tokens and a fee (in millionths) is, or would be."""
    token0, token1 = (to_canonical_address(token) for token in sort_tokens(token_a, token_b))
    salt = keccak(token0.rjust(32, b"\0") + token1.rjust(32, b"\0") + fee.to_bytes(32, "big"))
    return _create2_address(factory, salt, V3_POOL_INIT_CODE_HASH)


def v2_pair_address(factory: str, token_a: str, token_b: str) -> str:
    """Where the factory's pair of two tokens is, or would be."""
    token0, token1 = (to_canonical_address(token) for token in sort_tokens(token_a, token_b))
    return _create2_address(factory, keccak(token0 + token1), V2_PAIR_INIT_CODE_HASH)


def _create2_address(deployer: str, salt: bytes, initcode_hash: bytes) -> str:
    digest = keccak(b"\xff" + to_canonical_address(deployer) + salt + initcode_hash)
    return to_checksum_address(digest[12:])


# -- prices --


@dataclass(frozen=True)
class TokenPair:
    """Two tokens with their decimals, the base priced in the quote (the token in USDT)."""

    base: str
    quote: str
    base_decimals: int
    quote_decimals: int

    @property
    def base_is_token0(self) -> bool:
        """Whether the base is the pool's token0."""
        return sort_tokens(self.base, self.quote)[0] == to_checksum_address(self.base)

    def sqrt_price_x96(self, price: Decimal) -> int:
        """The pool's price for a price in quote per base, rounded down.

        Raises ValueError where Uniswap v3 cannot represent it.
        """
        numerator, denominator = price.as_integer_ratio()
        numerator *= 10**self.quote_decimals
        denominator *= 10**self.base_decimals
        if not self.base_is_token0:
            numerator, denominator = denominator, numerator
        sqrt_price_x96 = isqrt((numerator << 192) // denominator) if denominator else 0
        if not MIN_SQRT_PRICE_X96 < sqrt_price_x96 < MAX_SQRT_PRICE_X96:
            raise ValueError(f"a price of {price} is outside the range of Uniswap v3")
        return sqrt_price_x96

    def price(self, sqrt_price_x96: int) -> Decimal:
        """Quote per base of a pool's price, to 60 digits."""
        square = Decimal(sqrt_price_x96 * sqrt_price_x96)
        unit = Decimal(2**192)
        context = Context(prec=60)
        ratio = (
            context.divide(square, unit) if self.base_is_token0 else context.divide(unit, square)
        )
        return ratio.scaleb(self.base_decimals - self.quote_decimals, context)

    def price_e36(self, sqrt_price_x96: int) -> int:
        """A pool's price in Perpool's scale: `base_amount * price_e36 // 10**36` in the quote.

        Rounded down.
        """
        square = sqrt_price_x96 * sqrt_price_x96
        if self.base_is_token0:
            return square * 10**36 >> 192
        return (10**36 << 192) // square

    def amounts(self, base_amount: int, quote_amount: int) -> tuple[int, int]:
        """The amounts in the pool's order, (amount0, amount1)."""
        return (base_amount, quote_amount) if self.base_is_token0 else (quote_amount, base_amount)

    def tick_range(self, low: Decimal, high: Decimal, tick_spacing: int) -> tuple[int, int]:
        """The narrowest ticks around a range of prices, (tick_lower, tick_upper).

        Raises ValueError unless low is below high.
        """
        if not low < high:
            raise ValueError(f"{low}..{high} is no range of prices")
        ticks = sorted(tick_at_sqrt_price(self.sqrt_price_x96(price)) for price in (low, high))
        lower = ticks[0] // tick_spacing * tick_spacing
        upper = (ticks[1] // tick_spacing + 1) * tick_spacing
        lowest, highest = full_range(tick_spacing)
        return max(lower, lowest), min(upper, highest)

    def liquidity_amounts(
        self, sqrt_price_x96: int, tick_lower: int, tick_upper: int, quote_amount: int
    ) -> tuple[int, int]:
        """(base amount, quote amount) of a position holding `quote_amount` at this price.

        Raises ValueError when the position would hold no quote at this price.
        """
        lower, upper = sqrt_price_at_tick(tick_lower), sqrt_price_at_tick(tick_upper)
        price = min(max(sqrt_price_x96, lower), upper)
        if price == (lower if self.base_is_token0 else upper):
            raise ValueError("at this price the position holds the base token only")
        if self.base_is_token0:
            liquidity = quote_amount * Q96 // (price - lower)
        else:
            liquidity = quote_amount * (price * upper // Q96) // (upper - price)
        amounts = amounts_for_liquidity(sqrt_price_x96, tick_lower, tick_upper, liquidity)
        base_amount = amounts[0] if self.base_is_token0 else amounts[1]
        return base_amount, quote_amount
