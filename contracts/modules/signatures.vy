# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title EIP-712 signatures of accounts
@license AGPL-3.0-only
@notice A nonce sequence an account, and the check of a signature by key or by contract. The domain has a name given by
        the caller, version "1", the chain and this contract.
@dev The domain separator is computed at each use, so that it is right on both sides of a chain split.
"""
from contracts.modules import errors


interface IERC1271:
    def isValidSignature(hash: bytes32, signature: Bytes[1024]) -> bytes4: view


DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")
# secp256k1's order halved: only the lower of a signature's two forms of s counts
HALF_ORDER: constant(
    uint256
) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
ERC1271_MAGIC: constant(bytes4) = 0x1626BA7E

next_nonce: HashMap[address, uint256]


@external
@view
@reentrant
def nonces(account: address) -> uint256:
    return self.next_nonce[account]


@internal
@view
def _domain_separator(name: String[40]) -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE_HASH, keccak256(name), VERSION_HASH, chain.id, self))


@internal
def _use_nonce(account: address) -> uint256:
    nonce: uint256 = self.next_nonce[account]
    self.next_nonce[account] = nonce + 1
    return nonce


@internal
@view
def _digest(domain: bytes32, struct_hash: bytes32) -> bytes32:
    return keccak256(concat(x"1901", domain, struct_hash))


@internal
@pure
def _is_signed_by(account: address, digest: bytes32, v: uint256, r: uint256, s: uint256) -> bool:
    """
    @notice Whether `account`'s key signed. ecrecover answers zero for a bad signature.
    """
    return s <= HALF_ORDER and account != empty(address) and ecrecover(digest, v, r, s) == account


@internal
@view
def _check_signature(account: address, digest: bytes32, signature: Bytes[1024]):
    """
    @notice A key's signature of 65 bytes (r, s, v), or whatever the account's code accepts by ERC-1271. Both are tried,
            so that an account with delegated code (EIP-7702) may use either.
    """
    if len(signature) == 65:
        v: uint256 = convert(slice(signature, 64, 1), uint256)
        r: uint256 = extract32(signature, 0, output_type=uint256)
        s: uint256 = extract32(signature, 32, output_type=uint256)
        if self._is_signed_by(account, digest, v, r, s):
            return
    if not account.is_contract:
        errors._bad_signature()
    if staticcall IERC1271(account).isValidSignature(digest, signature) != ERC1271_MAGIC:
        errors._bad_signature()
