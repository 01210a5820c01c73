# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What short sellers do with a position of the forward pool
@license AGPL-3.0-only
@notice Open, close, repay, add and take margin.
"""
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import share_token
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.forward import shorts
from contracts.modules.forward import trades
from interfaces import IForwardPool
from interfaces import IPool

uses: accounts
uses: ledger
uses: market
uses: shorts
uses: trades

WAD: constant(uint256) = 10**18


@external
def open_short(
    margin: uint256,
    token_amount: uint256,
    min_proceeds: uint256,
    deadline: uint256,
    on_behalf: address,
    swapper: address,
    route: Bytes[256],
) -> uint256:
    """
    @notice Takes `margin` USDT from the caller, borrows `token_amount` and sells it. The proceeds are at least
            `min_proceeds` and at least the oracle's higher value less `max_slippage`; with the margin they are the
            position's collateral, of which the debt may be `max_ltv`.
    @param route The adapter's route from token to USDT.
    @return Proceeds in USDT.
    """
    if block.timestamp > deadline:
        errors._expired()
    market._check_operator(on_behalf)
    arrived: uint256 = 0
    if margin > 0:
        arrived = tokens._pull(market.CONFIG.collateral, margin)[0]

    totals: ledger.Totals = ledger._accrue()
    ledger._check_cash(totals, token_amount)
    shares: uint256 = ledger._debt_shares_up(token_amount, totals.debt_assets, totals.debt_shares)
    totals = ledger._lend(totals, token_amount, shares)
    ledger._check_debt_limits(totals)
    if ledger._is_capped(totals.clock):
        trades._count_in_block(token_amount)
    price: uint256 = shorts._upper_price()
    worth: uint256 = shorts._value_up(token_amount, price)
    least: uint256 = wad_math._share_of_up(worth, WAD - market.CONFIG.leg.max_slippage)
    proceeds: uint256 = trades._swap(
        swapper, market.CONFIG.asset, market.CONFIG.collateral, token_amount, 0, route
    )[1]
    if proceeds < max(min_proceeds, least):
        errors._slippage()

    word: uint256 = accounts.position_word[on_behalf]
    old_shares: uint256 = word >> 128
    collateral: uint256 = packing._short_collateral(word) + arrived + proceeds
    debt: uint256 = ledger._owed(old_shares + shares, totals.debt_assets, totals.debt_shares)
    ledger._check_dust(debt)
    shorts._check_safe(debt, collateral, price)
    shorts._settle(totals, on_behalf, collateral, block.number, old_shares + shares)
    sold: uint256 = shorts.sold_word[on_behalf]
    shorts.sold_word[on_behalf] = packing._pack_halves(
        (sold & packing.MAX_UINT128) + token_amount, (sold >> 128) + proceeds
    )
    trades._book(token_amount, 0)
    log IForwardPool.OpenShort(
        caller=msg.sender,
        on_behalf=on_behalf,
        swapper=swapper,
        margin=arrived,
        token_amount=token_amount,
        shares=shares,
        proceeds=proceeds,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    return proceeds


@external
def close_short(
    token_amount: uint256,
    max_cost: uint256,
    deadline: uint256,
    on_behalf: address,
    receiver: address,
    swapper: address,
    route: Bytes[256],
) -> uint256:
    """
    @notice Buys debt back with the position's USDT. Never paused. Closing whole needs no price and pays what is left
            of the collateral to `receiver`. Closing a part costs at most the oracle's value and `max_slippage`, and
            leaves the position within `max_ltv` or no worse than it was.
    @param token_amount max_value(uint256) for all of the debt.
    @param route The adapter's route from USDT to token.
    @return Cost in USDT.
    """
    if block.timestamp > deadline:
        errors._expired()
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    totals: ledger.Totals = ledger._accrue()
    word: uint256 = accounts.position_word[on_behalf]
    old_shares: uint256 = word >> 128
    collateral: uint256 = packing._short_collateral(word)
    debt: uint256 = ledger._owed(old_shares, totals.debt_assets, totals.debt_shares)
    assets: uint256 = min(token_amount, debt)
    if assets == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        assets, debt, old_shares, totals.debt_assets, totals.debt_shares
    )

    cost: uint256 = 0
    bought: uint256 = 0
    cost, bought = trades._swap(
        swapper,
        market.CONFIG.collateral,
        market.CONFIG.asset,
        min(max_cost, collateral),
        assets,
        route,
    )
    if bought < assets:
        errors._slippage()
    spent: uint256 = cost
    if shares == old_shares:
        spent = collateral
    released: uint256 = 0
    totals, released = shorts._reduce(totals, on_behalf, assets, shares, spent)
    if shares < old_shares:
        price: uint256 = shorts._liquidation_price()
        worth: uint256 = shorts._value_down(assets, price)
        if cost > wad_math._share_of_down(worth, WAD + market.CONFIG.leg.max_slippage):
            errors._slippage()
        # no worse: debt_left / collateral_left <= debt / collateral, the price cancels
        debt_left: uint256 = ledger._owed(
            old_shares - shares, totals.debt_assets, totals.debt_shares
        )
        if debt_left * collateral > debt * (collateral - cost):
            shorts._check_safe(debt_left, collateral - cost, price)
    trades._book(0, assets)
    log IForwardPool.CloseShort(
        caller=msg.sender,
        on_behalf=on_behalf,
        swapper=swapper,
        receiver=receiver,
        token_amount=assets,
        shares=shares,
        cost=cost,
        proceeds=released,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    tokens._push(market.CONFIG.collateral, receiver, spent - cost)
    return cost


@external
def repay(assets: uint256, on_behalf: address) -> (uint256, uint256):
    """
    @notice Pays debt back with tokens in hand; the collateral stays in the position.
    @param assets Tokens; max_value(uint256) for all of the debt.
    @return (tokens, debt shares) repaid, shares rounded down.
    """
    totals: ledger.Totals = ledger._accrue()
    old_shares: uint256 = accounts._debt_shares(on_behalf)
    if old_shares == 0:
        errors._no_debt()
    debt: uint256 = ledger._owed(old_shares, totals.debt_assets, totals.debt_shares)
    repaid: uint256 = debt
    if assets >= debt:
        tokens._pull_due(market.CONFIG.asset, debt)
    else:
        # a token that calls out may bring in more
        repaid = min(tokens._pull(market.CONFIG.asset, assets)[0], debt)
    if repaid == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        repaid, debt, old_shares, totals.debt_assets, totals.debt_shares
    )
    totals = shorts._reduce(totals, on_behalf, repaid, shares, 0)[0]
    log IPool.Repay(
        caller=msg.sender,
        on_behalf=on_behalf,
        assets=repaid,
        shares=shares,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    return repaid, shares


@external
def add_margin(usdt_amount: uint256, on_behalf: address) -> uint256:
    """
    @notice Adds USDT to anybody's position.
    @return What arrived and was credited.
    """
    share_token._check_receiver(on_behalf)
    arrived: uint256 = tokens._pull(market.CONFIG.collateral, usdt_amount)[0]
    if arrived == 0:
        errors._zero_amount()
    word: uint256 = accounts.position_word[on_behalf]
    collateral: uint256 = packing._short_collateral(word) + arrived
    shorts._set_collateral(on_behalf, word, collateral)
    log IForwardPool.AddMargin(
        caller=msg.sender, on_behalf=on_behalf, usdt_amount=arrived, collateral=collateral
    )
    return arrived


@external
def remove_margin(usdt_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    """
    @notice With debt this is new risk: it needs both prices and can be paused.
    @param usdt_amount max_value(uint256) for all, where there is no debt.
    @return USDT taken out.
    """
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    word: uint256 = accounts.position_word[on_behalf]
    collateral: uint256 = packing._short_collateral(word)
    out: uint256 = usdt_amount
    if usdt_amount == max_value(uint256):
        out = collateral
    if out == 0:
        errors._zero_amount()
    if out > collateral:
        errors._insufficient_collateral()
    collateral -= out
    if word >> 128 > 0:
        # the totals do not change, so the accrual is only looked at
        totals: ledger.Totals = ledger._peek()
        ledger._check_not_paused(totals.clock)
        debt: uint256 = ledger._owed(word >> 128, totals.debt_assets, totals.debt_shares)
        shorts._check_safe(debt, collateral, shorts._upper_price())
    shorts._set_collateral(on_behalf, word, collateral)
    log IForwardPool.RemoveMargin(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        usdt_amount=out,
        collateral=collateral,
    )
    tokens._push(market.CONFIG.collateral, receiver, out)
    return out
