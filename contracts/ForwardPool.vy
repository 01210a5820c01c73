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
from interfaces import IForwardPool
from interfaces import IPool
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
from contracts.modules.forward import liquidating
from contracts.modules.forward import shorts
from contracts.modules.forward import shorting
from contracts.modules.forward import trades

implements: IERC20
implements: IERC4626
implements: IPool
implements: IForwardPool

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
initializes: shorts[
    accounts := accounts, hooks := hooks, ledger := ledger, market := market, supply := supply
]
initializes: trades[market := market]
initializes: shorting[
    accounts := accounts, ledger := ledger, market := market, shorts := shorts, trades := trades
]
initializes: liquidating[
    accounts := accounts, ledger := ledger, market := market, shorts := shorts, trades := trades
]

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
    # shorts
    shorts.position,
    shorts.debt_shares_of,
    shorts.debt_of,
    trades.books,
    trades.sold_in_block,
    shorting.open_short,
    shorting.close_short,
    shorting.repay,
    shorting.add_margin,
    shorting.remove_margin,
    liquidating.liquidate,
    liquidating.liquidate_by_purchase,
)


@deploy
def __init__():
    market.__init__()
    ledger.__init__(-1)


@external
def set_caps(supply_cap: uint256, debt_cap: uint256, block_cap: uint256):
    """
    @notice Caps on all assets lent, all debt and the tokens sold in one block; the last two are set against DEX depth.
            They stop what is new, never an exit. 2**128 - 1 (from 2**112 - 1 on a block) is none.
    """
    market._check_factory()
    ledger._set_caps(supply_cap, debt_cap, trades._set_block_cap(block_cap))


@external
@view
@reentrant
def caps() -> (uint256, uint256, uint256):
    """
    @notice (cap on all assets, on all debt, on the tokens sold in one block)
    """
    return (
        ledger.caps_word & packing.MAX_UINT128,
        ledger.caps_word >> 128,
        trades._block_cap(),
    )
