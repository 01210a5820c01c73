# pragma version 0.4.3
"""
@title Counter
@license AGPL-3.0-only
@author Perpool
@notice A module for tests of builds and coverage: state, an exported function, a constructor.
"""

count: public(uint256)
_step: uint256


@deploy
def __init__(step: uint256):
    self._step = step


@external
def increment(limit: uint256):
    if self.count + self._step > limit:
        raise "over the limit"
    self.count += self._step
