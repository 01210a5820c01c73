# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Uniswap v2 swap adapter
@license AGPL-3.0-only
@author Perpool
@notice The adapter for measuring gas against peers whose shorts sold on Uniswap v2. Not part of the product. The
        route is the packed path of tokens, 20 bytes each, from token_in to token_out for both functions.
@dev ASSUMPTIONS
     As UniswapV3Swapper's. Pairs are derived from the factory and their two tokens, never passed in, and do not call
     back, because they are given no data.

     ROUNDING
     Uniswap's: outputs down, inputs up.
"""

from contracts.modules import swap_errors
from contracts.modules import tokens
from interfaces import ISwapper

implements: ISwapper


interface IUniswapV2Pair:
    def getReserves() -> (uint256, uint256, uint256): view
    def swap(amount0_out: uint256, amount1_out: uint256, to: address, data: Bytes[1]): nonpayable


# keccak256 of UniswapV2Pair's init code, of @uniswap/v2-core 1.0.1 as deployed on Ethereum
PAIR_INIT_CODE_HASH: public(
    constant(bytes32)
) = 0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f

TOKEN_SIZE: constant(uint256) = 20
MAX_HOPS: constant(uint256) = 11

# what is left of 1,000 after the fee of 0.3 %
AFTER_FEE: constant(uint256) = 997

factory: public(immutable(address))


@deploy
def __init__(v2_factory: address):
    assert v2_factory != empty(address), swap_errors.NO_FACTORY
    factory = v2_factory


@external
def swap_exact_in(
    token_in: address, token_out: address, amount_in: uint256, route: Bytes[256]
) -> uint256:
    """
    @notice Sell exactly `amount_in`, which has been transferred here, and send what it buys to the caller.
    @param route Packed path from `token_in` to `token_out`: token, token, ...
    @return What the last pair sent to the caller, of `token_out`.
    """
    hops: uint256 = self._count_hops(token_in, token_out, route)

    token: address = token_in
    amount: uint256 = amount_in
    pair: address = empty(address)
    for hop: uint256 in range(hops, bound=MAX_HOPS):
        next_token: address = self._token_at(route, hop + 1)
        if hop == 0:
            pair = self._pair_of(token, next_token)
            tokens._push(token_in, pair, amount)
        next_pair: address = msg.sender
        if hop + 1 < hops:
            next_pair = self._pair_of(next_token, self._token_at(route, hop + 2))

        reserve_in: uint256 = 0
        reserve_out: uint256 = 0
        reserve_in, reserve_out = self._reserves(pair, token, next_token)
        paid: uint256 = amount * AFTER_FEE
        amount = paid * reserve_out // (reserve_in * 1000 + paid)
        self._swap(pair, token, next_token, amount, next_pair)
        token = next_token
        pair = next_pair

    return amount


@external
def swap_exact_out(
    token_in: address,
    token_out: address,
    amount_out: uint256,
    amount_in_max: uint256,
    route: Bytes[256],
) -> uint256:
    """
    @notice Buy exactly `amount_out` for the caller, who has transferred `amount_in_max` here, and send back what is
            left of it.
    @param route Packed path from `token_in` to `token_out`: token, token, ...
    @return What was spent, of `token_in`.
    """
    hops: uint256 = self._count_hops(token_in, token_out, route)

    # backwards: what each pair is owed for what the next one asks
    amounts: uint256[MAX_HOPS] = empty(uint256[MAX_HOPS])
    pairs: address[MAX_HOPS] = empty(address[MAX_HOPS])
    amount: uint256 = amount_out
    token: address = token_out
    for i: uint256 in range(hops, bound=MAX_HOPS):
        hop: uint256 = hops - 1 - i
        amounts[hop] = amount
        previous: address = self._token_at(route, hop)
        pair: address = self._pair_of(previous, token)
        pairs[hop] = pair
        reserve_in: uint256 = 0
        reserve_out: uint256 = 0
        reserve_in, reserve_out = self._reserves(pair, previous, token)
        assert amount < reserve_out, swap_errors.INSUFFICIENT_OUTPUT
        amount = reserve_in * amount * 1000 // ((reserve_out - amount) * AFTER_FEE) + 1
        token = previous
    assert amount <= amount_in_max, swap_errors.EXCESSIVE_INPUT

    tokens._push(token_in, pairs[0], amount)
    for hop: uint256 in range(hops, bound=MAX_HOPS):
        next_token: address = token_out
        receiver: address = msg.sender
        if hop + 1 < hops:
            next_token = self._token_at(route, hop + 1)
            receiver = pairs[hop + 1]
        self._swap(pairs[hop], token, next_token, amounts[hop], receiver)
        token = next_token

    if amount < amount_in_max:
        tokens._push(token_in, msg.sender, amount_in_max - amount)
    return amount


@internal
def _swap(
    pair: address, token_in: address, token_out: address, amount_out: uint256, receiver: address
):
    # `_reserves` has found a contract there
    if convert(token_in, uint256) < convert(token_out, uint256):
        extcall IUniswapV2Pair(pair).swap(0, amount_out, receiver, b"", skip_contract_check=True)
    else:
        extcall IUniswapV2Pair(pair).swap(amount_out, 0, receiver, b"", skip_contract_check=True)


@internal
@view
def _reserves(pair: address, token_in: address, token_out: address) -> (uint256, uint256):
    assert pair.is_contract, swap_errors.NO_POOL
    reserve0: uint256 = 0
    reserve1: uint256 = 0
    last_time: uint256 = 0
    reserve0, reserve1, last_time = staticcall IUniswapV2Pair(pair).getReserves()
    if convert(token_in, uint256) < convert(token_out, uint256):
        return reserve0, reserve1
    return reserve1, reserve0


@internal
@view
def _pair_of(token_a: address, token_b: address) -> address:
    low: uint256 = min(convert(token_a, uint256), convert(token_b, uint256))
    high: uint256 = max(convert(token_a, uint256), convert(token_b, uint256))
    salt: bytes32 = keccak256(
        concat(convert(convert(low, address), bytes20), convert(convert(high, address), bytes20))
    )
    digest: bytes32 = keccak256(concat(0xff, convert(factory, bytes20), salt, PAIR_INIT_CODE_HASH))
    return convert(convert(digest, uint256) & (2**160 - 1), address)


@internal
@pure
def _count_hops(token_in: address, token_out: address, route: Bytes[256]) -> uint256:
    size: uint256 = len(route)
    assert size >= 2 * TOKEN_SIZE and size % TOKEN_SIZE == 0, swap_errors.BAD_ROUTE
    hops: uint256 = size // TOKEN_SIZE - 1
    assert self._token_at(route, 0) == token_in, swap_errors.WRONG_TOKENS
    assert self._token_at(route, hops) == token_out, swap_errors.WRONG_TOKENS
    return hops


@internal
@pure
def _token_at(route: Bytes[256], index: uint256) -> address:
    return convert(slice(route, index * TOKEN_SIZE, TOKEN_SIZE), address)
