# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title The lenders' face: ERC-4626 over the ledger
@license AGPL-3.0-only
@notice Withdrawals and redemptions are never paused; they need cash, and nothing else.
@dev ROUNDING. deposit and redeem round what the caller gets down, mint and withdraw what he pays up. The previews are
     exact in the block they are asked in.
"""
from ethereum.ercs import IERC4626
from interfaces import IPool
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import share_token
from contracts.modules import tokens

uses: accounts
uses: ledger
uses: market
uses: share_token


@external
@view
@reentrant
def asset() -> address:
    return market.CONFIG.asset


@external
@view
def totalAssets() -> uint256:
    """
    @notice All claims of lenders and reserve as of now.
    """
    return ledger._peek().supply_assets


@external
@view
def convertToShares(assets: uint256) -> uint256:
    return ledger._to_shares_down(ledger._peek(), assets)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    return ledger._to_assets_down(ledger._peek(), shares)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    return ledger._to_shares_down(ledger._peek(), assets)


@external
@view
def previewMint(shares: uint256) -> uint256:
    return ledger._to_assets_up(ledger._peek(), shares)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    return ledger._to_shares_up(ledger._peek(), assets)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    return ledger._to_assets_down(ledger._peek(), shares)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    return ledger._supply_room(ledger._peek())


@external
@view
def maxMint(receiver: address) -> uint256:
    state: IPool.State = ledger._peek()
    return ledger._to_shares_down(state, ledger._supply_room(state))


@external
@view
def maxWithdraw(holder: address) -> uint256:
    """
    @notice What the holder's shares are worth, or the pool's cash where that is less.
    """
    state: IPool.State = ledger._peek()
    return min(
        ledger._to_assets_down(state, accounts.shares_of[holder]),
        state.supply_assets - state.debt_assets,
    )


@external
@view
def maxRedeem(holder: address) -> uint256:
    state: IPool.State = ledger._peek()
    return min(
        accounts.shares_of[holder],
        ledger._to_shares_down(state, state.supply_assets - state.debt_assets),
    )


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Credits what arrived of `assets`.
    @return Shares, rounded down.
    """
    received: uint256 = tokens._pull(market.CONFIG.asset, assets)[0]
    state: IPool.State = ledger._accrue()
    shares: uint256 = ledger._to_shares_down(state, received)
    self._enter(state, received, shares, receiver)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @return Assets paid, rounded up. Reverts where a transfer fee leaves the pool with less.
    """
    state: IPool.State = ledger._accrue()
    assets: uint256 = ledger._to_assets_up(state, shares)
    tokens._pull_exactly(market.CONFIG.asset, assets)
    self._enter(state, assets, shares, receiver)
    return assets


@external
def withdraw(assets: uint256, receiver: address, holder: address) -> uint256:
    """
    @return Shares burnt, rounded up.
    """
    state: IPool.State = ledger._accrue()
    shares: uint256 = ledger._to_shares_up(state, assets)
    self._leave(state, assets, shares, receiver, holder)
    return shares


@external
def redeem(shares: uint256, receiver: address, holder: address) -> uint256:
    """
    @return Assets paid out, rounded down.
    """
    state: IPool.State = ledger._accrue()
    assets: uint256 = ledger._to_assets_down(state, shares)
    self._leave(state, assets, shares, receiver, holder)
    return assets


@internal
def _enter(state: IPool.State, assets: uint256, shares: uint256, receiver: address):
    if shares == 0:
        errors._zero_amount()
    changed: IPool.State = state
    changed.supply_assets += assets
    changed.supply_shares += shares
    ledger._check_supply_limits(changed)
    ledger._store(changed)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)
    share_token._mint(state.flags, receiver, shares)


@internal
def _leave(
    state: IPool.State, assets: uint256, shares: uint256, receiver: address, holder: address
):
    share_token._check_receiver(receiver)
    share_token._spend_allowance(holder, shares)
    ledger._check_cash(state, assets)
    changed: IPool.State = state
    changed.supply_assets -= assets
    changed.supply_shares -= shares
    ledger._store(changed)
    log IERC4626.Withdraw(
        sender=msg.sender, receiver=receiver, owner=holder, assets=assets, shares=shares
    )
    share_token._burn(state.flags, holder, shares)
    tokens._push(market.CONFIG.asset, receiver, assets)
