# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
"""
@title Forward pool: the token lent to short sellers against USDT
@license AGPL-3.0-only
@author Perpool
@notice A short seller posts USDT and borrows the token; the pool sells it in the same transaction and keeps the
        proceeds as the position's collateral. Borrowed tokens never reach the borrower, so every short is real.
@dev ASSUMPTIONS. Neither token rebases. One that takes a fee on transfer costs only whoever transfers it; one that
     calls out on transfer cannot enter the pool while a call runs. The price oracle reverts rather than lie. Swap
     adapters come from the factory's list and are believed only as far as the pool's own balances show.
@dev LIVENESS. Without a price, or paused, no new risk is taken; repaying, closing whole, adding margin, taking margin
     out without debt, withdrawing and redeeming go on. A partial close and liquidations go on while paused, and need
     only `liquidation_price()`. Stale funding stops nothing.
@dev ROLES. Holder or operator: opening, closing, taking margin out. Anyone: adding margin, repaying, liquidating,
     lending. Owner and guardian: through the factory.
@dev ROUNDING. Always for the pool: debt, its shares and its value up, collateral down.
"""
from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626
from interfaces import ICallbacks
from interfaces import IForwardPool
from interfaces import IPool
from interfaces import IPoolFactory
from interfaces import IPriceOracle
from interfaces import ISwapper
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
implements: IForwardPool

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

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36
MAX_UINT112: constant(uint256) = 2**112 - 1

# Of what a purchase by the pool is worth, paid to whoever called it; less than any market's bonus.
TIP: constant(uint256) = 10**16

# tokens sold and still owed | their proceeds
sold_word: HashMap[address, uint256]

# tokens ever sold | tokens ever bought back
books_word: uint256

# block 32 | tokens sold in it 112 | cap a block 112
block_word: uint256


@deploy
def __init__():
    market.__init__()
    ledger.__init__(-1)


