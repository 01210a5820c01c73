# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Tips for calls that were due
@license AGPL-3.0-only
@notice A budget of shares grows with time by `tip_rate` of all of them a year; each call that was due and moved something gets
        a quarter of it, minted. So a call is worth more the longer none came, and all of them together never cost more than the
        rate.
@dev Who leaves takes his part of the budget with him: against all shares it grows with time alone. So whoever stays is never
     diluted by more than the rate, however many go.
"""
from interfaces import ICarryVault
from contracts.modules import wad_math
from contracts.modules.carry import shares as share_token

uses: share_token

YEAR: constant(uint256) = 365 * 86400
PARTS: constant(uint256) = 4

RATE: immutable(uint256)

# shares, as of `counted_at`
budget: uint256
counted_at: uint256


@deploy
def __init__(rate: uint256):
    RATE = rate
    self.counted_at = block.timestamp


@external
@view
def tip() -> uint256:
    """
    @notice Shares that the next due call gets.
    """
    return self._budget() // PARTS


@internal
@view
def _budget() -> uint256:
    return self.budget + wad_math._mul_div_down(
        wad_math._share_of_down(share_token.total, RATE), block.timestamp - self.counted_at, YEAR
    )


@internal
def _count():
    """
    @notice Before shares are minted or burnt, so that the time until then is counted at what there was.
    """
    self.budget = self._budget()
    self.counted_at = block.timestamp


@internal
def _count_burnt(shares: uint256):
    """
    @notice Before the shares are burnt, of which there are some.
    """
    self._count()
    total: uint256 = share_token.total
    self.budget = wad_math._mul_div_down(self.budget, total - shares, total)


@internal
def _pay():
    self._count()
    tip: uint256 = self.budget // PARTS
    self.budget -= tip
    if tip == 0:
        return
    log ICarryVault.Tipped(caller=msg.sender, shares=tip)
    share_token._move(empty(address), msg.sender, tip)
