# pragma version 0.4.3
"""
@title Terms of a liquidation
@license AGPL-3.0-only
@notice The same for both pools, in values of one unit (USDT): D debt, C collateral, L = max_ltv.
            bonus b = clamp(b0 + k * (D/C - liquidation_ltv), b0, b_cap), but at most max(C/D - 1, b0)
            repay R = min((D - L*C) / (1 - L*(1 + b)), D, C / (1 + b))
        R brings the LTV back to L; it is everything where the rest would be dust.
        The factory requires liquidation_ltv * (1 + b_cap) < 1, so the denominator is positive.
@dev Why it never worsens a health below LTV 1 / (1 + b0): there C/D - 1 > b0, so b <= C/D - 1, every unit repaid
     takes out at most C/D of collateral, and the LTV does not rise.
"""
from interfaces import IPool
from contracts.modules import wad_math

WAD: constant(uint256) = 10**18


@internal
@pure
def _bonus(leg: IPool.LegParameters, debt_value: uint256, collateral_value: uint256) -> uint256:
    """
    @param debt_value Above zero.
    @return WAD, rounded down.
    """
    ltv: uint256 = wad_math._mul_div_down(debt_value, WAD, max(collateral_value, 1))
    bonus: uint256 = leg.bonus_base
    if ltv > leg.liquidation_ltv:
        bonus += wad_math._share_of_down(ltv - leg.liquidation_ltv, leg.bonus_slope)
    bonus = min(bonus, leg.bonus_cap)
    cover: uint256 = wad_math._mul_div_down(collateral_value, WAD, debt_value)
    surplus: uint256 = cover - min(cover, WAD)
    return min(bonus, max(surplus, leg.bonus_base))


@internal
@pure
def _terms(
    leg: IPool.LegParameters, debt_value: uint256, collateral_value: uint256, dust_value: uint256
) -> (uint256, uint256, bool):
    """
    @param dust_value What a position may not fall below without being closed.
    @return R rounded up, the bonus, and whether R takes all collateral and still leaves debt.
    """
    bonus: uint256 = self._bonus(leg, debt_value, collateral_value)
    most: uint256 = min(debt_value, wad_math._mul_div_down(collateral_value, WAD, WAD + bonus))
    # an unhealthy debt is above liquidation_ltv and so above max_ltv
    excess: uint256 = debt_value - wad_math._share_of_down(collateral_value, leg.max_ltv)
    kept: uint256 = wad_math._share_of_up(WAD + bonus, leg.max_ltv)
    repay: uint256 = wad_math._mul_div_up(excess, WAD, WAD - kept)
    if repay >= most or debt_value - repay < dust_value:
        return most, bonus, most < debt_value
    return repay, bonus, False
