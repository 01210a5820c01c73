# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Liquidation of the forward pool
@license AGPL-3.0-only
@notice By delivery of tokens, or by the pool's own purchase. The terms are those of `liquidation`, on
        `liquidation_price()` alone. Never paused; not in the block of the last opening.
"""
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import liquidation
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import share_token
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.forward import shorts
from contracts.modules.forward import trades
from interfaces import ICallbacks
from interfaces import IForwardPool
from interfaces import IPoolFactory

uses: accounts
uses: ledger
uses: market
uses: shorts
uses: trades

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36
# Of what a purchase by the pool is worth, paid to whoever called it; less than any market's bonus.
TIP: constant(uint256) = 10**16


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
    totals: ledger.Totals = ledger._accrue()
    price: uint256 = 0
    most: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    price, most, bonus, exhausts = self._liquidation_terms(totals, borrower)
    word: uint256 = accounts.position_word[borrower]
    repaid: uint256 = min(max_repay, most)
    shares: uint256 = shorts._shares_repaid(totals, repaid, word >> 128)
    if repaid == 0 and most > 0:
        errors._zero_amount()
    # the last of a collateral that does not cover its debt goes whole, so that no dust of it keeps bad debt open
    seized: uint256 = packing._short_collateral(word)
    if repaid < most or not exhausts:
        seized = min(self._worth_with_bonus(repaid, price, bonus), seized)
    totals = shorts._reduce(totals, borrower, repaid, shares, seized)[0]
    log IForwardPool.Liquidate(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        seized=seized,
        price_e36=price,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    tokens._push(market.CONFIG.collateral, receiver, seized)
    if len(data) > 0:
        extcall ICallbacks(msg.sender).on_collateral(borrower, repaid, seized, data)
    tokens._pull_due(market.CONFIG.asset, repaid)
    return repaid, seized


@external
def liquidate_by_purchase(borrower: address, receiver: address) -> (uint256, uint256):
    """
    @notice The pool buys an unhealthy debt back with the position's USDT, through the adapter and route that the
            owner has set at the factory. Cost and tip together are at most the oracle's value * (1 + bonus). Where the
            collateral falls short, all of it is spent and the rest of the debt written off; tokens that it buys beyond the
            debt are the receiver's.
    @param receiver Of the tip, 1 % of the value bought back, and of what is bought beyond the debt.
    @return (tokens repaid, USDT spent with the tip)
    """
    share_token._check_receiver(receiver)
    totals: ledger.Totals = ledger._accrue()
    price: uint256 = 0
    most: uint256 = 0
    bonus: uint256 = 0
    exhausts: bool = False
    price, most, bonus, exhausts = self._liquidation_terms(totals, borrower)
    word: uint256 = accounts.position_word[borrower]
    budget: uint256 = packing._short_collateral(word)
    if not exhausts:
        budget = min(self._worth_with_bonus(most, price, bonus), budget)
    tip: uint256 = wad_math._share_of_down(shorts._value_down(most, price), TIP)
    cost: uint256 = 0
    bought: uint256 = 0
    amount_out: uint256 = most
    if exhausts:
        amount_out = 0
    swapper: address = empty(address)
    route: Bytes[256] = b""
    swapper, route = staticcall IPoolFactory(market.FACTORY).liquidation_swapper(self)
    cost, bought = trades._swap(
        swapper, market.CONFIG.collateral, market.CONFIG.asset, budget - tip, amount_out, route
    )
    if bought < most:
        errors._slippage()
    repaid: uint256 = most
    if exhausts:
        repaid = min(bought, ledger._owed(word >> 128, totals.debt_assets, totals.debt_shares))
    shares: uint256 = shorts._shares_repaid(totals, repaid, word >> 128)
    trades._book(0, repaid)
    totals = shorts._reduce(totals, borrower, repaid, shares, cost + tip)[0]
    log IForwardPool.LiquidateByPurchase(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        cost=cost,
        tip=tip,
        price_e36=price,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    tokens._push(market.CONFIG.collateral, receiver, tip)
    if exhausts:
        tokens._push(market.CONFIG.asset, receiver, bought - repaid)
    return repaid, cost + tip


@internal
@view
def _liquidation_terms(
    totals: ledger.Totals, borrower: address
) -> (uint256, uint256, uint256, bool):
    """
    @return Price, tokens to repay at most, bonus, and whether that takes all collateral and still leaves debt.
    """
    word: uint256 = accounts.position_word[borrower]
    if block.number <= packing._short_block(word):
        errors._same_block()
    price: uint256 = shorts._liquidation_price()
    debt: uint256 = ledger._owed(word >> 128, totals.debt_assets, totals.debt_shares)
    collateral: uint256 = packing._short_collateral(word)
    debt_value: uint256 = shorts._value_up(debt, price)
    if debt_value <= wad_math._share_of_down(collateral, market.CONFIG.leg.liquidation_ltv):
        errors._healthy()
    # a unit above, so that the tokens that the rest is worth are not below it by rounding
    dust_value: uint256 = shorts._value_up(market.CONFIG.leg.min_debt, price) + 1
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
def _worth_with_bonus(token_amount: uint256, price: uint256, bonus: uint256) -> uint256:
    return wad_math._share_of_down(shorts._value_down(token_amount, price), WAD + bonus)
