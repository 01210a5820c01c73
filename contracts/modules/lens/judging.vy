# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title How the lens judges
@license AGPL-3.0-only
@notice Rates by `rate_model`, liquidations by `liquidation`, and health with the pools' own rounding: debt and LTV up,
        values of collateral and what is free down.
"""
from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626
from interfaces import IForwardPool
from interfaces import ILens
from interfaces import IPool
from contracts.modules import liquidation
from contracts.modules import rate_model
from contracts.modules import wad_math
from contracts.modules.lens import reading

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


@internal
@view
def _rates(context: reading.Context) -> ILens.Rates:
    state: IPool.State = context.state
    leg: IPool.LegParameters = context.config.leg
    assets: uint256 = state.cash + state.debt_assets
    base: uint256 = rate_model._base_rate(leg, state.debt_assets, assets)
    premium: uint256 = 0
    if state.funding_time + leg.funding_max_age > block.timestamp:
        directed: int256 = state.funding_wad if context.is_reverse else -state.funding_wad
        premium = rate_model._premium(leg.pass_through, directed)
    borrow_rate: uint256 = min(base + premium, leg.rate_cap)
    utilisation: uint256 = 0
    lending_rate: uint256 = 0
    if state.debt_assets > 0:
        utilisation = wad_math._mul_div_down(state.debt_assets, WAD, assets)
        earned: uint256 = wad_math._mul_div_down(borrow_rate, state.debt_assets, assets)
        lending_rate = wad_math._mul_div_down(earned, 1000 - (state.flags >> 8), 1000)
    return ILens.Rates(
        utilisation=utilisation,
        base_rate=base,
        premium=premium,
        borrow_rate=borrow_rate,
        lending_rate=lending_rate,
    )


@internal
@view
def _view(context: reading.Context, account: reading.Account) -> ILens.PositionView:
    found: ILens.PositionView = empty(ILens.PositionView)
    found.account = account.account
    found.shares = staticcall IERC20(context.pool).balanceOf(account.account)
    found.shares_worth = staticcall IERC4626(context.pool).convertToAssets(found.shares)
    found.collateral = account.collateral
    found.debt_shares = account.debt_shares
    found.debt = account.debt
    found.health = max_value(uint256)
    if account.debt > 0:
        found.liquidation_price_e36 = self._liquidation_price(context, account)
    if context.prices.has_price:
        found = self._with_values(context, found)
    elif account.debt > 0:
        found.health = 0
    if account.debt == 0 or context.prices.has_bounds:
        found.free_debt, found.free_collateral = self._free(context, account)
    return found


@internal
@view
def _with_values(context: reading.Context, view: ILens.PositionView) -> ILens.PositionView:
    """
    @notice With what depends on the liquidation price.
    """
    leg: IPool.LegParameters = context.config.leg
    price: uint256 = context.prices.price_e36
    found: ILens.PositionView = view
    dust_value: uint256 = leg.min_debt
    if context.is_reverse:
        found.collateral_value = wad_math._mul_div_down(view.collateral, price, PRICE_SCALE)
        found.debt_value = view.debt
    else:
        found.collateral_value = view.collateral
        found.debt_value = wad_math._mul_div_up(view.debt, price, PRICE_SCALE)
        dust_value = wad_math._mul_div_up(leg.min_debt, price, PRICE_SCALE) + 1
    if view.debt == 0:
        return found
    found.ltv = max_value(uint256)
    if found.collateral_value > 0:
        found.ltv = wad_math._mul_div_up(found.debt_value, WAD, found.collateral_value)
    limit: uint256 = wad_math._share_of_down(found.collateral_value, leg.liquidation_ltv)
    found.health = wad_math._mul_div_down(limit, WAD, found.debt_value)
    found.is_liquidatable = found.debt_value > limit
    if found.is_liquidatable:
        unused: bool = False
        found.liquidation_repay_value, found.liquidation_bonus, unused = liquidation._terms(
            leg, found.debt_value, found.collateral_value, dust_value
        )
    return found


@internal
@view
def _with_short(context: reading.Context, view: ILens.PositionView) -> ILens.PositionView:
    """
    @notice With what only a short has.
    """
    if context.is_reverse:
        return view
    found: ILens.PositionView = view
    short: IForwardPool.ShortPosition = staticcall IForwardPool(context.pool).position(view.account)
    found.opened_block = short.opened_block
    if view.debt == 0:
        return found
    found.sold = short.sold
    found.proceeds = short.proceeds
    if short.sold > 0:
        found.entry_price_e36 = wad_math._mul_div_down(short.proceeds, PRICE_SCALE, short.sold)
    found.interest = view.debt - min(short.sold, view.debt)
    if context.prices.has_price:
        found.unrealised_profit = (
            convert(short.proceeds, int256) - convert(view.debt_value, int256)
        )
    return found


@internal
@pure
def _liquidation_price(context: reading.Context, account: reading.Account) -> uint256:
    """
    @notice The lowest price at which a reverse position, the highest at which a short is not liquidatable.
    """
    leg: IPool.LegParameters = context.config.leg
    if not context.is_reverse:
        limit: uint256 = wad_math._share_of_down(account.collateral, leg.liquidation_ltv)
        return wad_math._mul_div_down(limit, PRICE_SCALE, account.debt)
    if account.collateral == 0:
        return max_value(uint256)
    value: uint256 = wad_math._mul_div_up(account.debt, WAD, leg.liquidation_ltv)
    return wad_math._mul_div_up(value, PRICE_SCALE, account.collateral)


@internal
@pure
def _is_within_limit(context: reading.Context, account: reading.Account) -> bool:
    """
    @notice Whether a pool takes the position as new risk, by LTV alone.
    """
    if account.debt == 0:
        return True
    if not context.prices.has_bounds:
        return False
    if context.is_reverse:
        value: uint256 = wad_math._mul_div_down(
            account.collateral, context.prices.lower_e36, PRICE_SCALE
        )
        return account.debt <= wad_math._share_of_down(value, context.borrow_ltv)
    owed: uint256 = wad_math._mul_div_up(account.debt, context.prices.upper_e36, PRICE_SCALE)
    return owed <= wad_math._share_of_down(account.collateral, context.borrow_ltv)


@internal
@pure
def _free(context: reading.Context, account: reading.Account) -> (uint256, uint256):
    """
    @return Debt that the collateral could bear on top, and collateral that the debt does not need, by LTV alone.
    """
    most: uint256 = 0  # debt
    needed: uint256 = 0  # collateral
    if context.prices.has_bounds:
        if context.is_reverse:
            value: uint256 = wad_math._mul_div_down(
                account.collateral, context.prices.lower_e36, PRICE_SCALE
            )
            most = wad_math._share_of_down(value, context.borrow_ltv)
            value = wad_math._mul_div_up(account.debt, WAD, context.borrow_ltv)
            needed = wad_math._mul_div_up(value, PRICE_SCALE, context.prices.lower_e36)
        else:
            upper: uint256 = context.prices.upper_e36
            limit: uint256 = wad_math._share_of_down(account.collateral, context.borrow_ltv)
            most = wad_math._mul_div_down(limit, PRICE_SCALE, upper)
            owed: uint256 = wad_math._mul_div_up(account.debt, upper, PRICE_SCALE)
            needed = wad_math._mul_div_up(owed, WAD, context.borrow_ltv)
    return most - min(account.debt, most), account.collateral - min(needed, account.collateral)


@internal
@pure
def _changed(amount: uint256, change: int256) -> uint256:
    if change >= 0:
        return amount + convert(change, uint256)
    return amount - min(self._magnitude(change), amount)


@internal
@pure
def _magnitude(negative: int256) -> uint256:
    # the lowest int256 has no counterpart above zero
    return convert(-(negative + 1), uint256) + 1
