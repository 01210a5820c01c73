# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Operators
@license AGPL-3.0-only
@notice An operator may do with an account's position what its holder may: borrow, open, close and take out. Adding to
        an account and repaying for it need nobody's permission.
"""
from interfaces import IPool
from contracts.modules import errors
from contracts.modules import signatures

uses: signatures

SET_OPERATOR_TYPE_HASH: constant(bytes32) = keccak256(
    "SetOperator(address account,address operator,bool approved,uint256 nonce,uint256 deadline)"
)

approved: HashMap[address, HashMap[address, bool]]


@external
@view
@reentrant
def is_operator(account: address, operator: address) -> bool:
    return self.approved[account][operator]


@external
def set_operator(operator: address, approved: bool):
    self._set(msg.sender, operator, approved)


@external
def set_operator_by_signature(
    account: address, operator: address, approved: bool, deadline: uint256, signature: Bytes[1024]
):
    """
    @param signature 65 bytes of r, s, v by the account's key, or what its contract accepts by ERC-1271, over
           SetOperator(address account,address operator,bool approved,uint256 nonce,uint256 deadline).
    """
    if block.timestamp > deadline:
        errors._expired()
    nonce: uint256 = signatures._use_nonce(account)
    signatures._check_signature(
        account,
        keccak256(abi_encode(SET_OPERATOR_TYPE_HASH, account, operator, approved, nonce, deadline)),
        signature,
    )
    self._set(account, operator, approved)


@internal
def _set(account: address, operator: address, approved: bool):
    self.approved[account][operator] = approved
    log IPool.OperatorSet(account=account, operator=operator, approved=approved)


@internal
@view
def _check(account: address):
    if msg.sender != account and not self.approved[account][msg.sender]:
        errors._not_authorised()
