# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Uniswap v3 swap adapter
@license AGPL-3.0-only
@author Perpool
@notice Swaps through Uniswap v3 pools directly, over one pool or several, for an exact input or an exact output. The
        caller transfers the input here first and calls in the same transaction; what was bought goes from the last
        pool to the caller, what was not spent from here to the caller. No approvals, no funds between calls, no owner.

@dev ASSUMPTIONS
     The factory is Uniswap's, and its pools are the v3-core that POOL_INIT_CODE_HASH stands for: such a pool calls
     back only whom it was called by, once a swap, with the data it was given, and asks for no more than the exact input
     or for what the exact output costs. Pools are never passed in, only derived from their tokens and fee.
     Tokens move what they are told to move. One that takes a fee on transfer cannot be the input (the pool refuses to
     be paid short), and as the output it brings the caller less than this contract says: the caller believes only its
     own balances. Tokens of a route are as untrusted as its author: during a swap they may call anything.

     Tokens that are here between calls, sent by mistake or without a swap in the same transaction, belong to whoever
     claims next to have given them. There is nothing to get them back with, and nobody to ask.

     REENTRANCY
     The lock covers both swap functions. The callback has to be open while one of them runs, and is held to it by
     two words of transient storage instead:
       - `_venue` is the one pool that may call back now. It is set right before the pool is called and cleared, or moved
         on to the next pool, by the callback itself. So it is zero between calls, and a token called in the middle
         of a swap finds only a pool there whose own lock is shut.
       - `_budget` is what the running call may still pay of the token in hand. Payments and the refund come out of it,
         so that together they are never more than the caller says to have given.

     LIVENESS
     Nothing here can be paused or changed. A swap reverts when a pool on the route does not exist, has not enough
     liquidity, or is entered twice by an exact output; an exact input is spent whole or not at all.

     ROLES
     None.

     ROUNDING
     The pools', each time for the pool.
"""

from contracts.modules import swap_errors
from contracts.modules import tokens
from interfaces import ISwapper

implements: ISwapper


interface IUniswapV3Pool:
    def swap(
        recipient: address,
        zero_for_one: bool,
        amount_specified: int256,
        sqrt_price_limit_x96: uint160,
        data: Bytes[256],
    ) -> (int256, int256): nonpayable


# keccak256 of UniswapV3Pool's init code, of @uniswap/v3-core 1.0.1 and on Ethereum
POOL_INIT_CODE_HASH: public(
    constant(bytes32)
) = 0xe34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54

# The last prices that a v3 pool accepts as a limit: no limit. What a swap may cost, the caller judges.
LOWEST_SQRT_PRICE_X96: constant(uint160) = 4295128740
HIGHEST_SQRT_PRICE_X96: constant(uint160) = 1461446703485210103287273052203988822378723970341

# Bytes of a packed route: token 20 | fee 3 | token 20 | fee 3 | ... | token 20
TOKEN_SIZE: constant(uint256) = 20
STEP_SIZE: constant(uint256) = 23
HOP_SIZE: constant(uint256) = 43
MAX_HOPS: constant(uint256) = 10
FEE_MASK: constant(uint256) = 2**24 - 1
ADDRESS_MASK: constant(uint256) = 2**160 - 1

factory: public(immutable(address))

# the pool that may call back
_venue: transient (address)
# what may still be paid of the token in hand
_budget: transient (uint256)


@deploy
def __init__(v3_factory: address):
    assert v3_factory != empty(address), swap_errors.NO_FACTORY
    factory = v3_factory


@external
def swap_exact_in(
    token_in: address, token_out: address, amount_in: uint256, route: Bytes[256]
) -> uint256:
    """
    @notice Sell exactly `amount_in`, which has been transferred here, and send what it buys to the caller.
    @param route Packed path from `token_in` to `token_out`: token, fee (3 bytes), token, ...
    @return What the last pool sent to the caller, of `token_out`.
    """
    self._check_route(token_in, token_out, route)

    amount: uint256 = amount_in
    last: uint256 = len(route) - HOP_SIZE
    offset: uint256 = 0
    for _: uint256 in range(MAX_HOPS):
        self._budget = amount
        amount = self._swap(
            route,
            offset,
            msg.sender if offset == last else self,
            convert(amount, int256),
            slice(route, offset, TOKEN_SIZE),
        )
        assert self._budget == 0, swap_errors.PARTIAL_FILL
        if offset == last:
            break
        offset += STEP_SIZE

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
    @param route Packed path from `token_in` to `token_out`, as for `swap_exact_in`; it is swapped backwards.
    @return What was spent, of `token_in`.
    """
    self._check_route(token_in, token_out, route)

    self._budget = amount_in_max
    self._buy(msg.sender, amount_out, route)

    unspent: uint256 = self._budget
    if unspent != 0:
        tokens._push(token_in, msg.sender, unspent)
    return amount_in_max - unspent


