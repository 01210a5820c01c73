# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Operators
@license AGPL-3.0-only
@author Perpool
@notice An operator may do in every pool what the account itself may: borrow, open, close, take out. Adding to an
        account and repaying for it need nobody's permission.
@dev ASSUMPTIONS. Pools ask here and believe the answer; nothing else does.
@dev LIVENESS. An approval holds until its account revokes it, by call or by signature. Nobody can pause or change it.
@dev ROLES. Every account decides for itself; there is no owner.
@dev ROUNDING. None.
"""
from interfaces import IOperators
from contracts.modules import errors
from contracts.modules import signatures

implements: IOperators

initializes: signatures

exports: signatures.nonces

NAME: constant(String[40]) = "Perpool Operators"
SET_OPERATOR_TYPE_HASH: constant(bytes32) = keccak256(
    "SetOperator(address account,address operator,bool approved,uint256 nonce,uint256 deadline)"
)

approved: HashMap[address, HashMap[address, bool]]


@external
def set_operator(operator: address, approved: bool):
    """
    @notice Lets `operator` act for the caller in every pool, or no longer.
    """
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
    struct_hash: bytes32 = keccak256(
        abi_encode(SET_OPERATOR_TYPE_HASH, account, operator, approved, nonce, deadline)
    )
    digest: bytes32 = signatures._digest(signatures._domain_separator(NAME), struct_hash)
    signatures._check_signature(account, digest, signature)
    self._set(account, operator, approved)


@external
@view
def is_operator(account: address, operator: address) -> bool:
    return self.approved[account][operator]


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return signatures._domain_separator(NAME)


@internal
def _set(account: address, operator: address, approved: bool):
    self.approved[account][operator] = approved
    log IOperators.OperatorSet(account=account, operator=operator, approved=approved)
