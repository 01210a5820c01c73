# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title The lenders' shares as an ERC-20 with ERC-2612 permits
@license AGPL-3.0-only
@dev The reserve's shares count in totalSupply and show as balanceOf(pool). They change by Accrue, BadDebt and
     ReserveWithdrawn events, not by Transfer, and nothing transfers them; neither can shares be sent to the pool.
"""
from ethereum.ercs import IERC20
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import signatures

uses: accounts
uses: ledger
uses: market
uses: signatures

PERMIT_TYPE_HASH: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)

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
    return market.DECIMALS


@external
@view
@reentrant
def totalSupply() -> uint256:
    return ledger.supply_word >> 128


@external
@view
@reentrant
def balanceOf(account: address) -> uint256:
    if account == self:
        return ledger.clock_word >> 128
    return accounts.shares_of[account]


@external
@view
@reentrant
def allowance(holder: address, spender: address) -> uint256:
    return self.allowances[holder][spender]


@external
@view
@reentrant
def DOMAIN_SEPARATOR() -> bytes32:
    return signatures._domain_separator(market._name())


@external
def approve(spender: address, shares: uint256) -> bool:
    self._approve(msg.sender, spender, shares)
    return True


@external
def transfer(receiver: address, shares: uint256) -> bool:
    self._transfer(msg.sender, receiver, shares)
    return True


@external
def transferFrom(holder: address, receiver: address, shares: uint256) -> bool:
    self._spend_allowance(holder, shares)
    self._transfer(holder, receiver, shares)
    return True


@external
def permit(
    holder: address,
    spender: address,
    shares: uint256,
    deadline: uint256,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    if block.timestamp > deadline:
        errors._expired()
    nonce: uint256 = signatures._use_nonce(holder)
    struct_hash: bytes32 = keccak256(
        abi_encode(PERMIT_TYPE_HASH, holder, spender, shares, nonce, deadline)
    )
    digest: bytes32 = signatures._digest(signatures._domain_separator(market._name()), struct_hash)
    if not signatures._is_signed_by(
        holder, digest, convert(v, uint256), convert(r, uint256), convert(s, uint256)
    ):
        errors._bad_signature()
    self._approve(holder, spender, shares)


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
    self.allowances[holder][msg.sender] = allowed - shares


@internal
@view
def _check_receiver(receiver: address):
    if receiver == empty(address) or receiver == self:
        errors._bad_receiver()


@internal
def _transfer(holder: address, receiver: address, shares: uint256):
    # one after the other: a transfer to oneself changes nothing
    held: uint256 = self._debit(holder, shares)
    received: uint256 = self._credit(receiver, shares)
    log IERC20.Transfer(sender=holder, receiver=receiver, value=shares)
    flags: uint256 = ledger._flags()
    accounts._shares_changed(flags, holder, held)
    # of oneself, `received` is what was there between the two steps
    if receiver != holder:
        accounts._shares_changed(flags, receiver, received)


@internal
def _mint(flags: uint256, receiver: address, shares: uint256):
    """
    @notice The account's side of new shares; the ledger's is in the State.
    """
    held: uint256 = self._credit(receiver, shares)
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=shares)
    accounts._shares_changed(flags, receiver, held)


@internal
def _burn(flags: uint256, holder: address, shares: uint256):
    held: uint256 = self._debit(holder, shares)
    log IERC20.Transfer(sender=holder, receiver=empty(address), value=shares)
    accounts._shares_changed(flags, holder, held)


@internal
def _credit(receiver: address, shares: uint256) -> uint256:
    """
    @return What the receiver held before.
    """
    self._check_receiver(receiver)
    held: uint256 = accounts.shares_of[receiver]
    accounts.shares_of[receiver] = held + shares
    return held


@internal
def _debit(holder: address, shares: uint256) -> uint256:
    """
    @return What the holder held before.
    """
    held: uint256 = accounts.shares_of[holder]
    if held < shares:
        errors._insufficient_balance()
    accounts.shares_of[holder] = held - shares
    return held
