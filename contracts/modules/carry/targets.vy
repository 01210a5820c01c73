# pragma version 0.4.3
"""
@title What a carry vault aims at
@license AGPL-3.0-only
@notice Pure arithmetic over what is held: what to sell or buy, how short to be, and whether that is far enough away to
        act on. Tokens and USDT in smallest units, prices scaled by 1e36, ratios in WAD.
@dev The vault's own money is `net` = equity + cash - debt, in USDT. Each token's worth V of collateral carries a hedge whose
     margin is m * h, borrowed. So the debt comes to m * h * V - net, and it meets the ceiling at
         net = -V * (ceiling - m * h) = -V * room
     Short of that the headroom is used up, and either tokens or the hedge make up for it:
         sell s = -net - V * room worth of tokens: they add s to net and take s off V, hence s / (1 - room)
         or a margin of only ceiling * V + net, and as much of a short as that carries
     Where net > V * m * h nothing is owed, and tokens are bought: b off net and on V, (net - V * m * h) / (1 + m * h).
"""
from contracts.modules import wad_math
from interfaces import ICarryVault

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


struct Plan:
    sell: uint256  # tokens of the collateral
    buy: uint256  # USDT to buy tokens with
    short: uint256  # tokens


@internal
@pure
def _value_down(token_amount: uint256, price_e36: uint256) -> uint256:
    return wad_math._mul_div_down(token_amount, price_e36, PRICE_SCALE)


@internal
@pure
def _value_up(token_amount: uint256, price_e36: uint256) -> uint256:
    return wad_math._mul_div_up(token_amount, price_e36, PRICE_SCALE)


@internal
@pure
def _tokens_down(usdt_amount: uint256, price_e36: uint256) -> uint256:
    return wad_math._mul_div_down(usdt_amount, PRICE_SCALE, price_e36)


@internal
@pure
def _tokens_up(usdt_amount: uint256, price_e36: uint256) -> uint256:
    return wad_math._mul_div_up(usdt_amount, PRICE_SCALE, price_e36)


@internal
@pure
def _most_tokens_for(usdt_amount: uint256, price_e36: uint256, max_slippage: uint256) -> uint256:
    """
    @notice Tokens that getting so much USDT may cost, rounded down.
    """
    return wad_math._share_of_down(self._tokens_down(usdt_amount, price_e36), WAD + max_slippage)


@internal
@pure
def _margin_share(p: ICarryVault.Parameters) -> uint256:
    """
    @notice m * h: margin of a whole hedge, of the collateral's value.
    """
    return wad_math._share_of_up(p.margin_ratio, p.hedge_ratio)


@internal
@pure
def _margin(short: uint256, price_e36: uint256, margin_ratio: uint256) -> uint256:
    """
    @notice USDT that a short of so many tokens should have, rounded up.
    """
    return wad_math._share_of_up(self._value_up(short, price_e36), margin_ratio)


@internal
@pure
def _plan(
    p: ICarryVault.Parameters,
    price_e36: uint256,
    collateral: uint256,
    net: int256,
    may_sell: bool,
) -> Plan:
    """
    @param collateral Tokens, those that are about to be supplied included.
    @param may_sell Whether the hedge is kept at the tokens' cost. Where the hedge is gone and the debt still above the
           ceiling tokens are sold all the same: better now than by a liquidator.
    """
    plan: Plan = empty(Plan)
    value: uint256 = self._value_down(collateral, price_e36)
    margin_share: uint256 = self._margin_share(p)
    if net >= 0:
        surplus: uint256 = convert(net, uint256)
        margin: uint256 = wad_math._share_of_up(value, margin_share)
        if surplus > margin:
            plan.buy = wad_math._mul_div_down(surplus - margin, WAD, WAD + margin_share)
        bought: uint256 = self._tokens_down(plan.buy, price_e36)
        plan.short = wad_math._share_of_down(collateral + bought, p.hedge_ratio)
        return plan

    owed: uint256 = convert(-net, uint256)
    room: uint256 = p.ltv_ceiling - margin_share
    plan.short = wad_math._share_of_down(collateral, p.hedge_ratio)
    if owed <= wad_math._share_of_down(value, room):
        return plan
    most: uint256 = wad_math._share_of_down(value, p.ltv_ceiling)
    if not may_sell and owed <= most:
        plan.short = self._tokens_down(
            wad_math._mul_div_down(most - owed, WAD, p.margin_ratio), price_e36
        )
        return plan
    if not may_sell:
        room = p.ltv_ceiling
    over: uint256 = owed - wad_math._share_of_down(value, room)
    worth: uint256 = wad_math._mul_div_up(over, WAD, WAD - room)
    plan.sell = min(self._tokens_up(worth, price_e36), collateral)
    plan.short = 0
    if may_sell:
        plan.short = wad_math._share_of_down(collateral - plan.sell, p.hedge_ratio)
    return plan


@internal
@pure
def _is_off(
    p: ICarryVault.Parameters,
    price_e36: uint256,
    collateral: uint256,
    debt: uint256,
    short: uint256,
    equity: int256,
    target_short: uint256,
) -> bool:
    """
    @notice Whether margin, debt or short are outside their bands.
    """
    if short > 0:
        notional: uint256 = self._value_up(short, price_e36)
        drift: uint256 = self._distance(
            equity, convert(wad_math._share_of_up(notional, p.margin_ratio), int256)
        )
        if drift > wad_math._share_of_up(notional, p.margin_band):
            return True
    value: uint256 = self._value_down(collateral, price_e36)
    if debt > wad_math._share_of_down(value, p.ltv_ceiling + p.ltv_band):
        return True
    hedge: uint256 = wad_math._share_of_up(collateral, p.hedge_ratio)
    return self._distance(
        convert(short, int256), convert(target_short, int256)
    ) > wad_math._share_of_up(hedge, p.hedge_band)


@internal
@pure
def _distance(a: int256, b: int256) -> uint256:
    return convert(max(a, b) - min(a, b), uint256)


@internal
@pure
def _nav(tokens: uint256, short: uint256, money: int256, price_e36: uint256) -> uint256:
    """
    @notice What everything is worth in tokens, rounded down; 0 where it is worth less than nothing.
    @param money USDT without the short itself: margin, funding and what the short was sold for, cash, less debt. The short
           is owed in tokens, so only this depends on the price.
    """
    total: int256 = convert(tokens, int256) - convert(short, int256)
    if money >= 0:
        total += convert(self._tokens_down(convert(money, uint256), price_e36), int256)
    else:
        total -= convert(self._tokens_up(convert(-money, uint256), price_e36), int256)
    return convert(max(total, 0), uint256)
