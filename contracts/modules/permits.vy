# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Allowances by signature (ERC-2612)
@license AGPL-3.0-only
@notice An allowance over the lenders' shares, signed by a key (a contract approves by call).
"""
from contracts.modules import errors
from contracts.modules import market
from contracts.modules import share_token
from contracts.modules import signatures

uses: market
uses: share_token
uses: signatures

PERMIT_TYPE_HASH: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)


@external
@view
@reentrant
def DOMAIN_SEPARATOR() -> bytes32:
    return signatures._domain_separator(market._name())


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
    share_token._approve(holder, spender, shares)
