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
from interfaces import IPool
from interfaces import IReversePool
from contracts.modules import accounts
from contracts.modules import controls
from contracts.modules import hooks
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import permits
from contracts.modules import share_token
from contracts.modules import signatures
from contracts.modules import supply
from contracts.modules import vault
from contracts.modules.reverse import borrowing
from contracts.modules.reverse import flash_loans
from contracts.modules.reverse import liquidating
from contracts.modules.reverse import loans

implements: IERC20
implements: IERC4626
implements: IPool
implements: IReversePool

initializes: market
initializes: ledger[market := market]
initializes: accounts
initializes: hooks[accounts := accounts, market := market]
initializes: supply[accounts := accounts, ledger := ledger, market := market]
initializes: signatures
initializes: share_token[
    accounts := accounts, hooks := hooks, ledger := ledger, market := market, supply := supply
]
initializes: permits[market := market, share_token := share_token, signatures := signatures]
initializes: vault[
    accounts := accounts, market := market, share_token := share_token, supply := supply
]
initializes: controls[accounts := accounts, market := market, supply := supply, vault := vault]
initializes: loans[accounts := accounts, hooks := hooks, ledger := ledger, market := market]
initializes: borrowing[ledger := ledger, market := market, loans := loans]
initializes: liquidating[ledger := ledger, market := market, supply := supply, loans := loans]
initializes: flash_loans[ledger := ledger, market := market]

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
    permits.permit,
    permits.DOMAIN_SEPARATOR,
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
    supply.state,
    supply.accrued_state,
    supply.sync_funding,
    # the factory's
    controls.hook,
    controls.set_controls,
    controls.withdraw_reserve,
    # loans
    loans.position,
    loans.debt_shares_of,
    loans.debt_of,
    loans.borrow_ltv,
    borrowing.supply_collateral,
    borrowing.borrow,
    borrowing.repay,
    borrowing.withdraw_collateral,
    borrowing.supply_collateral_and_borrow,
    borrowing.repay_and_withdraw_collateral,
    borrowing.deleverage,
    liquidating.liquidate,
    # ERC-3156
    flash_loans.maxFlashLoan,
    flash_loans.flashFee,
    flash_loans.flashLoan,
)


@deploy
def __init__():
    market.__init__()
    ledger.__init__(1)


@external
def set_caps(supply_cap: uint256, debt_cap: uint256, collateral_cap: uint256):
    """
    @notice Caps on all assets lent, all debt and the tokens the pool holds; the last is set against DEX depth. They
            stop what is new, never an exit. 2**128 - 1 is none.
    """
    market._check_factory()
    ledger._set_caps(supply_cap, debt_cap, False)
    loans.collateral_cap = min(collateral_cap, packing.MAX_UINT128)


@external
@view
@reentrant
def caps() -> (uint256, uint256, uint256):
    """
    @notice (cap on all assets, on all debt, on all collateral)
    """
    return ledger.caps_word & packing.MAX_UINT128, ledger.caps_word >> 128, loans.collateral_cap
