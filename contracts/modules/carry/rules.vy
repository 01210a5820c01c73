# pragma version 0.4.3
"""
@title What the market and the parameters of a carry vault must satisfy
@license AGPL-3.0-only
"""
from interfaces import ICarryVault
from interfaces import IPerpVenue
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import carry_errors
from contracts.modules import wad_math
from contracts.modules.carry import targets

WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86400
POINT: constant(uint256) = 10**16  # of WAD
LARGEST_HEDGE: constant(uint256) = 2 * WAD
LARGEST_STAY: constant(uint256) = 90 * 86400
LARGEST_SLIPPAGE: constant(uint256) = 5 * POINT
LARGEST_TIP_RATE: constant(uint256) = POINT


@internal
@view
def _check_market(
    reverse_pool: address, forward_pool: address, venue: address, p: ICarryVault.Parameters
):
    """
    @notice Both pools are of one factory, of the same tokens as the venue, and at the same prices.
    """
    factory: address = staticcall IPool(reverse_pool).factory()
    reverse: IPool.Config = staticcall IPool(reverse_pool).config()
    forward: IPool.Config = staticcall IPool(forward_pool).config()
    if not (
        staticcall IPoolFactory(factory).is_pool(reverse_pool)
        and staticcall IPoolFactory(factory).is_pool(forward_pool)
        and reverse.asset == forward.collateral
        and reverse.collateral == forward.asset
        and reverse.price_oracle == forward.price_oracle
        and reverse.funding_token == reverse.collateral
        and staticcall IPerpVenue(venue).token() == reverse.collateral
        and staticcall IPerpVenue(venue).usdt() == reverse.asset
    ):
        carry_errors._wrong_market()
    self._check_parameters(p, reverse.leg, IPerpVenue(venue))


@internal
@view
def _check_parameters(p: ICarryVault.Parameters, leg: IPool.LegParameters, venue: IPerpVenue):
    margin_share: uint256 = targets._margin_share(p)
    # neither a hedge of nothing nor a division by it; the bands leave something to be inside of
    sound: bool = p.hedge_ratio > 0 and p.hedge_ratio <= LARGEST_HEDGE
    sound = sound and p.hedge_band > 0 and p.hedge_band < WAD and p.margin_band > 0
    # the debt: within what the pool lends in a storm, and well below where it liquidates
    sound = sound and margin_share <= p.ltv_ceiling and p.ltv_ceiling <= leg.stressed_ltv
    sound = sound and p.ltv_ceiling + p.ltv_band + 5 * POINT <= leg.liquidation_ltv
    # a hedge that gives way instead of selling: price alone never lifts the debt above h * (1 + m)
    if not p.may_sell:
        sound = sound and p.hedge_ratio + margin_share + 5 * POINT <= p.ltv_ceiling
    # what anybody can make the loan cost by borrowing all there is does not by itself end a stay
    full_rate: uint256 = leg.base_rate + leg.slope1 + leg.slope2
    sound = (
        sound and p.worst_carry >= wad_math._share_of_up(p.ltv_ceiling + p.ltv_band, full_rate)
    )
    # the margin: well above where the venue liquidates, and enough to open with anywhere in the band
    sound = sound and p.margin_ratio <= WAD
    sound = sound and p.margin_ratio >= (
        p.margin_band
        + max(staticcall venue.maintenance_margin() + 20 * POINT, staticcall venue.initial_margin())
    )
    # switching: what is earned between the rates in the shortest stay pays for opening and closing the hedge
    sound = sound and p.leave_rate < p.enter_rate and p.min_stay <= LARGEST_STAY
    sound = (
        sound and (p.enter_rate - p.leave_rate) * p.min_stay >= 2 * YEAR * staticcall venue.fee()
    )
    sound = (
        sound and p.max_slippage > 0 and p.max_slippage <= min(leg.max_slippage, LARGEST_SLIPPAGE)
    )
    sound = sound and p.tip_rate <= LARGEST_TIP_RATE
    if not sound:
        carry_errors._bad_parameters()
