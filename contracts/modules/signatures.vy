# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title EIP-712 signatures of accounts
@license AGPL-3.0-only
@notice One domain and one nonce sequence an account for everything that is signed for a pool: permits and operators.
@dev The domain separator is computed at each use, so that it is right on both sides of a chain split. Its name is the
     share token's, its version "1".
"""
from contracts.modules import errors
from contracts.modules import market

uses: market

interface IERC1271:
    def isValidSignature(hash: bytes32, signature: Bytes[1024]) -> bytes4: view

DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")
# secp256k1's order halved: only the lower of a signature's two forms of s counts
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
ERC1271_MAGIC: constant(bytes4) = 0x1626BA7E

nonces: HashMap[address, uint256]


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return self._domain_separator()


@internal
@view
def _domain_separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE_HASH, keccak256(market.NAME), VERSION_HASH, chain.id, self))


@internal
@view
def _digest(struct_hash: bytes32) -> bytes32:
    return keccak256(concat(x"1901", self._domain_separator(), struct_hash))


@internal
def _use_nonce(account: address) -> uint256:
    nonce: uint256 = self.nonces[account]
    self.nonces[account] = nonce + 1
    return nonce


@internal
@view
def _check_signature(account: address, struct_hash: bytes32, signature: Bytes[1024]):
    """
    @notice A key's signature of 65 bytes, or whatever the account's code accepts by ERC-1271. Both are tried, so that
            an account with delegated code (EIP-7702) may use either.
    """
    digest: bytes32 = self._digest(struct_hash)
    if len(signature) == 65:
        v: uint256 = convert(slice(signature, 64, 1), uint256)
        r: uint256 = extract32(signature, 0, output_type=uint256)
        s: uint256 = extract32(signature, 32, output_type=uint256)
        if s <= HALF_ORDER and account != empty(address) and ecrecover(digest, v, r, s) == account:
            return
    if not account.is_contract:
        errors._bad_signature()
    if staticcall IERC1271(account).isValidSignature(digest, signature) != ERC1271_MAGIC:
        errors._bad_signature()
