# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What holders do with a position of the reverse pool
@license AGPL-3.0-only
@notice Post tokens, borrow USDT, repay, take out, wind down.
"""
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import share_token
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.reverse import loans
from interfaces import IPool
from interfaces import IPriceOracle
from interfaces import IReversePool

uses: ledger
uses: market
uses: loans

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


@external
def supply_collateral(token_amount: uint256, on_behalf: address) -> uint256:
    """
    @notice Adds tokens to anybody's position.
    @return What arrived and was credited.
    """
    return self._supply_collateral(token_amount, on_behalf)


@external
def borrow(usdt_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    """
    @notice Borrows up to `borrow_ltv` of the collateral's value at the lower price.
    @return Debt shares, rounded up.
    """
    return self._borrow(usdt_amount, on_behalf, receiver)


@external
def repay(assets: uint256, on_behalf: address) -> (uint256, uint256):
    """
    @param assets USDT; max_value(uint256) for all of the debt.
    @return (USDT, debt shares) repaid, shares rounded down.
    """
    return self._repay(assets, on_behalf)


@external
def withdraw_collateral(token_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    """
    @param token_amount max_value(uint256) for all of the collateral.
    @return Tokens taken out.
    """
    return self._withdraw_collateral(token_amount, on_behalf, receiver)


@external
def supply_collateral_and_borrow(
    token_amount: uint256, usdt_amount: uint256, on_behalf: address, receiver: address
) -> uint256:
    """
    @return Debt shares, rounded up.
    """
    self._supply_collateral(token_amount, on_behalf)
    return self._borrow(usdt_amount, on_behalf, receiver)


@external
def repay_and_withdraw_collateral(
    usdt_amount: uint256, token_amount: uint256, on_behalf: address, receiver: address
) -> (uint256, uint256):
    """
    @return USDT repaid, tokens taken out
    """
    repaid: uint256 = self._repay(usdt_amount, on_behalf)[0]
    return repaid, self._withdraw_collateral(token_amount, on_behalf, receiver)


@external
def deleverage(
    collateral_out: uint256,
    usdt_amount: uint256,
    on_behalf: address,
    receiver: address,
    data: Bytes[1024],
) -> uint256:
    """
    @notice Winds a position down with its own collateral: tokens out, the caller's `on_collateral`, USDT in. Never
            paused. The LTV must not rise, and the tokens are worth at most the repayment * (1 + max_slippage).
    @return USDT repaid.
    """
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    totals: ledger.Totals = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(on_behalf)
    if debt_shares == 0:
        errors._no_debt()
    if collateral_out > collateral:
        errors._insufficient_collateral()
    debt: uint256 = ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
    repaid: uint256 = min(usdt_amount, debt)
    if repaid == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        repaid, debt, debt_shares, totals.debt_assets, totals.debt_shares
    )

    price: uint256 = staticcall IPriceOracle(market.CONFIG.price_oracle).liquidation_price()
    value_out: uint256 = wad_math._mul_div_up(collateral_out, price, PRICE_SCALE)
    if value_out > wad_math._share_of_down(repaid, WAD + market.CONFIG.leg.max_slippage):
        errors._slippage()

    totals = ledger._take_back(totals, repaid, shares)
    # the price cancels: debt_left / collateral_left <= debt / collateral
    debt_left: uint256 = ledger._owed(debt_shares - shares, totals.debt_assets, totals.debt_shares)
    ledger._check_dust(debt_left)
    if debt_left * collateral > debt * (collateral - collateral_out):
        errors._unhealthy()
    loans._settle(totals, on_behalf, collateral - collateral_out, debt_shares - shares)
    log IReversePool.Deleverage(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        collateral_out=collateral_out,
        repaid=repaid,
        shares=shares,
        collateral=collateral - collateral_out,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    loans._exchange(on_behalf, collateral_out, receiver, repaid, data)
    return repaid


@internal
def _supply_collateral(token_amount: uint256, on_behalf: address) -> uint256:
    share_token._check_receiver(on_behalf)
    received: uint256 = 0
    held: uint256 = 0
    received, held = tokens._pull(market.CONFIG.collateral, token_amount)
    if received == 0:
        errors._zero_amount()
    # tokens given to the pool count too: filling the cap that way costs all that it fills
    if held > loans.collateral_cap:
        errors._collateral_cap()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(on_behalf)
    loans._set_position(on_behalf, collateral + received, debt_shares)
    log IReversePool.SupplyCollateral(
        caller=msg.sender,
        on_behalf=on_behalf,
        token_amount=received,
        collateral=collateral + received,
    )
    return received


@internal
def _borrow(usdt_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    totals: ledger.Totals = ledger._accrue()
    ledger._check_cash(totals, usdt_amount)
    shares: uint256 = ledger._debt_shares_up(usdt_amount, totals.debt_assets, totals.debt_shares)
    totals = ledger._lend(totals, usdt_amount, shares)
    ledger._check_debt_limits(totals)
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(on_behalf)
    debt: uint256 = ledger._owed(debt_shares + shares, totals.debt_assets, totals.debt_shares)
    ledger._check_dust(debt)
    loans._check_new_risk(collateral, debt)
    loans._settle(totals, on_behalf, collateral, debt_shares + shares)
    log IReversePool.Borrow(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        assets=usdt_amount,
        shares=shares,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    tokens._push(market.CONFIG.asset, receiver, usdt_amount)
    return shares


@internal
def _repay(usdt_amount: uint256, on_behalf: address) -> (uint256, uint256):
    totals: ledger.Totals = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(on_behalf)
    if debt_shares == 0:
        errors._no_debt()
    debt: uint256 = ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
    assets: uint256 = debt
    if usdt_amount >= debt:
        tokens._pull_due(market.CONFIG.asset, debt)
    else:
        # a token that calls out may bring in more
        assets = min(tokens._pull(market.CONFIG.asset, usdt_amount)[0], debt)
    if assets == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        assets, debt, debt_shares, totals.debt_assets, totals.debt_shares
    )
    totals = ledger._take_back(totals, assets, shares)
    ledger._check_dust(ledger._owed(debt_shares - shares, totals.debt_assets, totals.debt_shares))
    loans._settle(totals, on_behalf, collateral, debt_shares - shares)
    log IPool.Repay(
        caller=msg.sender,
        on_behalf=on_behalf,
        assets=assets,
        shares=shares,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    return assets, shares


@internal
def _withdraw_collateral(token_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(on_behalf)
    out: uint256 = token_amount
    if token_amount == max_value(uint256):
        out = collateral
    if out == 0:
        errors._zero_amount()
    if out > collateral:
        errors._insufficient_collateral()
    if debt_shares > 0:
        # the totals do not change, so the accrual is only looked at
        totals: ledger.Totals = ledger._peek()
        ledger._check_not_paused(totals.clock)
        loans._check_new_risk(
            collateral - out, ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
        )
    loans._set_position(on_behalf, collateral - out, debt_shares)
    log IReversePool.WithdrawCollateral(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        token_amount=out,
        collateral=collateral - out,
    )
    tokens._push(market.CONFIG.collateral, receiver, out)
    return out
