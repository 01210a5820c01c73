# pragma version 0.4.3
"""
@title Contract wallet for tests
@license AGPL-3.0-only
@author Perpool
@notice Accepts by ERC-1271 the hashes it was told to, whatever the signature.
"""

MAGIC: constant(bytes4) = 0x1626BA7E

accepted: HashMap[bytes32, bool]


@external
def accept(hash: bytes32):
    """
    @notice Accept signatures of this hash; by anyone.
    """
    self.accepted[hash] = True


@external
@view
def isValidSignature(hash: bytes32, signature: Bytes[1024]) -> bytes4:
    """
    @notice See ERC-1271.
    """
    return MAGIC if self.accepted[hash] else 0xFFFFFFFF
