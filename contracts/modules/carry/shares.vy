# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title A carry vault's shares: ERC-20 with ERC-2612, and the hook
@license AGPL-3.0-only
@dev What the vault itself holds are shares of requests: those to redeem, and those of settled deposits that wait for their
     controller. The hook hears of everybody else's.
"""
from ethereum.ercs import IERC20
from interfaces import IHook
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import signatures

uses: accounts
uses: signatures

PERMIT_TYPE_HASH: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)

NAME: immutable(String[40])
SYMBOL: immutable(String[32])
DECIMALS: immutable(uint8)
# shares per token in an empty vault, as in the pools
VIRTUAL_SHARES: immutable(uint256)

total: uint256
allowances: HashMap[address, HashMap[address, uint256]]


@deploy
def __init__(name_: String[40], symbol_: String[32], token_decimals: uint256):
    NAME = name_
    SYMBOL = symbol_
    offset: uint256 = min(6, 24 - token_decimals)
    DECIMALS = convert(token_decimals + offset, uint8)
    VIRTUAL_SHARES = 10**offset


@external
@view
@reentrant
def name() -> String[40]:
    return NAME


@external
@view
@reentrant
def symbol() -> String[32]:
    return SYMBOL


@external
@view
@reentrant
def decimals() -> uint8:
    return DECIMALS


@external
@view
@reentrant
def totalSupply() -> uint256:
    return self.total


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
    self._move(msg.sender, receiver, shares)
    return True


@external
def transferFrom(holder: address, receiver: address, shares: uint256) -> bool:
    self._spend_allowance(holder, shares)
    self._check_receiver(receiver)
    self._move(holder, receiver, shares)
    return True


@external
@view
@reentrant
def DOMAIN_SEPARATOR() -> bytes32:
    return signatures._domain_separator(NAME)


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
    """
    @notice An allowance signed by a key; a contract approves by call.
    """
    if block.timestamp > deadline:
        errors._expired()
    nonce: uint256 = signatures._use_nonce(holder)
    struct_hash: bytes32 = keccak256(
        abi_encode(PERMIT_TYPE_HASH, holder, spender, shares, nonce, deadline)
    )
    digest: bytes32 = signatures._digest(signatures._domain_separator(NAME), struct_hash)
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
    self.allowances[holder][msg.sender] = unsafe_sub(allowed, shares)  # checked above


@internal
@view
def _check_receiver(receiver: address):
    if receiver == empty(address) or receiver == self:
        errors._bad_receiver()


@internal
def _move(holder: address, receiver: address, shares: uint256):
    """
    @notice From the zero address it is a mint, to it a burn.
    """
    held: uint256 = 0
    received: uint256 = 0
    # one after the other: a transfer to oneself changes nothing
    if holder != empty(address):
        held = accounts.shares_of[holder]
        if held < shares:
            errors._insufficient_balance()
        accounts.shares_of[holder] = unsafe_sub(held, shares)  # checked above
    else:
        self.total += shares
    if receiver != empty(address):
        received = accounts.shares_of[receiver]
        # all shares together are the total, which does not overflow
        accounts.shares_of[receiver] = unsafe_add(received, shares)
    else:
        self.total -= shares
    log IERC20.Transfer(sender=holder, receiver=receiver, value=shares)
    hook: address = accounts.hook
    if hook == empty(address):
        return
    # what is held now, as above
    if holder not in [empty(address), self, receiver]:
        accounts._tell(hook, holder, IHook.Side.HOLDERS, unsafe_sub(held, shares))
    if receiver not in [empty(address), self]:
        accounts._tell(hook, receiver, IHook.Side.HOLDERS, unsafe_add(received, shares))
