# pragma version 0.4.3
"""
@title Carry lens
@license AGPL-3.0-only
@author Perpool
@notice How a carry vault stands: hedge ratio, delta, leverage, both liquidation prices, net carry.
@dev ASSUMPTIONS. It is asked of this repository's vaults; of anything else it believes what it is told.
@dev LIVENESS. Holds nothing and can do nothing. Without a price there is no answer.
@dev ROLES. None.
@dev ROUNDING. Against the vault: hedge ratio down, leverage, LTV and the loan's liquidation price up.
"""
from interfaces import ICarryLens
from interfaces import ICarryStrategy
from interfaces import ICarryVault
from interfaces import IPerpVenue
from interfaces import IPool
from interfaces import IReversePool
from contracts.modules import wad_math
from contracts.modules.carry import targets

implements: ICarryLens

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


@external
@view
def carry(vault: address) -> ICarryLens.CarryView:
    """
    @notice As of now; of redemptions that are half done nothing but the loan's liquidation price, which is one for all.
    """
    strategy: address = staticcall ICarryVault(vault).strategy()
    reverse_pool: address = empty(address)
    forward_pool: address = empty(address)
    venue: address = empty(address)
    reverse_pool, forward_pool, venue = staticcall ICarryStrategy(strategy).legs()
    held: ICarryVault.Holdings = staticcall ICarryStrategy(strategy).holdings()
    tokens: uint256 = held.idle + held.lent + held.collateral
    hedge_ratio: uint256 = 0
    if tokens > 0:
        hedge_ratio = wad_math._mul_div_down(held.short, WAD, tokens)
    return ICarryLens.CarryView(
        mode=staticcall ICarryStrategy(strategy).mode(),
        price_e36=held.price_e36,
        mark_e36=staticcall IPerpVenue(venue).mark_price(),
        total_assets=staticcall ICarryStrategy(strategy).total_assets(),
        hedge_ratio=hedge_ratio,
        delta=convert(tokens, int256) - convert(held.short, int256),
        leverage=self._ratio_up(
            targets._value_up(held.short, held.price_e36), convert(max(held.equity, 0), uint256)
        ),
        ltv=self._ratio_up(held.debt, targets._value_down(held.collateral, held.price_e36)),
        loan_liquidation_price_e36=self._loan_liquidation_price(reverse_pool, strategy),
        short_liquidation_price_e36=staticcall IPerpVenue(venue).liquidation_price(strategy),
        net_carry=staticcall ICarryStrategy(strategy).net_carry(),
        is_due=staticcall ICarryStrategy(strategy).is_due(),
    )


@internal
@pure
def _ratio_up(amount: uint256, of: uint256) -> uint256:
    if amount == 0:
        return 0
    if of == 0:
        return max_value(uint256)
    return wad_math._mul_div_up(amount, WAD, of)


@internal
@view
def _loan_liquidation_price(reverse_pool: address, strategy: address) -> uint256:
    """
    @notice Where the debt is `liquidation_ltv` of the collateral's value.
    """
    collateral: uint256 = (staticcall IReversePool(reverse_pool).position(strategy))[0]
    debt: uint256 = staticcall IPool(reverse_pool).debt_of(strategy)
    if debt == 0:
        return 0
    if collateral == 0:
        return max_value(uint256)
    leg: IPool.LegParameters = (staticcall IPool(reverse_pool).config()).leg
    return wad_math._mul_div_up(
        wad_math._mul_div_up(debt, PRICE_SCALE, collateral), WAD, leg.liquidation_ltv
    )
