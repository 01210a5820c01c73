# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Reverse pool: USDT lent against the token
@license AGPL-3.0-only
@author Perpool
@notice Holders post the token, borrow USDT and short the perp with it, so that they collect positive funding without
        selling. Lenders share in that funding through the borrow rate.
@dev ASSUMPTIONS. Neither token rebases. One that takes a fee on transfer costs only whoever transfers it; one that
     calls out on transfer cannot enter the pool while a call runs. The price oracle reverts rather than lie.
@dev LIVENESS. Without a price, or paused, no new risk is taken; repaying, adding collateral, taking collateral out
     without debt, withdrawing and redeeming go on. Deleveraging and liquidating go on while paused, and need only
     `liquidation_price()`. Stale funding stops nothing.
@dev ROLES. Holder or operator: whatever takes out of a position or adds debt to it. Anyone: adding collateral,
     repaying, liquidating, lending. Owner and guardian: through the factory.
@dev ROUNDING. Always for the pool: debt and its shares up, collateral values down.
"""
from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626
from interfaces import ICallbacks
from interfaces import IPool
from interfaces import IPriceOracle
from interfaces import IReversePool
from contracts.modules import accounts
from contracts.modules import controls
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import liquidation
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import share_token
from contracts.modules import signatures
from contracts.modules import tokens
from contracts.modules import vault
from contracts.modules import wad_math

implements: IERC20
implements: IERC4626
implements: IPool
implements: IReversePool

initializes: market
initializes: ledger[market := market]
initializes: accounts
initializes: signatures
initializes: share_token[
    accounts := accounts, ledger := ledger, market := market, signatures := signatures
]
initializes: vault[
    accounts := accounts, ledger := ledger, market := market, share_token := share_token
]
initializes: controls[accounts := accounts, ledger := ledger, market := market]

exports: (
    # ERC-20, ERC-2612
    share_token.name,
    share_token.symbol,
    share_token.decimals,
    share_token.totalSupply,
    share_token.balanceOf,
    share_token.allowance,
    share_token.approve,
    share_token.transfer,
    share_token.transferFrom,
    share_token.permit,
    share_token.DOMAIN_SEPARATOR,
    signatures.nonces,
    # ERC-4626
    vault.asset,
    vault.totalAssets,
    vault.convertToShares,
    vault.convertToAssets,
    vault.previewDeposit,
    vault.previewMint,
    vault.previewWithdraw,
    vault.previewRedeem,
    vault.maxDeposit,
    vault.maxMint,
    vault.maxWithdraw,
    vault.maxRedeem,
    vault.deposit,
    vault.mint,
    vault.withdraw,
    vault.redeem,
    # ledger and market
    market.config,
    market.factory,
    ledger.state,
    ledger.accrued_state,
    ledger.sync_funding,
    # the factory's
    controls.hook,
    controls.set_controls,
    controls.withdraw_reserve,
)


interface IERC3156Borrower:
    def onFlashLoan(
        initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[1024]
    ) -> bytes32: nonpayable


WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36
CALM_VOLATILITY: constant(uint256) = 10**18
STRESSED_VOLATILITY: constant(uint256) = 2 * 10**18
FLASH_LOAN_MAGIC: constant(bytes32) = keccak256("ERC3156FlashBorrower.onFlashLoan")

# On the pool's balance of tokens. A position's word is collateral | debt shares.
collateral_cap: uint256


@deploy
def __init__():
    market.__init__()
    ledger.__init__(1)


# --- holders' positions


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
    state: IPool.State = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(on_behalf)
    if debt_shares == 0:
        errors._no_debt()
    if collateral_out > collateral:
        errors._insufficient_collateral()
    debt: uint256 = ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
    repaid: uint256 = min(usdt_amount, debt)
    if repaid == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        repaid, debt, debt_shares, state.debt_assets, state.debt_shares
    )

    price: uint256 = staticcall IPriceOracle(market.CONFIG.price_oracle).liquidation_price()
    value_out: uint256 = wad_math._mul_div_up(collateral_out, price, PRICE_SCALE)
    if value_out > wad_math._share_of_down(repaid, WAD + market.CONFIG.leg.max_slippage):
        errors._slippage()

    state.debt_assets -= repaid
    state.debt_shares -= shares
    # the price cancels: debt_left / collateral_left <= debt / collateral
    debt_left: uint256 = ledger._owed(debt_shares - shares, state.debt_assets, state.debt_shares)
    ledger._check_dust(debt_left)
    if debt_left * collateral > debt * (collateral - collateral_out):
        errors._unhealthy()
    self._settle(state, on_behalf, collateral - collateral_out, debt_shares, debt_shares - shares)
    log IReversePool.Deleverage(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        collateral_out=collateral_out,
        repaid=repaid,
        shares=shares,
        collateral=collateral - collateral_out,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    self._exchange(on_behalf, collateral_out, receiver, repaid, data)
    return repaid


# --- liquidators


@external
def liquidate(
    borrower: address, max_repay: uint256, receiver: address, data: Bytes[1024]
) -> (uint256, uint256):
    """
    @notice Repays an unhealthy debt against its collateral with a bonus, by the terms of `liquidation`. The
            collateral goes out first, so that the repayment can be made of it in the caller's `on_collateral`.
            Where all collateral is taken and debt is left, the rest is written off at once.
    @param max_repay USDT; max_value(uint256) for as much as the terms allow.
    @return USDT repaid, tokens seized
    """
    share_token._check_receiver(receiver)
    state: IPool.State = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(borrower)
    debt: uint256 = ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
    price: uint256 = staticcall IPriceOracle(market.CONFIG.price_oracle).liquidation_price()
    value: uint256 = wad_math._mul_div_down(collateral, price, PRICE_SCALE)
    if debt <= wad_math._share_of_down(value, market.CONFIG.leg.liquidation_ltv):
        errors._healthy()

    most: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    most, bonus, exhausts = liquidation._terms(
        market.CONFIG.leg, debt, value, market.CONFIG.leg.min_debt
    )
    repaid: uint256 = min(max_repay, most)
    shares: uint256 = ledger._shares_repaid(
        repaid, debt, debt_shares, state.debt_assets, state.debt_shares
    )
    # the last of a collateral that does not cover its debt goes whole, so that no dust of it keeps bad debt open
    seized: uint256 = collateral
    if repaid < most or not exhausts:
        seized = min(
            self._tokens_worth(wad_math._share_of_down(repaid, WAD + bonus), price), collateral
        )
    if repaid == 0 and most > 0:
        errors._zero_amount()

    state.debt_assets -= repaid
    state.debt_shares -= shares
    shares_left: uint256 = debt_shares - shares
    if seized == collateral and shares_left > 0:
        state = ledger._write_off(state, borrower, shares_left)
        shares_left = 0
    ledger._check_dust(ledger._owed(shares_left, state.debt_assets, state.debt_shares))
    self._settle(state, borrower, collateral - seized, debt_shares, shares_left)
    log IReversePool.Liquidate(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        seized=seized,
        price_e36=price,
        collateral=collateral - seized,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    self._exchange(borrower, seized, receiver, repaid, data)
    return repaid, seized


# --- ERC-3156


@external
@view
def maxFlashLoan(token: address) -> uint256:
    """
    @notice The pool's cash; nothing while paused or for any other token.
    """
    state: IPool.State = ledger._load()
    if token != market.CONFIG.asset or state.flags & packing.PAUSED_FLAG != 0:
        return 0
    return state.supply_assets - state.debt_assets


@external
@view
def flashFee(token: address, amount: uint256) -> uint256:
    """
    @notice Free; reverts for any other token than USDT.
    """
    if token != market.CONFIG.asset:
        errors._bad_token()
    return 0


@external
def flashLoan(receiver: address, token: address, amount: uint256, data: Bytes[1024]) -> bool:
    """
    @notice Lends cash within the call. The pool is locked meanwhile, so what is lent cannot be deposited into it.
    """
    if token != market.CONFIG.asset:
        errors._bad_token()
    state: IPool.State = ledger._load()
    ledger._check_not_paused(state.flags)
    ledger._check_cash(state, amount)
    balance_before: uint256 = staticcall IERC20(token).balanceOf(self)
    log IReversePool.FlashLoan(caller=msg.sender, receiver=receiver, assets=amount)
    tokens._push(token, receiver, amount)
    answer: bytes32 = extcall IERC3156Borrower(receiver).onFlashLoan(
        msg.sender, token, amount, 0, data
    )
    if answer != FLASH_LOAN_MAGIC:
        errors._bad_callback()
    tokens._pull_from(token, receiver, amount)
    if staticcall IERC20(token).balanceOf(self) < balance_before:
        errors._short_transfer()
    return True


# --- the factory's


@external
def set_caps(supply_cap: uint256, debt_cap: uint256, collateral_cap: uint256):
    """
    @notice Caps on all assets lent, all debt and the tokens the pool holds; the last is set against DEX depth. They
            stop what is new, never an exit. From 2**128 - 1 on a cap is none.
    """
    market._check_factory()
    ledger._set_caps(supply_cap, debt_cap)
    self.collateral_cap = min(collateral_cap, packing.MAX_UINT128)


# --- views


@external
@view
@reentrant
def position(account: address) -> (uint256, uint256):
    """
    @notice (token collateral, debt shares)
    """
    return self._position(account)


@external
@view
@reentrant
def debt_shares_of(account: address) -> uint256:
    return accounts._debt_shares(account)


@external
@view
def debt_of(account: address) -> uint256:
    """
    @notice What the account owes as of now, rounded up.
    """
    state: IPool.State = ledger._peek()
    return ledger._owed(accounts._debt_shares(account), state.debt_assets, state.debt_shares)


@external
@view
@reentrant
def caps() -> (uint256, uint256, uint256):
    """
    @notice (cap on all assets, on all debt, on all collateral)
    """
    return ledger.caps_word & packing.MAX_UINT128, ledger.caps_word >> 128, self.collateral_cap


@external
@view
def borrow_ltv() -> uint256:
    """
    @notice The LTV that new debt is held to at the volatility of now.
    """
    return self._borrow_ltv(staticcall IPriceOracle(market.CONFIG.price_oracle).volatility())


# --- internals


@internal
def _supply_collateral(token_amount: uint256, on_behalf: address) -> uint256:
    share_token._check_receiver(on_behalf)
    received: uint256 = tokens._pull(market.CONFIG.collateral, token_amount)
    if received == 0:
        errors._zero_amount()
    # tokens given to the pool count too: filling the cap that way costs all that it fills
    if staticcall IERC20(market.CONFIG.collateral).balanceOf(self) > self.collateral_cap:
        errors._collateral_cap()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(on_behalf)
    self._set_position(on_behalf, collateral + received, debt_shares)
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
    state: IPool.State = ledger._accrue()
    ledger._check_cash(state, usdt_amount)
    shares: uint256 = ledger._debt_shares_up(usdt_amount, state.debt_assets, state.debt_shares)
    state.debt_assets += usdt_amount
    state.debt_shares += shares
    ledger._check_debt_limits(state)
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(on_behalf)
    debt: uint256 = ledger._owed(debt_shares + shares, state.debt_assets, state.debt_shares)
    ledger._check_dust(debt)
    self._check_new_risk(collateral, debt)
    self._settle(state, on_behalf, collateral, debt_shares, debt_shares + shares)
    log IReversePool.Borrow(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        assets=usdt_amount,
        shares=shares,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    tokens._push(market.CONFIG.asset, receiver, usdt_amount)
    return shares


@internal
def _repay(usdt_amount: uint256, on_behalf: address) -> (uint256, uint256):
    state: IPool.State = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(on_behalf)
    if debt_shares == 0:
        errors._no_debt()
    debt: uint256 = ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
    assets: uint256 = tokens._pull(market.CONFIG.asset, min(usdt_amount, debt))
    if assets == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        assets, debt, debt_shares, state.debt_assets, state.debt_shares
    )
    state.debt_assets -= assets
    state.debt_shares -= shares
    ledger._check_dust(ledger._owed(debt_shares - shares, state.debt_assets, state.debt_shares))
    self._settle(state, on_behalf, collateral, debt_shares, debt_shares - shares)
    log IPool.Repay(
        caller=msg.sender,
        on_behalf=on_behalf,
        assets=assets,
        shares=shares,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    return assets, shares


@internal
def _withdraw_collateral(token_amount: uint256, on_behalf: address, receiver: address) -> uint256:
    market._check_operator(on_behalf)
    share_token._check_receiver(receiver)
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = self._position(on_behalf)
    out: uint256 = token_amount
    if token_amount == max_value(uint256):
        out = collateral
    if out == 0:
        errors._zero_amount()
    if out > collateral:
        errors._insufficient_collateral()
    if debt_shares > 0:
        # the totals do not change, so the accrual is only looked at
        state: IPool.State = ledger._peek()
        ledger._check_not_paused(state.flags)
        self._check_new_risk(
            collateral - out, ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
        )
    self._set_position(on_behalf, collateral - out, debt_shares)
    log IReversePool.WithdrawCollateral(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        token_amount=out,
        collateral=collateral - out,
    )
    tokens._push(market.CONFIG.collateral, receiver, out)
    return out


@internal
def _settle(
    state: IPool.State,
    account: address,
    collateral: uint256,
    old_debt_shares: uint256,
    debt_shares: uint256,
):
    """
    @notice Stores the totals and a position whose debt changed, and tells the hook.
    """
    ledger._store(state)
    self._set_position(account, collateral, debt_shares)
    accounts._debt_changed(state.flags, account, old_debt_shares)


@internal
def _exchange(
    account: address, collateral_out: uint256, receiver: address, repaid: uint256, data: Bytes[1024]
):
    """
    @notice Collateral out, the caller's `on_collateral` where there is data, repayment in.
    """
    tokens._push(market.CONFIG.collateral, receiver, collateral_out)
    if len(data) > 0:
        extcall ICallbacks(msg.sender).on_collateral(account, repaid, collateral_out, data)
    tokens._pull_exactly(market.CONFIG.asset, repaid)


@internal
@view
def _position(account: address) -> (uint256, uint256):
    word: uint256 = accounts.position_word[account]
    return (word & packing.MAX_UINT128), (word >> 128)


@internal
def _set_position(account: address, collateral: uint256, debt_shares: uint256):
    accounts.position_word[account] = packing._pack_halves(collateral, debt_shares)


@internal
@view
def _check_new_risk(collateral: uint256, debt: uint256):
    lower: uint256 = 0
    upper: uint256 = 0
    volatility: uint256 = 0
    lower, upper, volatility = staticcall IPriceOracle(
        market.CONFIG.price_oracle
    ).price_bounds_and_volatility()
    value: uint256 = wad_math._mul_div_down(collateral, lower, PRICE_SCALE)
    if debt > wad_math._share_of_down(value, self._borrow_ltv(volatility)):
        errors._unhealthy()


@internal
@view
def _borrow_ltv(volatility: uint256) -> uint256:
    """
    @notice max_ltv up to 100 % a year, falling linearly to stressed_ltv at 200 %.
    """
    leg: IPool.LegParameters = market.CONFIG.leg
    if volatility <= CALM_VOLATILITY:
        return leg.max_ltv
    if volatility >= STRESSED_VOLATILITY:
        return leg.stressed_ltv
    return leg.max_ltv - wad_math._share_of_up(
        leg.max_ltv - leg.stressed_ltv, volatility - CALM_VOLATILITY
    )


@internal
@pure
def _tokens_worth(usdt_amount: uint256, price: uint256) -> uint256:
    """
    @return Tokens, rounded down.
    """
    return wad_math._mul_div_down(usdt_amount, PRICE_SCALE, price)