# --- short sellers


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
        arrived = tokens._pull(market.CONFIG.collateral, margin)

    state: IPool.State = ledger._accrue()
    ledger._check_cash(state, token_amount)
    shares: uint256 = ledger._debt_shares_up(token_amount, state.debt_assets, state.debt_shares)
    state.debt_assets += token_amount
    state.debt_shares += shares
    ledger._check_debt_limits(state)
    self._count_in_block(token_amount)
    price: uint256 = self._upper_price()
    worth: uint256 = self._value_up(token_amount, price)
    least: uint256 = wad_math._share_of_up(worth, WAD - market.CONFIG.leg.max_slippage)
    proceeds: uint256 = self._swap(swapper, True, token_amount, 0, route)[1]
    if proceeds < max(min_proceeds, least):
        errors._slippage()

    word: uint256 = accounts.position_word[on_behalf]
    old_shares: uint256 = word >> 128
    collateral: uint256 = packing._short_collateral(word) + arrived + proceeds
    debt: uint256 = ledger._owed(old_shares + shares, state.debt_assets, state.debt_shares)
    ledger._check_dust(debt)
    self._check_safe(debt, collateral, price)
    self._settle(state, on_behalf, old_shares, collateral, block.number, old_shares + shares)
    sold: uint256 = self.sold_word[on_behalf]
    self.sold_word[on_behalf] = packing._pack_halves(
        (sold & packing.MAX_UINT128) + token_amount, (sold >> 128) + proceeds
    )
    self._book(token_amount, 0)
    log IForwardPool.OpenShort(
        caller=msg.sender,
        on_behalf=on_behalf,
        swapper=swapper,
        margin=arrived,
        token_amount=token_amount,
        shares=shares,
        proceeds=proceeds,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
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
    state: IPool.State = ledger._accrue()
    word: uint256 = accounts.position_word[on_behalf]
    old_shares: uint256 = word >> 128
    collateral: uint256 = packing._short_collateral(word)
    debt: uint256 = ledger._owed(old_shares, state.debt_assets, state.debt_shares)
    assets: uint256 = min(token_amount, debt)
    if assets == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        assets, debt, old_shares, state.debt_assets, state.debt_shares
    )

    cost: uint256 = 0
    bought: uint256 = 0
    cost, bought = self._swap(swapper, False, min(max_cost, collateral), assets, route)
    if bought < assets:
        errors._bad_swap()
    spent: uint256 = cost
    if shares == old_shares:
        spent = collateral
    released: uint256 = 0
    state, released = self._reduce(state, on_behalf, assets, shares, spent)
    if shares < old_shares:
        price: uint256 = self._liquidation_price()
        worth: uint256 = self._value_down(assets, price)
        if cost > wad_math._share_of_down(worth, WAD + market.CONFIG.leg.max_slippage):
            errors._slippage()
        # no worse: debt_left / collateral_left <= debt / collateral, the price cancels
        debt_left: uint256 = ledger._owed(old_shares - shares, state.debt_assets, state.debt_shares)
        if debt_left * collateral > debt * (collateral - cost):
            self._check_safe(debt_left, collateral - cost, price)
    self._book(0, assets)
    log IForwardPool.CloseShort(
        caller=msg.sender,
        on_behalf=on_behalf,
        swapper=swapper,
        token_amount=assets,
        shares=shares,
        cost=cost,
        proceeds=released,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
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
    state: IPool.State = ledger._accrue()
    old_shares: uint256 = accounts._debt_shares(on_behalf)
    if old_shares == 0:
        errors._no_debt()
    debt: uint256 = ledger._owed(old_shares, state.debt_assets, state.debt_shares)
    repaid: uint256 = tokens._pull(market.CONFIG.asset, min(assets, debt))
    if repaid == 0:
        errors._zero_amount()
    shares: uint256 = ledger._shares_repaid(
        repaid, debt, old_shares, state.debt_assets, state.debt_shares
    )
    state = self._reduce(state, on_behalf, repaid, shares, 0)[0]
    log IPool.Repay(
        caller=msg.sender,
        on_behalf=on_behalf,
        assets=repaid,
        shares=shares,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    return repaid, shares


@external
def add_margin(usdt_amount: uint256, on_behalf: address) -> uint256:
    """
    @notice Adds USDT to anybody's position.
    @return What arrived and was credited.
    """
    share_token._check_receiver(on_behalf)
    arrived: uint256 = tokens._pull(market.CONFIG.collateral, usdt_amount)
    if arrived == 0:
        errors._zero_amount()
    word: uint256 = accounts.position_word[on_behalf]
    collateral: uint256 = packing._short_collateral(word) + arrived
    self._set_collateral(on_behalf, word, collateral)
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
        state: IPool.State = ledger._peek()
        ledger._check_not_paused(state.flags)
        debt: uint256 = ledger._owed(word >> 128, state.debt_assets, state.debt_shares)
        self._check_safe(debt, collateral, self._upper_price())
    self._set_collateral(on_behalf, word, collateral)
    log IForwardPool.RemoveMargin(
        caller=msg.sender,
        on_behalf=on_behalf,
        receiver=receiver,
        usdt_amount=out,
        collateral=collateral,
    )
    tokens._push(market.CONFIG.collateral, receiver, out)
    return out


# --- liquidators


@external
def liquidate(
    borrower: address, max_repay: uint256, receiver: address, data: Bytes[1024]
) -> (uint256, uint256):
    """
    @notice Delivers tokens of an unhealthy debt against its USDT with a bonus, by the terms of `liquidation`. The USDT
            goes out first, so that the tokens can be bought with it in the caller's `on_collateral`. Where all
            collateral is taken and debt is left, the rest is written off at once.
    @param max_repay Tokens; max_value(uint256) for as much as the terms allow.
    @return (tokens repaid, USDT seized)
    """
    share_token._check_receiver(receiver)
    state: IPool.State = ledger._accrue()
    price: uint256 = 0
    most: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    price, most, bonus, exhausts = self._liquidation_terms(state, borrower)
    word: uint256 = accounts.position_word[borrower]
    repaid: uint256 = min(max_repay, most)
    shares: uint256 = self._shares_repaid(state, repaid, word >> 128)
    if repaid == 0 and most > 0:
        errors._zero_amount()
    # the last of a collateral that does not cover its debt goes whole, so that no dust of it keeps bad debt open
    seized: uint256 = packing._short_collateral(word)
    if repaid < most or not exhausts:
        seized = min(self._worth_with_bonus(repaid, price, bonus), seized)
    state = self._reduce(state, borrower, repaid, shares, seized)[0]
    log IForwardPool.Liquidate(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        seized=seized,
        price_e36=price,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    tokens._push(market.CONFIG.collateral, receiver, seized)
    if len(data) > 0:
        extcall ICallbacks(msg.sender).on_collateral(borrower, repaid, seized, data)
    tokens._pull_exactly(market.CONFIG.asset, repaid)
    return repaid, seized


@external
def liquidate_by_purchase(borrower: address, receiver: address) -> (uint256, uint256):
    """
    @notice The pool buys an unhealthy debt back with the position's USDT, through the adapter and route that the
            owner has set at the factory. Cost and
            tip together are at most the oracle's value * (1 + bonus). Where the collateral falls short, all of it is
            spent and the rest of the debt written off; what that buys beyond the debt is the lenders'.
    @param receiver Of the tip, 1 % of the value bought back.
    @return (tokens repaid, USDT spent with the tip)
    """
    share_token._check_receiver(receiver)
    state: IPool.State = ledger._accrue()
    price: uint256 = 0
    most: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    price, most, bonus, exhausts = self._liquidation_terms(state, borrower)
    word: uint256 = accounts.position_word[borrower]
    budget: uint256 = packing._short_collateral(word)
    if not exhausts:
        budget = min(self._worth_with_bonus(most, price, bonus), budget)
    tip: uint256 = wad_math._share_of_down(self._value_down(most, price), TIP)
    cost: uint256 = 0
    bought: uint256 = 0
    amount_out: uint256 = most
    if exhausts:
        amount_out = 0
    swapper: address = empty(address)
    route: Bytes[256] = b""
    swapper, route = staticcall IPoolFactory(market.FACTORY).liquidation_swapper(self)
    cost, bought = self._swap(swapper, False, budget - tip, amount_out, route)
    if bought < most:
        errors._slippage()
    repaid: uint256 = most
    if exhausts:
        repaid = min(bought, ledger._owed(word >> 128, state.debt_assets, state.debt_shares))
        state.supply_assets += bought - repaid
    shares: uint256 = self._shares_repaid(state, repaid, word >> 128)
    self._book(0, repaid)
    state = self._reduce(state, borrower, repaid, shares, cost + tip)[0]
    log IForwardPool.LiquidateByPurchase(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        cost=cost,
        tip=tip,
        price_e36=price,
        total_debt=state.debt_assets,
        total_debt_shares=state.debt_shares,
    )
    tokens._push(market.CONFIG.collateral, receiver, tip)
    return repaid, cost + tip


# --- the factory's


@external
def set_caps(supply_cap: uint256, debt_cap: uint256, block_cap: uint256):
    """
    @notice Caps on all assets lent, all debt and the tokens sold in one block; the last two are set against DEX depth.
            They stop what is new, never an exit. From 2**128 - 1 on (2**112 - 1 a block) a cap is none.
    """
    market._check_factory()
    ledger._set_caps(supply_cap, debt_cap)
    self.block_word = (self.block_word & (2**144 - 1)) | (min(block_cap, MAX_UINT112) << 144)


# --- views


@external
@view
@reentrant
def position(account: address) -> IForwardPool.ShortPosition:
    word: uint256 = accounts.position_word[account]
    sold: uint256 = self.sold_word[account]
    return IForwardPool.ShortPosition(
        collateral=packing._short_collateral(word),
        debt_shares=word >> 128,
        opened_block=packing._short_block(word),
        sold=sold & packing.MAX_UINT128,
        proceeds=sold >> 128,
    )


@external
@view
@reentrant
def debt_shares_of(account: address) -> uint256:
    return accounts._debt_shares(account)


@external
@view
def debt_of(account: address) -> uint256:
    """
    @notice Tokens that the account owes as of now, rounded up.
    """
    state: IPool.State = ledger._peek()
    return ledger._owed(accounts._debt_shares(account), state.debt_assets, state.debt_shares)


@external
@view
@reentrant
def books() -> (uint256, uint256):
    """
    @notice (tokens ever sold, tokens ever bought back). What is open now is the pool's debt.
    """
    return self.books_word & packing.MAX_UINT128, self.books_word >> 128


@external
@view
@reentrant
def sold_in_block() -> (uint256, uint256):
    """
    @notice (block of the last opening, tokens sold in it)
    """
    return self.block_word & (2**32 - 1), (self.block_word >> 32) & MAX_UINT112


@external
@view
@reentrant
def caps() -> (uint256, uint256, uint256):
    """
    @notice (cap on all assets, on all debt, on the tokens sold in one block)
    """
    return ledger.caps_word & packing.MAX_UINT128, ledger.caps_word >> 128, self.block_word >> 144


# --- internals


@internal
def _set_collateral(account: address, word: uint256, collateral: uint256):
    accounts.position_word[account] = packing._pack_short(
        collateral, packing._short_block(word), word >> 128
    )


@internal
def _settle(
    state: IPool.State,
    account: address,
    old_shares: uint256,
    collateral: uint256,
    opened_block: uint256,
    debt_shares: uint256,
):
    """
    @notice Stores the totals and a position whose debt changed, and tells the hook.
    """
    ledger._store(state)
    accounts.position_word[account] = packing._pack_short(collateral, opened_block, debt_shares)
    accounts._debt_changed(state.flags, account, old_shares)


@internal
def _reduce(
    state: IPool.State, account: address, repaid: uint256, shares: uint256, usdt_out: uint256
) -> (IPool.State, uint256):
    """
    @notice Takes a repayment and what pays for it out of a position, and writes off what no collateral backs.
    @return The State, and the proceeds of what is owed no more.
    """
    changed: IPool.State = state
    changed.debt_assets -= repaid
    changed.debt_shares -= shares
    word: uint256 = accounts.position_word[account]
    collateral: uint256 = packing._short_collateral(word) - usdt_out
    left: uint256 = (word >> 128) - shares
    if collateral == 0 and left > 0:
        changed = ledger._write_off(changed, account, left)
        left = 0
    # what was sold, and its proceeds, scale with the debt shares
    sold: uint256 = self.sold_word[account]
    kept: uint256 = wad_math._mul_div_down(sold >> 128, left, word >> 128)
    self.sold_word[account] = packing._pack_halves(
        wad_math._mul_div_down(sold & packing.MAX_UINT128, left, word >> 128), kept
    )
    ledger._check_dust(ledger._owed(left, changed.debt_assets, changed.debt_shares))
    self._settle(changed, account, word >> 128, collateral, packing._short_block(word), left)
    return changed, (sold >> 128) - kept


@internal
@view
def _liquidation_terms(state: IPool.State, borrower: address) -> (uint256, uint256, uint256, bool):
    """
    @return Price, tokens to repay at most, bonus, and whether that takes all collateral and still leaves debt.
    """
    word: uint256 = accounts.position_word[borrower]
    if block.number <= packing._short_block(word):
        errors._same_block()
    price: uint256 = self._liquidation_price()
    debt: uint256 = ledger._owed(word >> 128, state.debt_assets, state.debt_shares)
    collateral: uint256 = packing._short_collateral(word)
    debt_value: uint256 = self._value_up(debt, price)
    if debt_value <= wad_math._share_of_down(collateral, market.CONFIG.leg.liquidation_ltv):
        errors._healthy()
    dust_value: uint256 = self._value_up(market.CONFIG.leg.min_debt, price)
    value: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    value, bonus, exhausts = liquidation._terms(
        market.CONFIG.leg, debt_value, collateral, dust_value
    )
    if value == debt_value:
        return price, debt, bonus, exhausts
    return price, min(wad_math._mul_div_down(value, PRICE_SCALE, price), debt), bonus, exhausts


@internal
@pure
def _value_down(token_amount: uint256, price: uint256) -> uint256:
    return wad_math._mul_div_down(token_amount, price, PRICE_SCALE)


@internal
@pure
def _value_up(token_amount: uint256, price: uint256) -> uint256:
    return wad_math._mul_div_up(token_amount, price, PRICE_SCALE)


@internal
@view
def _liquidation_price() -> uint256:
    return staticcall IPriceOracle(market.CONFIG.price_oracle).liquidation_price()


@internal
@view
def _upper_price() -> uint256:
    lower: uint256 = 0
    upper: uint256 = 0
    lower, upper = staticcall IPriceOracle(market.CONFIG.price_oracle).price_bounds()
    return upper


@internal
@pure
def _shares_repaid(state: IPool.State, repaid: uint256, debt_shares: uint256) -> uint256:
    debt: uint256 = ledger._owed(debt_shares, state.debt_assets, state.debt_shares)
    return ledger._shares_repaid(repaid, debt, debt_shares, state.debt_assets, state.debt_shares)


@internal
@view
def _check_safe(debt: uint256, collateral: uint256, price: uint256):
    value: uint256 = self._value_up(debt, price)
    if value > wad_math._share_of_down(collateral, market.CONFIG.leg.max_ltv):
        errors._unhealthy()


@internal
@pure
def _worth_with_bonus(token_amount: uint256, price: uint256, bonus: uint256) -> uint256:
    return wad_math._share_of_down(self._value_down(token_amount, price), WAD + bonus)


@internal
def _count_in_block(token_amount: uint256):
    word: uint256 = self.block_word
    sold: uint256 = token_amount
    if word & (2**32 - 1) == block.number:
        sold += (word >> 32) & MAX_UINT112
    if sold > word >> 144:
        errors._block_cap()
    self.block_word = block.number | (sold << 32) | ((word >> 144) << 144)


@internal
def _book(token_sold: uint256, token_bought: uint256):
    word: uint256 = self.books_word
    self.books_word = packing._pack_halves(
        (word & packing.MAX_UINT128) + token_sold, (word >> 128) + token_bought
    )


@internal
def _swap(
    swapper: address, is_sale: bool, amount_in: uint256, amount_out: uint256, route: Bytes[256]
) -> (uint256, uint256):
    """
    @notice Sells tokens for USDT or buys them with it. Sends `amount_in` to an adapter to be swapped for `amount_out`, or all of it where that is zero. Nothing of
            the pool is stored yet and the pool is locked, so whoever reads it meanwhile sees it as it was before.
    @return What was spent and what came in, by the pool's own balances.
    """
    if not staticcall IPoolFactory(market.FACTORY).is_swapper(swapper):
        errors._unknown_swapper()
    token_in: address = market.CONFIG.collateral
    token_out: address = market.CONFIG.asset
    if is_sale:
        token_in = market.CONFIG.asset
        token_out = market.CONFIG.collateral
    before_in: uint256 = staticcall IERC20(token_in).balanceOf(self)
    before_out: uint256 = staticcall IERC20(token_out).balanceOf(self)
    tokens._push(token_in, swapper, amount_in)
    if amount_out == 0:
        extcall ISwapper(swapper).swap_exact_in(token_in, token_out, amount_in, route)
    else:
        extcall ISwapper(swapper).swap_exact_out(token_in, token_out, amount_out, amount_in, route)
    spent: uint256 = before_in - staticcall IERC20(token_in).balanceOf(self)
    return spent, staticcall IERC20(token_out).balanceOf(self) - before_out
