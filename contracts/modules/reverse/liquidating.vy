# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Liquidation of the reverse pool
@license AGPL-3.0-only
@notice The terms are those of `liquidation`, on `liquidation_price()` alone. Never paused.
"""
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import liquidation
from contracts.modules import market
from contracts.modules import share_token
from contracts.modules import supply
from contracts.modules import wad_math
from contracts.modules.reverse import loans
from interfaces import IPriceOracle
from interfaces import IReversePool

uses: ledger
uses: market
uses: supply
uses: loans

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


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
    totals: ledger.Totals = ledger._accrue()
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    collateral, debt_shares = loans._position(borrower)
    debt: uint256 = ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
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
        repaid, debt, debt_shares, totals.debt_assets, totals.debt_shares
    )
    # the last of a collateral that does not cover its debt goes whole, so that no dust of it keeps bad debt open
    seized: uint256 = collateral
    if repaid < most or not exhausts:
        seized = min(
            self._tokens_worth(wad_math._share_of_down(repaid, WAD + bonus), price), collateral
        )
    if repaid == 0 and most > 0:
        errors._zero_amount()

    totals = ledger._take_back(totals, repaid, shares)
    shares_left: uint256 = debt_shares - shares
    if seized == collateral and shares_left > 0:
        totals = supply._write_off(totals, borrower, shares_left)
        shares_left = 0
    ledger._check_dust(ledger._owed(shares_left, totals.debt_assets, totals.debt_shares))
    loans._settle(totals, borrower, collateral - seized, shares_left)
    log IReversePool.Liquidate(
        caller=msg.sender,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        seized=seized,
        price_e36=price,
        collateral=collateral - seized,
        total_debt=totals.debt_assets,
        total_debt_shares=totals.debt_shares,
    )
    loans._exchange(borrower, seized, receiver, repaid, data)
    return repaid, seized


@internal
@pure
def _tokens_worth(usdt_amount: uint256, price: uint256) -> uint256:
    """
    @return Tokens, rounded down.
    """
    return wad_math._mul_div_down(usdt_amount, PRICE_SCALE, price)
