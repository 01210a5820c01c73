# pragma version 0.4.3
"""
@title Caller of swap adapters
@license AGPL-3.0-only
@author Perpool
@notice Does what a pool does around a swap: hands the input over and calls, in one transaction. Swaps what it holds
        itself, for anyone.
"""

from contracts.modules import tokens
from interfaces import ISwapper


@external
def sell(
    swapper: address, token_in: address, token_out: address, amount_in: uint256, route: Bytes[256]
) -> uint256:
    """
    @notice Swap an exact input. Returns what the adapter says was sent here.
    """
    tokens._push(token_in, swapper, amount_in)
    return extcall ISwapper(swapper).swap_exact_in(token_in, token_out, amount_in, route)


@external
def buy(
    swapper: address,
    token_in: address,
    token_out: address,
    amount_out: uint256,
    amount_in_max: uint256,
    route: Bytes[256],
) -> uint256:
    """
    @notice Swap for an exact output. Returns what the adapter says was spent.
    """
    tokens._push(token_in, swapper, amount_in_max)
    return extcall ISwapper(swapper).swap_exact_out(
        token_in, token_out, amount_out, amount_in_max, route
    )
