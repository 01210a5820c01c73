# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title On which side a carry vault stands
@license AGPL-3.0-only
@notice It carries while funding pays shorts well and lends otherwise, and stays for `min_stay` unless carrying becomes dear.
        With stale funding it stays where it is.
"""
from interfaces import ICarryStrategy
from interfaces import ICarryVault
from interfaces import IFundingOracle
from interfaces import IPool
from contracts.modules import rate_model
from contracts.modules import wad_math
from contracts.modules.carry import book
from contracts.modules.carry import targets
from contracts.modules.carry import terms

uses: terms

WAD: constant(int256) = 10**18

current: ICarryVault.Mode
entered_at: uint256


@deploy
def __init__():
    self.current = ICarryVault.Mode.LEND


@internal
@view
def _wanted(held: book.Book) -> (ICarryVault.Mode, int256, int256):
    """
    @return Mode to be in now, funding, and net carry.
    """
    mode: ICarryVault.Mode = self.current
    funding: int256 = 0
    observed_at: uint256 = 0
    funding, observed_at = staticcall IFundingOracle(terms.FUNDING_ORACLE).funding(
        terms.FUNDING_TOKEN
    )
    if observed_at > block.timestamp or observed_at + terms.FUNDING_MAX_AGE < block.timestamp:
        return mode, funding, 0
    carry: int256 = self._net_carry(held, funding)
    p: ICarryVault.Parameters = terms.PARAMETERS
    may_switch: bool = block.timestamp >= self.entered_at + p.min_stay
    if mode == ICarryVault.Mode.LEND:
        if may_switch and funding > convert(p.enter_rate, int256) and carry > 0:
            mode = ICarryVault.Mode.CARRY
    elif may_switch and funding < convert(p.leave_rate, int256):
        mode = ICarryVault.Mode.LEND
    elif carry < -convert(p.worst_carry, int256):
        mode = ICarryVault.Mode.LEND
    return mode, funding, carry


@internal
@view
def _net_carry(held: book.Book, funding: int256) -> int256:
    """
    @notice h * F - debt / value * borrow rate: with the short it has, or as it would begin.
    @dev The borrow rate is worked out anew, because the pool's state shows none in a block in which it has accrued.
    """
    p: ICarryVault.Parameters = terms.PARAMETERS
    leverage: uint256 = targets._margin_share(p)
    value: uint256 = targets._value_down(held.collateral, held.price)
    if held.short > 0 and value > 0:
        leverage = wad_math._mul_div_up(held.debt, 10**18, value)
    leg: IPool.LegParameters = (staticcall terms.REVERSE_POOL.config()).leg
    state: IPool.State = staticcall terms.REVERSE_POOL.accrued_state()
    rate: uint256 = min(
        leg.rate_cap,
        rate_model._base_rate(leg, state.debt_assets, state.cash + state.debt_assets)
        + rate_model._premium(leg.pass_through, funding),
    )
    return convert(p.hedge_ratio, int256) * funding // WAD - convert(
        wad_math._share_of_up(rate, leverage), int256
    )


@internal
def _switch(mode: ICarryVault.Mode, funding: int256, carry: int256):
    self.current = mode
    self.entered_at = block.timestamp
    log ICarryStrategy.ModeChanged(mode=mode, funding_wad=funding, net_carry=carry)
