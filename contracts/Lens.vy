# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Lens
@license AGPL-3.0-only
@author Perpool
@notice Everything a reader wants of pools and accounts in one call each, as of now.
@dev ASSUMPTIONS. It is asked of this repository's factories and pools; of anything else it believes what it is told.
     Contracts may ask too, but its answers are as large as they are convenient.
@dev LIVENESS. Holds nothing and can do nothing. A price oracle or a funding oracle that reverts shows in flags and
     zeros; what a pool itself knows is always there.
@dev ROLES. None.
@dev ROUNDING. As the pools': debt and LTV up, values of collateral, health and what is free down. A position is liquidatable
     here exactly where the pool lets it be liquidated.
"""
from ethereum.ercs import IERC4626
from interfaces import ILens
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import ledger
from contracts.modules import packing
from contracts.modules import wad_math
from contracts.modules.lens import judging
from contracts.modules.lens import reading

implements: ILens

MAX_MARKETS: constant(uint256) = 50
MAX_ACCOUNTS: constant(uint256) = 200

# --- registry


@external
@view
def market_count(factory: address) -> uint256:
    return staticcall IPoolFactory(factory).market_count()


@external
@view
def markets(
    factory: address, first: uint256, count: uint256
) -> DynArray[ILens.MarketView, MAX_MARKETS]:
    """
    @notice Markets of a factory from index `first` on, at most `count` and at most 50 of them.
    """
    found: DynArray[ILens.MarketView, MAX_MARKETS] = []
    all: uint256 = staticcall IPoolFactory(factory).market_count()
    left: uint256 = min(min(all - min(first, all), count), MAX_MARKETS)
    for i: uint256 in range(left, bound=MAX_MARKETS):
        market: IPoolFactory.Market = staticcall IPoolFactory(factory).market(first + i)
        config: IPool.Config = staticcall IPool(market.reverse_pool).config()
        found.append(
            ILens.MarketView(
                market_index=first + i,
                token=market.token,
                usdt=market.usdt,
                reverse_pool=market.reverse_pool,
                forward_pool=market.forward_pool,
                reverse_symbol=reading._symbol(market.reverse_pool),
                forward_symbol=reading._symbol(market.forward_pool),
                token_decimals=reading._decimals(market.token),
                usdt_decimals=reading._decimals(market.usdt),
                funding_oracle=config.funding_oracle,
                price_oracle=config.price_oracle,
            )
        )
    return found


# --- pools


@external
@view
def pool(pool: address) -> ILens.PoolView:
    """
    @notice All of a pool's totals, limits, rates, funding and prices.
    """
    context: reading.Context = reading._context(pool)
    config: IPool.Config = context.config
    state: IPool.State = context.state
    caps: (uint256, uint256, uint256) = staticcall IPool(pool).caps()
    share_decimals: uint256 = reading._decimals(pool)
    funding_wad: int256 = 0
    funding_time: uint256 = 0
    funding_wad, funding_time = reading._oracle_funding(config)
    return ILens.PoolView(
        pool=pool,
        is_reverse=context.is_reverse,
        symbol=reading._symbol(pool),
        share_decimals=share_decimals,
        asset_decimals=reading._decimals(config.asset),
        collateral_decimals=reading._decimals(config.collateral),
        config=config,
        total_assets=state.supply_assets,
        total_shares=state.supply_shares,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
        cash=state.cash,
        share_price=staticcall IERC4626(pool).convertToAssets(10**share_decimals),
        reserve_shares=state.reserve_shares,
        reserve_assets=staticcall IERC4626(pool).convertToAssets(state.reserve_shares),
        supply_cap=caps[0],
        debt_cap=caps[1],
        leg_cap=caps[2],
        paused=state.flags & packing.PAUSED_FLAG != 0,
        fee_permille=state.flags >> 8,
        hook=staticcall IPool(pool).hook(),
        borrow_ltv=context.borrow_ltv,
        rates=judging._rates(context),
        funding_wad=state.funding_wad,
        funding_time=state.funding_time,
        funding_age=(
            max_value(uint256) if state.funding_time == 0 else block.timestamp - state.funding_time
        ),
        oracle_funding_wad=funding_wad,
        oracle_funding_time=funding_time,
        prices=context.prices,
    )


@external
@view
def prices(pool: address) -> ILens.Prices:
    return reading._prices((staticcall IPool(pool).config()).price_oracle)


@external
@view
def rates_after(pool: address, assets_change: int256, debt_change: int256) -> ILens.Rates:
    """
    @notice The rates after deposits or withdrawals and borrowing or repayment; changes below zero take at most what
            there is.
    """
    context: reading.Context = reading._context(pool)
    state: IPool.State = context.state
    assets: uint256 = judging._changed(state.cash + state.debt_assets, assets_change)
    context.state.debt_assets = judging._changed(state.debt_assets, debt_change)
    context.state.cash = assets - min(context.state.debt_assets, assets)
    return judging._rates(context)


# --- accounts


@external
@view
def positions(
    pool: address, accounts: DynArray[address, MAX_ACCOUNTS]
) -> DynArray[ILens.PositionView, MAX_ACCOUNTS]:
    """
    @notice What accounts have lent, borrowed and posted, and how healthy that is; in the order they are given.
    """
    context: reading.Context = reading._context(pool)
    views: DynArray[ILens.PositionView, MAX_ACCOUNTS] = []
    for account: address in accounts:
        views.append(self._position(context, account))
    return views


@external
@view
def position(pool: address, account: address) -> ILens.PositionView:
    context: reading.Context = reading._context(pool)
    return self._position(context, account)


@external
@view
def position_after(
    pool: address, account: address, collateral_change: int256, debt_change: int256
) -> (ILens.PositionView, bool):
    """
    @notice The position after a change of collateral and debt in this block, and whether its LTV is one at which the
            pool lets new debt be taken on. Cash, caps, a pause and the minimum debt are not looked at; what only a
            short has is left at 0.
    """
    context: reading.Context = reading._context(pool)
    changed: reading.Account = reading._account(context, account)
    changed.collateral = judging._changed(changed.collateral, collateral_change)
    all_debt: uint256 = context.state.debt_assets
    all_shares: uint256 = context.state.debt_shares
    if debt_change > 0:
        added: uint256 = convert(debt_change, uint256)
        shares: uint256 = added
        if all_debt > 0:
            shares = wad_math._mul_div_up(added, all_shares, all_debt)
        changed.debt_shares += shares
        changed.debt = ledger._owed(changed.debt_shares, all_debt + added, all_shares + shares)
    elif debt_change < 0:
        repaid: uint256 = min(judging._magnitude(debt_change), changed.debt)
        shares: uint256 = ledger._shares_repaid(
            repaid, changed.debt, changed.debt_shares, all_debt, all_shares
        )
        changed.debt_shares -= shares
        changed.debt = ledger._owed(changed.debt_shares, all_debt - repaid, all_shares - shares)
    return judging._view(context, changed), judging._is_within_limit(context, changed)


@internal
@view
def _position(context: reading.Context, account: address) -> ILens.PositionView:
    view: ILens.PositionView = judging._view(context, reading._account(context, account))
    return judging._with_short(context, view)
