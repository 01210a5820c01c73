# pragma version 0.4.3
"""
@title Test price feed
@license AGPL-3.0-only
@author Perpool
@notice A Chainlink AggregatorV3 whose answer anyone may set.
@dev One storage word, as cheap to read as a feed can be: answer 192 bits | time of the answer 64.
"""

decimals: public(immutable(uint8))

_word: uint256


@deploy
def __init__(feed_decimals: uint8, answer: int256):
    decimals = feed_decimals
    self._set(answer, block.timestamp)


@external
def set(answer: int256):
    """
    @notice Set the answer as of now.
    """
    self._set(answer, block.timestamp)


@external
def set_at(answer: int256, updated_at: uint256):
    """
    @notice Set the answer as of a given time, which may be old or in the future.
    """
    self._set(answer, updated_at)


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice Round, answer, start, update time and answering round. The round is always 1.
    """
    word: uint256 = self._word
    answer: int256 = convert(convert(word, bytes32), int256) >> 64
    updated_at: uint256 = word & convert(max_value(uint64), uint256)
    return 1, answer, updated_at, updated_at, 1


@external
@view
def latestAnswer() -> int256:
    return convert(convert(self._word, bytes32), int256) >> 64


@external
@pure
def description() -> String[16]:
    return "test feed"


@external
@pure
def version() -> uint256:
    return 4


@internal
def _set(answer: int256, updated_at: uint256):
    # converted to and fro: what does not fit reverts
    shifted: int256 = convert(convert(answer, int192), int256) << 64
    word: uint256 = convert(convert(shifted, bytes32), uint256)
    self._word = word | convert(convert(updated_at, uint64), uint256)