@external
@reentrant
def uniswapV3SwapCallback(amount0_delta: int256, amount1_delta: int256, data: Bytes[256]):
    """
    @notice Pays the pool that a running swap has called; nobody else.
    @dev Reentrant because it is called while a swap holds the lock. See REENTRANCY above.
    @param amount0_delta What the pool is owed of its first token, if positive.
    @param amount1_delta What the pool is owed of its second token, if positive.
    @param data The route up to the token that is owed. Where that is more than the token alone, an exact output is
                running and the pool is paid by the one before it.
    """
    assert msg.sender == self._venue, swap_errors.NOT_THE_POOL

    owed: uint256 = convert(max(amount0_delta, amount1_delta), uint256)
    if len(data) != TOKEN_SIZE:
        self._buy(msg.sender, owed, data)
        return

    self._venue = empty(address)
    budget: uint256 = self._budget
    assert owed <= budget, swap_errors.EXCESSIVE_INPUT
    self._budget = budget - owed
    tokens._push(convert(slice(data, 0, TOKEN_SIZE), address), msg.sender, owed)


@internal
def _buy(receiver: address, amount_out: uint256, route: Bytes[256]):
    """
    @dev Exact output, from the last pool of `route`; its callback buys what it is owed from the rest of the route.
    """
    offset: uint256 = len(route) - HOP_SIZE
    wanted: int256 = -convert(amount_out, int256)
    received: uint256 = self._swap(
        route, offset, receiver, wanted, slice(route, 0, offset + TOKEN_SIZE)
    )
    assert received == amount_out, swap_errors.INSUFFICIENT_OUTPUT


@internal
def _swap(
    route: Bytes[256], offset: uint256, receiver: address, amount: int256, data: Bytes[256]
) -> uint256:
    """
    @dev One pool: the hop that begins at `offset`. A positive amount is an exact input, a negative one an exact
         output.
    @return What the pool sent to `receiver`.
    """
    head: uint256 = convert(extract32(route, offset), uint256)
    tail: uint256 = convert(extract32(route, offset + HOP_SIZE - 32), uint256)
    token_in: uint256 = head >> 96
    fee: uint256 = (head >> 72) & FEE_MASK
    token_out: uint256 = tail & ADDRESS_MASK
    zero_for_one: bool = token_in < token_out

    pool: address = self._pool_of(min(token_in, token_out), max(token_in, token_out), fee)
    # a call to nothing would fail too, but without a reason
    assert pool.is_contract, swap_errors.NO_POOL

    self._venue = pool
    delta0: int256 = 0
    delta1: int256 = 0
    delta0, delta1 = extcall IUniswapV3Pool(pool).swap(
        receiver,
        zero_for_one,
        amount,
        LOWEST_SQRT_PRICE_X96 if zero_for_one else HIGHEST_SQRT_PRICE_X96,
        data,
    )
    return convert(-(delta1 if zero_for_one else delta0), uint256)


@internal
@view
def _pool_of(token0: uint256, token1: uint256, fee: uint256) -> address:
    salt: bytes32 = keccak256(abi_encode(token0, token1, fee))
    digest: bytes32 = keccak256(concat(0xff, convert(factory, bytes20), salt, POOL_INIT_CODE_HASH))
    return convert(convert(digest, uint256) & ADDRESS_MASK, address)


@internal
@pure
def _check_route(token_in: address, token_out: address, route: Bytes[256]):
    size: uint256 = len(route)
    assert size >= HOP_SIZE and (size - TOKEN_SIZE) % STEP_SIZE == 0, swap_errors.BAD_ROUTE
    first: uint256 = convert(extract32(route, 0), uint256) >> 96
    last: uint256 = convert(extract32(route, size - 32), uint256) & ADDRESS_MASK
    assert first == convert(token_in, uint256), swap_errors.WRONG_TOKENS
    assert last == convert(token_out, uint256), swap_errors.WRONG_TOKENS
