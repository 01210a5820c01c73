# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the forward pool trades
@license AGPL-3.0-only
@notice Swaps through adapters, measured by the pool's own balances; the books of all tokens sold and bought back; the
        cap on what is sold in one block.
"""
from ethereum.ercs import IERC20
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
    @notice (block of the last opening, tokens sold in it)
    """
    return self.block_word & MAX_UINT32, (self.block_word >> 32) & MAX_UINT112


@internal
def _set_block_cap(block_cap: uint256):
    self.block_word = (self.block_word & (2**144 - 1)) | (min(block_cap, MAX_UINT112) << 144)


@internal
@view
def _block_cap() -> uint256:
    return self.block_word >> 144


@internal
def _count_in_block(token_amount: uint256):
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
    swapper: address, is_sale: bool, amount_in: uint256, amount_out: uint256, route: Bytes[256]
) -> (uint256, uint256):
    """
    @notice Sells tokens for USDT or buys them with it. Sends `amount_in` to an adapter to be swapped for `amount_out`, or all of it where that is zero. Nothing of
            the pool is stored yet and the pool is locked, so whoever reads it meanwhile sees it as it was before.
    @return What was spent and what came in, by the pool's own balances.
    """
    if not staticcall IPoolFactory(market.FACTORY).is_swapper(swapper):
        errors._unknown_swapper()
    token_in: address = market.CONFIG.collateral
    token_out: address = market.CONFIG.asset
    if is_sale:
        token_in = market.CONFIG.asset
        token_out = market.CONFIG.collateral
    before_in: uint256 = staticcall IERC20(token_in).balanceOf(self)
    before_out: uint256 = staticcall IERC20(token_out).balanceOf(self)
    tokens._push(token_in, swapper, amount_in)
    if amount_out == 0:
        extcall ISwapper(swapper).swap_exact_in(token_in, token_out, amount_in, route)
    else:
        extcall ISwapper(swapper).swap_exact_out(token_in, token_out, amount_out, amount_in, route)
    spent: uint256 = before_in - staticcall IERC20(token_in).balanceOf(self)
    return spent, staticcall IERC20(token_out).balanceOf(self) - before_out
