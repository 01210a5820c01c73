# pragma version 0.4.3
"""
@title Collateral seller
@license AGPL-3.0-only
@author Perpool
@notice Pays for a liquidation or a deleverage by selling as much of the collateral as that takes, within the callback
        and by an exact output. What is left of the collateral stays here.
"""
from ethereum.ercs import IERC20
from contracts.modules import tokens
from interfaces import ICallbacks
from interfaces import IPool
from interfaces import IReversePool
from interfaces import ISwapper

implements: ICallbacks


event CalledBack:
    pool: address
    account: address
    due: uint256
    collateral_out: uint256
    held: uint256


@external
def liquidate(
    pool: address, borrower: address, max_repay: uint256, swapper: address, route: Bytes[256]
) -> (uint256, uint256):
    """
    @param route The adapter's route from collateral to asset.
    @return What the pool returned.
    """
    return extcall IReversePool(pool).liquidate(
        borrower, max_repay, self, abi_encode(swapper, route)
    )


@external
def deleverage(
    pool: address,
    collateral_out: uint256,
    usdt_amount: uint256,
    on_behalf: address,
    swapper: address,
    route: Bytes[256],
) -> uint256:
    """
    @param route The adapter's route from collateral to asset.
    @return What the pool returned.
    """
    return extcall IReversePool(pool).deleverage(
        collateral_out, usdt_amount, on_behalf, self, abi_encode(swapper, route)
    )


@external
def on_collateral(account: address, due: uint256, collateral_out: uint256, data: Bytes[1024]):
    """
    @notice See ICallbacks.
    """
    config: IPool.Config = staticcall IPool(msg.sender).config()
    log CalledBack(
        pool=msg.sender,
        account=account,
        due=due,
        collateral_out=collateral_out,
        held=staticcall IERC20(config.collateral).balanceOf(self),
    )
    swapper: address = empty(address)
    route: Bytes[256] = b""
    swapper, route = abi_decode(data, (address, Bytes[256]))
    tokens._push(config.collateral, swapper, collateral_out)
    extcall ISwapper(swapper).swap_exact_out(
        config.collateral, config.asset, due, collateral_out, route
    )
    extcall IERC20(config.asset).approve(msg.sender, due, default_return_value=True)
