# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Claims on a carry vault: ERC-4626's four functions after settlement
@license AGPL-3.0-only
@notice With two arguments the caller is the controller, with three the controller is named and the caller may be his operator.
@dev ROUNDING. What is claimed down, what it uses of the claim up.
"""
from ethereum.ercs import IERC4626
from contracts.modules import carry_errors
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.carry import frame
from contracts.modules.carry import requests
from contracts.modules.carry import shares as share_token

uses: requests
uses: share_token
uses: frame


@external
def deposit(assets: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """
    @return Shares of a settled deposit of so many tokens.
    """
    claims: requests.Claims = requests.claims[controller]
    shares: uint256 = self._part_down(assets, claims.shares_out, claims.assets_in)
    self._claim_shares(assets, shares, receiver, controller)
    return shares


@external
def mint(shares: uint256, receiver: address, controller: address = msg.sender) -> uint256:
    """
    @return Tokens of the settled deposit that the shares are for.
    """
    claims: requests.Claims = requests.claims[controller]
    assets: uint256 = self._part_up(shares, claims.assets_in, claims.shares_out)
    self._claim_shares(assets, shares, receiver, controller)
    return assets


@external
def withdraw(assets: uint256, receiver: address, controller: address) -> uint256:
    """
    @return Redeemed shares that the tokens are for.
    """
    claims: requests.Claims = requests.claims[controller]
    shares: uint256 = self._part_up(assets, claims.shares_in, claims.assets_out)
    self._claim_tokens(assets, shares, receiver, controller)
    return shares


@external
def redeem(shares: uint256, receiver: address, controller: address) -> uint256:
    """
    @return Tokens of so many redeemed shares. The first claim brings the USDT that is left, too.
    """
    claims: requests.Claims = requests.claims[controller]
    assets: uint256 = self._part_down(shares, claims.assets_out, claims.shares_in)
    self._claim_tokens(assets, shares, receiver, controller)
    return assets


@external
@view
@reentrant
def maxDeposit(controller: address) -> uint256:
    return requests.claims[controller].assets_in


@external
@view
@reentrant
def maxMint(controller: address) -> uint256:
    return requests.claims[controller].shares_out


@external
@view
@reentrant
def maxWithdraw(controller: address) -> uint256:
    return requests.claims[controller].assets_out


@external
@view
@reentrant
def maxRedeem(controller: address) -> uint256:
    return requests.claims[controller].shares_in


@external
@view
@reentrant
def claimableDepositRequest(requestId: uint256, controller: address) -> uint256:
    return requests.claims[controller].assets_in


@external
@view
@reentrant
def claimableRedeemRequest(requestId: uint256, controller: address) -> uint256:
    return requests.claims[controller].shares_in


@external
@view
@reentrant
def claimable_usdt(controller: address) -> uint256:
    """
    @notice USDT that the controller's next claim of tokens brings with it.
    """
    return requests.claims[controller].usdt_out


# What a request becomes nobody knows before it is settled (ERC-7540).


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    carry_errors._asynchronous()
    return 0


@external
@view
def previewMint(shares: uint256) -> uint256:
    carry_errors._asynchronous()
    return 0


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    carry_errors._asynchronous()
    return 0


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    carry_errors._asynchronous()
    return 0


@internal
def _claim_shares(assets: uint256, shares: uint256, receiver: address, controller: address):
    requests._check_operator(controller)
    share_token._check_receiver(receiver)
    claims: requests.Claims = requests.claims[controller]
    if assets > claims.assets_in or shares > claims.shares_out:
        carry_errors._not_claimable()
    requests.claims[controller].assets_in = claims.assets_in - assets
    requests.claims[controller].shares_out = claims.shares_out - shares
    log IERC4626.Deposit(sender=controller, owner=receiver, assets=assets, shares=shares)
    share_token._move(self, receiver, shares)


@internal
def _claim_tokens(assets: uint256, shares: uint256, receiver: address, controller: address):
    requests._check_operator(controller)
    share_token._check_receiver(receiver)
    claims: requests.Claims = requests.claims[controller]
    if assets > claims.assets_out or shares > claims.shares_in:
        carry_errors._not_claimable()
    requests.claims[controller].assets_out = claims.assets_out - assets
    requests.claims[controller].shares_in = claims.shares_in - shares
    requests.claims[controller].usdt_out = 0
    log IERC4626.Withdraw(
        sender=msg.sender, receiver=receiver, owner=controller, assets=assets, shares=shares
    )
    tokens._push(frame.TOKEN, receiver, assets)
    tokens._push(frame.USDT, receiver, claims.usdt_out)


@internal
@pure
def _part_down(amount: uint256, of: uint256, whole: uint256) -> uint256:
    if whole == 0:
        carry_errors._not_claimable()
    return wad_math._mul_div_down(amount, of, whole)


@internal
@pure
def _part_up(amount: uint256, of: uint256, whole: uint256) -> uint256:
    if whole == 0:
        carry_errors._not_claimable()
    return wad_math._mul_div_up(amount, of, whole)
