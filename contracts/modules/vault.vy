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
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import share_token
from contracts.modules import supply
from contracts.modules import tokens

uses: accounts
uses: market
uses: share_token
uses: supply


@external
@view
@reentrant
def asset() -> address:
    return market.CONFIG.asset


@external
@view
def totalAssets() -> uint256:
    """
    @notice All claims of lenders and reserve as of now, less the fee that has not been charged.
    """
    return supply._peek().assets


@external
@view
def convertToShares(assets: uint256) -> uint256:
    return supply._to_shares_down(supply._peek(), assets)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    return supply._to_assets_down(supply._peek(), shares)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    return supply._to_shares_down(supply._peek(), assets)


@external
@view
def previewMint(shares: uint256) -> uint256:
    return supply._to_assets_up(supply._peek(), shares)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    return supply._to_shares_up(supply._peek(), assets)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    return supply._to_assets_down(supply._peek(), shares)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    return supply._room(supply._peek())


@external
@view
def maxMint(receiver: address) -> uint256:
    claims: supply.Claims = supply._peek()
    return supply._to_shares_down(claims, supply._room(claims))


@external
@view
def maxWithdraw(holder: address) -> uint256:
    """
    @notice What the holder's shares are worth, or the pool's cash where that is less.
    """
    claims: supply.Claims = supply._peek()
    return min(supply._to_assets_down(claims, accounts.shares_of[holder]), claims.totals.cash)


@external
@view
def maxRedeem(holder: address) -> uint256:
    """
    @notice The holder's shares, or those that the pool's cash pays where they are less; 0 where they are worth nothing.
    """
    claims: supply.Claims = supply._peek()
    shares: uint256 = min(
        accounts.shares_of[holder], supply._to_shares_down(claims, claims.totals.cash)
    )
    if supply._to_assets_down(claims, shares) == 0:
        return 0
    return shares


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Credits what arrived of `assets`.
    @return Shares, rounded down.
    """
    received: uint256 = tokens._pull(market.CONFIG.asset, assets)[0]
    claims: supply.Claims = supply._accrue()
    shares: uint256 = supply._to_shares_down(claims, received)
    self._enter(claims, received, shares, receiver)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @return Assets paid, rounded up. Reverts where a transfer fee leaves the pool with less.
    """
    claims: supply.Claims = supply._accrue()
    assets: uint256 = supply._to_assets_up(claims, shares)
    tokens._pull_exactly(market.CONFIG.asset, assets)
    self._enter(claims, assets, shares, receiver)
    return assets


@external
def withdraw(assets: uint256, receiver: address, holder: address) -> uint256:
    """
    @return Shares burnt, rounded up.
    """
    claims: supply.Claims = supply._accrue()
    shares: uint256 = supply._to_shares_up(claims, assets)
    share_token._spend_allowance(holder, shares)
    self._leave(claims, assets, shares, receiver, holder)
    return shares


@external
def redeem(shares: uint256, receiver: address, holder: address) -> uint256:
    """
    @return Assets paid out, rounded down.
    """
    claims: supply.Claims = supply._accrue()
    assets: uint256 = supply._to_assets_down(claims, shares)
    share_token._spend_allowance(holder, shares)
    self._leave(claims, assets, shares, receiver, holder)
    return assets


@internal
def _enter(claims: supply.Claims, assets: uint256, shares: uint256, receiver: address):
    share_token._check_receiver(receiver)
    if shares == 0:
        errors._zero_amount()
    changed: supply.Claims = claims
    changed.totals.cash += assets
    changed.charged += assets
    changed.shares += shares
    supply._check_limits(changed)
    supply._store(changed)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)
    share_token._move(claims.totals.clock, empty(address), receiver, shares)


@internal
def _leave(
    claims: supply.Claims, assets: uint256, shares: uint256, receiver: address, holder: address
):
    """
    @notice For shares that the caller may spend.
    """
    share_token._check_receiver(receiver)
    ledger._check_cash(claims.totals, assets)
    changed: supply.Claims = claims
    if assets > claims.charged:
        # nearly all leave at once, and interest is most of what they take
        changed = supply._charge(claims)
    if shares > changed.shares:
        errors._insufficient_balance()
    # cash and shares are checked above; once charged, `charged` is cash and debt
    changed.totals.cash = unsafe_sub(changed.totals.cash, assets)
    changed.charged = unsafe_sub(changed.charged, assets)
    changed.shares = unsafe_sub(changed.shares, shares)
    supply._store(changed)
    log IERC4626.Withdraw(
        sender=msg.sender, receiver=receiver, owner=holder, assets=assets, shares=shares
    )
    share_token._move(claims.totals.clock, holder, empty(address), shares)
    tokens._push(market.CONFIG.asset, receiver, assets)
