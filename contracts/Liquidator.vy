# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Liquidator without capital
@license AGPL-3.0-only
@author Perpool
@notice Liquidates a position of either pool for anybody: takes the collateral, sells it for the pool's asset, repays out
        of that, and pays the rest to the receiver.

@dev ASSUMPTIONS
     None on pool, adapter, route or tokens: the caller names them all, and each may be hostile. There is nothing here
     for them to take:
       - between calls nothing is held and nobody may spend anything. Tokens sent here by mistake stay for ever: no call
         sells, pays with or counts what lay here before it, so that nobody can make a liquidation look as if it paid.
       - within a call everything was freed by it. The lock keeps a second call out, and the callback is open once, to the
         one pool that the call is for.
       - no account allows anything to this contract, and it makes no call of others' choosing: their addresses, but our
         functions. The adapter is handed its input and has no allowance.
     What the pool says is asked once, before it is called, so that it cannot name one token to be approved and
     another to be cleared.
     The profit is what has arrived in the call, not what anybody says; a caller is protected by his `min_profit`.

     LIVENESS
     Nothing here can be paused or changed. The pool may pull all of what the sale brought in, not only what is due: where
     the asset takes a fee on transfers, more has to be sent for as much to arrive.

     ROLES
     None.

     ROUNDING
     The pool's and the adapter's.
"""
from interfaces import ICallbacks
from interfaces import ILiquidator
from interfaces import IPool
from interfaces import IReversePool
from interfaces import ISwapper
from contracts.modules import tokens
from contracts.modules import tool_errors

implements: ICallbacks
implements: ILiquidator

# of the running call
_pool: transient (address)  # that may call back now
_asset: transient (address)
_collateral: transient (address)
_swapper: transient (address)
_route: transient (Bytes[256])
# what lay here before, and stays
_stray_asset: transient (uint256)
_stray_collateral: transient (uint256)


@external
def liquidate(
    pool: address,
    borrower: address,
    max_repay: uint256,
    swapper: address,
    route: Bytes[256],
    min_profit: uint256,
    receiver: address,
) -> uint256:
    """
    @notice Liquidates through the pool's own `liquidate`, without capital.
    @param max_repay In the pool's asset; max_value(uint256) for as much as the terms allow.
    @param route The adapter's, from the pool's collateral to its asset.
    @param min_profit In the pool's asset.
    @return Of the pool's asset, what `receiver` got.
    """
    assert receiver not in [empty(address), self], tool_errors.BAD_RECEIVER
    config: IPool.Config = staticcall IPool(pool).config()
    self._asset = config.asset
    self._collateral = config.collateral
    self._swapper = swapper
    self._route = route
    self._stray_asset = tokens._balance(config.asset)
    self._stray_collateral = tokens._balance(config.collateral)
    self._pool = pool

    repaid: uint256 = 0
    seized: uint256 = 0
    # not empty, so that the pool calls back; both pools' function is the same
    repaid, seized = extcall IReversePool(pool).liquidate(borrower, max_repay, self, b"sell")

    # the pool may have left the callback, or a part of its allowance, unused
    self._pool = empty(address)
    tokens._approve(config.asset, pool, 0)
    profit: uint256 = tokens._balance(config.asset) - self._stray_asset
    assert profit >= min_profit, tool_errors.UNPROFITABLE
    log ILiquidator.Liquidation(
        caller=msg.sender,
        pool=pool,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        seized=seized,
        profit=profit,
    )
    tokens._push(config.asset, receiver, profit)
    # what an adapter did not spend
    unspent: uint256 = tokens._balance(config.collateral) - self._stray_collateral
    tokens._push(config.collateral, receiver, unspent)
    return profit


@external
@reentrant
def on_collateral(account: address, due: uint256, collateral_out: uint256, data: Bytes[1024]):
    """
    @notice Sells the collateral that the pool has just sent, and lets it pull the proceeds.
    @dev Reentrant because it is called while `liquidate` holds the lock. Nothing that the caller passes is used.
    """
    assert msg.sender == self._pool, tool_errors.NOT_THE_POOL
    self._pool = empty(address)

    asset: address = self._asset
    collateral: address = self._collateral
    token_amount: uint256 = tokens._balance(collateral) - self._stray_collateral
    # a position may be liquidated of which nothing is left
    if token_amount > 0:
        swapper: address = self._swapper
        tokens._push(collateral, swapper, token_amount)
        extcall ISwapper(swapper).swap_exact_in(collateral, asset, token_amount, self._route)
    tokens._approve(asset, msg.sender, tokens._balance(asset) - self._stray_asset)
