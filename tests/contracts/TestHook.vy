# pragma version 0.4.3
"""
@title Hook for tests
@license AGPL-3.0-only
@author Perpool
@notice Logs what a pool tells it beside what the pool says meanwhile. Can fail, burn all its gas, or make a prepared
        call.
"""
from interfaces import IHook

implements: IHook


interface Pool:
    def balanceOf(account: address) -> uint256: view
    def debt_shares_of(account: address) -> uint256: view


event Told:
    pool: indexed(address)
    account: indexed(address)
    side: IHook.Side
    told: uint256
    shares: uint256
    debt_shares: uint256
    gas: uint256


event Called:
    success: bool


flag Behaviour:
    FAIL
    BURN_GAS
    CALL

behaviour: Behaviour
target: address
call_data: Bytes[1024]


@external
def fail():
    """
    @notice Revert from now on.
    """
    self.behaviour = Behaviour.FAIL


@external
def burn_gas():
    """
    @notice From now on use up whatever gas there is.
    """
    self.behaviour = Behaviour.BURN_GAS


@external
def prepare_call(target: address, call_data: Bytes[1024]):
    """
    @notice Make this call from now on, and log whether it went through.
    """
    self.behaviour = Behaviour.CALL
    self.target = target
    self.call_data = call_data


@external
def on_change(account: address, side: IHook.Side, shares: uint256):
    """
    @notice See IHook.
    """
    gas: uint256 = msg.gas
    assert self.behaviour != Behaviour.FAIL, "hook fails"
    if self.behaviour == Behaviour.BURN_GAS:
        raise UNREACHABLE
    if self.behaviour == Behaviour.CALL:
        log Called(success=raw_call(self.target, self.call_data, revert_on_failure=False))
    log Told(
        pool=msg.sender,
        account=account,
        side=side,
        told=shares,
        shares=staticcall Pool(msg.sender).balanceOf(account),
        debt_shares=staticcall Pool(msg.sender).debt_shares_of(account),
        gas=gas,
    )
