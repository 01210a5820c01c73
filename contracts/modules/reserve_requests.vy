# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title How the factory's owner takes a pool's reserve
@license AGPL-3.0-only
@notice In two steps with a delay between them, so that lenders see it coming, and never below the pool's floor.
@dev ROUNDING. The floor is rounded up.
"""
from ethereum.ercs import IERC4626
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import factory_errors as errors
from contracts.modules import wad_math

DELAY: constant(uint256) = 7 * 86400
# after which a request has to be made anew, so that none lies ready for ever
WINDOW: constant(uint256) = 7 * 86400


struct Request:
    shares: uint256
    ready_at: uint256


requests: HashMap[address, Request]


@external
@view
def reserve_request(pool: address) -> (uint256, uint256):
    """
    @notice (shares asked for, earliest time to take them)
    """
    return self.requests[pool].shares, self.requests[pool].ready_at


@internal
def _request(pool: address, shares: uint256):
    ready_at: uint256 = block.timestamp + DELAY
    self.requests[pool] = Request(shares=shares, ready_at=ready_at)
    log IPoolFactory.ReserveWithdrawalRequested(pool=pool, shares=shares, ready_at=ready_at)


@internal
def _withdraw(pool: address, receiver: address) -> uint256:
    """
    @return Assets, rounded down.
    """
    assert receiver != empty(address) and receiver != pool, errors.BAD_RECEIVER
    request: Request = self.requests[pool]
    assert request.shares > 0, errors.NOTHING_REQUESTED
    assert block.timestamp >= request.ready_at, errors.RESERVE_LOCKED
    assert block.timestamp < request.ready_at + WINDOW, errors.REQUEST_EXPIRED
    self.requests[pool] = empty(Request)
    assets: uint256 = extcall IPool(pool).withdraw_reserve(request.shares, receiver)

    state: IPool.State = staticcall IPool(pool).state()
    leg: IPool.LegParameters = (staticcall IPool(pool).config()).leg
    kept: uint256 = staticcall IERC4626(pool).convertToAssets(state.reserve_shares)
    assert kept >= wad_math._share_of_up(
        state.supply_assets, leg.reserve_floor
    ), errors.RESERVE_LOCKED
    return assets
