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
def _sell(swapper: address, token_amount: uint256, route: Bytes[256]) -> uint256:
    """
    @notice Has an adapter sell tokens. No total and no position is stored yet and the pool is locked,
            so whoever reads it meanwhile sees it as it was before; the same holds for `_buy`.
    @return USDT that came in, by the pool's own balance.
    """
    self._check_swapper(swapper)
    token: address = market.CONFIG.asset
    usdt: address = market.CONFIG.collateral
    before: uint256 = staticcall IERC20(usdt).balanceOf(self)
    tokens._push(token, swapper, token_amount)
    extcall ISwapper(swapper).swap_exact_in(token, usdt, token_amount, route)
    return staticcall IERC20(usdt).balanceOf(self) - before


@internal
def _buy(
    swapper: address, budget: uint256, token_amount: uint256, route: Bytes[256]
) -> (uint256, uint256):
    """
    @notice Has an adapter buy `token_amount` for at most `budget` USDT, or for all of it where
            `token_amount` is zero.
    @return USDT spent and tokens that came in, by the pool's own balances.
    """
    self._check_swapper(swapper)
    token: address = market.CONFIG.asset
    usdt: address = market.CONFIG.collateral
    usdt_before: uint256 = staticcall IERC20(usdt).balanceOf(self)
    token_before: uint256 = staticcall IERC20(token).balanceOf(self)
    tokens._push(usdt, swapper, budget)
    if token_amount == 0:
        extcall ISwapper(swapper).swap_exact_in(usdt, token, budget, route)
    else:
        extcall ISwapper(swapper).swap_exact_out(usdt, token, token_amount, budget, route)
    spent: uint256 = usdt_before - staticcall IERC20(usdt).balanceOf(self)
    return spent, staticcall IERC20(token).balanceOf(self) - token_before


@internal
@view
def _check_swapper(swapper: address):
    if not staticcall IPoolFactory(market.FACTORY).is_swapper(swapper):
        errors._unknown_swapper()
