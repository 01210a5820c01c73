# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title The lenders' shares as an ERC-20
@license AGPL-3.0-only
@dev The reserve's shares count in totalSupply and show as balanceOf(pool). Charging the fee mints them, bad debt and the
     owner's withdrawal burn them, each with its Transfer event; nothing else moves them, and nobody can send shares to
     the pool.
"""
from ethereum.ercs import IERC20
from interfaces import IHook
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import hooks
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import supply

uses: accounts
uses: hooks
uses: ledger
uses: market
uses: supply

allowances: HashMap[address, HashMap[address, uint256]]


@external
@view
@reentrant
def name() -> String[40]:
    return market._name()


@external
@view
@reentrant
def symbol() -> String[32]:
    return market.SYMBOL


@external
@view
@reentrant
def decimals() -> uint8:
    return convert(market.CONFIG.share_decimals, uint8)


@external
@view
@reentrant
def totalSupply() -> uint256:
    return supply.supply_word >> 128


@external
@view
@reentrant
def balanceOf(account: address) -> uint256:
    return accounts.shares_of[account]


@external
@view
@reentrant
def allowance(holder: address, spender: address) -> uint256:
    return self.allowances[holder][spender]


@external
def approve(spender: address, shares: uint256) -> bool:
    self._approve(msg.sender, spender, shares)
    return True


@external
def transfer(receiver: address, shares: uint256) -> bool:
    self._check_receiver(receiver)
    self._move(ledger.clock_word, msg.sender, receiver, shares)
    return True


@external
def transferFrom(holder: address, receiver: address, shares: uint256) -> bool:
    self._spend_allowance(holder, shares)
    self._check_receiver(receiver)
    self._move(ledger.clock_word, holder, receiver, shares)
    return True


@internal
def _approve(holder: address, spender: address, shares: uint256):
    self.allowances[holder][spender] = shares
    log IERC20.Approval(owner=holder, spender=spender, value=shares)


@internal
def _spend_allowance(holder: address, shares: uint256):
    """
    @notice Nothing to spend where the holder calls himself or the allowance is unlimited.
    """
    if msg.sender == holder:
        return
    allowed: uint256 = self.allowances[holder][msg.sender]
    if allowed == max_value(uint256):
        return
    if allowed < shares:
        errors._insufficient_allowance()
    self.allowances[holder][msg.sender] = unsafe_sub(allowed, shares)  # checked above


@internal
@view
def _check_receiver(receiver: address):
    if receiver == empty(address) or receiver == self:
        errors._bad_receiver()


@internal
def _move(clock: uint256, holder: address, receiver: address, shares: uint256):
    """
    @notice From the zero address it is a mint, to it a burn; the ledger's side of those is the caller's.
    @param clock Or the word that it is in.
    """
    held: uint256 = 0
    received: uint256 = 0
    # one after the other: a transfer to oneself changes nothing
    if holder != empty(address):
        held = accounts.shares_of[holder]
        if held < shares:
            errors._insufficient_balance()
        accounts.shares_of[holder] = unsafe_sub(held, shares)  # checked above
    if receiver != empty(address):
        received = accounts.shares_of[receiver]
        # all shares together fit 128 bits
        accounts.shares_of[receiver] = unsafe_add(received, shares)
    log IERC20.Transfer(sender=holder, receiver=receiver, value=shares)
    if packing._clock_flags(clock) & packing.HOOK_FLAG == 0:
        return
    # what is held now, as above
    if holder not in [empty(address), self, receiver]:
        hooks._tell(clock, holder, IHook.Side.HOLDERS, unsafe_sub(held, shares))
    if receiver != empty(address):
        hooks._tell(clock, receiver, IHook.Side.HOLDERS, unsafe_add(received, shares))
