# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the forward pool trades
@license AGPL-3.0-only
@notice Swaps through adapters, measured by the pool's own balances; the books of all tokens sold and bought back; the
        cap on what is sold in one block.
"""
from contracts.modules import errors
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import tokens
from interfaces import IPoolFactory
from interfaces import ISwapper

uses: market

MAX_UINT32: constant(uint256) = 2**32 - 1
MAX_UINT112: constant(uint256) = 2**112 - 1

# tokens ever sold | tokens ever bought back
books_word: uint256

# block 32 | tokens sold in it 112 | cap a block 112
block_word: uint256


@external
@view
@reentrant
def books() -> (uint256, uint256):
    """
    @notice (tokens ever sold, tokens ever bought back). What is open now is the pool's debt.
    """
    return self.books_word & packing.MAX_UINT128, self.books_word >> 128


@external
@view
@reentrant
def sold_in_block() -> (uint256, uint256):
    """
    @notice (block of the last opening under a cap, tokens sold in it)
    """
    return self.block_word & MAX_UINT32, (self.block_word >> 32) & MAX_UINT112


@internal
def _set_block_cap(block_cap: uint256) -> bool:
    """
    @return Whether there is one, so that it has to be looked at.
    """
    cap: uint256 = min(block_cap, MAX_UINT112)
    # what was sold in this block is forgotten
    self.block_word = cap << 144
    return cap < MAX_UINT112


@internal
@view
def _block_cap() -> uint256:
    return self.block_word >> 144


@internal
def _count_in_block(token_amount: uint256):
    """
    @notice For what is sold while any cap is set.
    """
    word: uint256 = self.block_word
    sold: uint256 = token_amount
    if word & MAX_UINT32 == block.number:
        sold += (word >> 32) & MAX_UINT112
    if sold > word >> 144:
        errors._block_cap()
    self.block_word = block.number | (sold << 32) | ((word >> 144) << 144)


@internal
def _book(token_sold: uint256, token_bought: uint256):
    word: uint256 = self.books_word
    self.books_word = packing._pack_halves(
        (word & packing.MAX_UINT128) + token_sold, (word >> 128) + token_bought
    )


@internal
def _swap(
    swapper: address,
    token_in: address,
    token_out: address,
    amount_in: uint256,
    amount_out: uint256,
    route: Bytes[256],
) -> (uint256, uint256):
    """
    @notice Has an adapter trade all of `amount_in`, or at most that for `amount_out` where it is above zero. No total
            and no position is stored yet and the pool is locked, so whoever reads it meanwhile sees it as it was.
    @return What went out and what came in, by the pool's own balances.
    """
    if not staticcall IPoolFactory(market.FACTORY).is_swapper(swapper):
        errors._unknown_swapper()
    in_before: uint256 = tokens._balance(token_in)
    out_before: uint256 = tokens._balance(token_out)
    tokens._push(token_in, swapper, amount_in)
    if amount_out == 0:
        extcall ISwapper(swapper).swap_exact_in(token_in, token_out, amount_in, route)
    else:
        extcall ISwapper(swapper).swap_exact_out(token_in, token_out, amount_out, amount_in, route)
    return (
        in_before - tokens._balance(token_in),
        tokens._balance(token_out) - out_before,
    )
