# pragma version 0.4.3
"""
@title Rogue pool
@license AGPL-3.0-only
@author Perpool
@notice Passes itself off as a pool: names tokens as its asset and collateral, other ones once it is called, makes
        prepared calls in a liquidation, and claims the best.
"""
from interfaces import IPool


struct Step:
    target: address
    call_data: Bytes[1024]
    # whether its failure is everybody's
    must_succeed: bool


asset: address
collateral: address
asset_afterwards: address
steps: DynArray[Step, 8]
successes: DynArray[bool, 8]


@external
def prepare(
    asset: address, collateral: address, asset_afterwards: address, steps: DynArray[Step, 8]
):
    """
    @notice Anyone may.
    @param asset_afterwards What `config` says from the middle of a liquidation on.
    @param steps What the next liquidation does.
    """
    self.asset = asset
    self.collateral = collateral
    self.asset_afterwards = asset_afterwards
    self.steps = steps
    self.successes = []


@external
@view
def config() -> IPool.Config:
    config: IPool.Config = empty(IPool.Config)
    config.asset = self.asset
    config.collateral = self.collateral
    return config


@external
def liquidate(
    borrower: address, max_repay: uint256, receiver: address, data: Bytes[1024]
) -> (uint256, uint256):
    """
    @notice As IReversePool.
    """
    self.asset = self.asset_afterwards
    for step: Step in self.steps:
        success: bool = raw_call(step.target, step.call_data, revert_on_failure=False)
        assert success or not step.must_succeed, "prepared step failed"
        self.successes.append(success)
    return max_value(uint256), max_value(uint256)


@external
@view
def outcome() -> DynArray[bool, 8]:
    """
    @notice Success of each step of the last liquidation.
    """
    return self.successes
