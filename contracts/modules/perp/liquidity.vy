# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Liquidity of a perp market
@license AGPL-3.0-only
@author Perpool
@notice Anybody may give it, for shares that cannot be transferred, and take it back as far as it is free beyond a horizon
        of funding.
@dev ROUNDING. Shares and USDT paid out down. What positions would gain at mark is taken off for who leaves, what they
     would lose is added for who enters, and neither the other way round: nobody enters before a loss of theirs or
     leaves before a profit at the others' cost. The longs' profit is capped as a whole there and position by position
     when it is paid.
"""

from contracts.modules import perp_errors as errors
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import funding
from contracts.modules.perp import terms
from interfaces import IPerpMarket

uses: books
uses: funding
uses: terms

PRICE_SCALE: constant(uint256) = 10**36

shares_of: public(HashMap[address, uint256])

# shares that an empty pool gives for a unit of USDT; they exist from the beginning and are nobody's
_VIRTUAL_SHARES: immutable(uint256)


@deploy
def __init__():
    # the price oracle takes no more than 24 decimals
    _VIRTUAL_SHARES = 10**min(6, 24 - terms._usdt_decimals())


@external
def add_liquidity(usdt_amount: uint256, receiver: address) -> uint256:
    """
    @notice Gives what arrives of `usdt_amount` to the liquidity pool. Needs a price while there are positions.
    @return Shares.
    """
    terms._check_receiver(receiver)
    received: uint256 = tokens._pull(terms.USDT, usdt_amount)[0]
    state: IPerpMarket.State = self._accrued()
    shares: uint256 = wad_math._mul_div_down(
        received, state.shares + _VIRTUAL_SHARES, self._value_to_enter(state) + 1
    )
    assert shares > 0, errors.ZERO_AMOUNT
    state.liquidity += received
    state.shares += shares
    assert state.liquidity <= books.LARGEST_AMOUNT, errors.TOO_LARGE
    assert state.shares <= books.LARGEST_AMOUNT * _VIRTUAL_SHARES, errors.TOO_LARGE
    self.shares_of[receiver] += shares
    books._store_state(state)
    log IPerpMarket.AddLiquidity(
        caller=msg.sender, receiver=receiver, usdt_amount=received, shares=shares
    )
    return shares


@external
def remove_liquidity(shares: uint256, receiver: address) -> uint256:
    """
    @notice Takes the caller's part out. Needs a price while there are positions.
    @return USDT, which is the receiver's credit.
    """
    terms._check_receiver(receiver)
    held: uint256 = self.shares_of[msg.sender]
    assert shares <= held, errors.INSUFFICIENT_SHARES
    state: IPerpMarket.State = self._accrued()
    usdt_amount: uint256 = self._worth(state, shares)
    assert usdt_amount > 0, errors.ZERO_AMOUNT
    needed: int256 = convert(usdt_amount + funding._horizon(state, state.mark_e36), int256)
    assert needed <= books._free(state), errors.NO_ROOM
    state.liquidity -= usdt_amount
    state.shares -= shares
    self.shares_of[msg.sender] = held - shares
    state = books._credit(state, receiver, usdt_amount)
    books._store_state(state)
    log IPerpMarket.RemoveLiquidity(
        caller=msg.sender, receiver=receiver, usdt_amount=usdt_amount, shares=shares
    )
    return usdt_amount


@external
@view
def liquidity_value(shares: uint256) -> uint256:
    """
    @notice USDT that the shares are worth to whoever leaves now, whether it is free or not.
    """
    return self._worth(self._accrued(), shares)


@internal
@view
def _accrued() -> IPerpMarket.State:
    """
    @notice The state as of now, at a fresh mark where positions depend on it.
    """
    state: IPerpMarket.State = books.state_
    mark: uint256 = state.mark_e36
    if state.long_size + state.short_size > 0:
        mark = terms._mark()
    return funding._accrue(state, mark)


@internal
@view
def _worth(state: IPerpMarket.State, shares: uint256) -> uint256:
    gains: int256 = max(self._unrealised(state), 0)
    value: uint256 = convert(max(convert(state.liquidity, int256) - gains, 0), uint256)
    return wad_math._mul_div_down(shares, value + 1, state.shares + _VIRTUAL_SHARES)


@internal
@view
def _value_to_enter(state: IPerpMarket.State) -> uint256:
    return state.liquidity + convert(max(-self._unrealised(state), 0), uint256)


@internal
@view
def _unrealised(state: IPerpMarket.State) -> int256:
    """
    @notice What all positions together have gained and not been paid, funding included.
    """
    longs: int256 = convert(books._value_up(state.long_size, state.mark_e36), int256) - convert(
        state.long_entries, int256
    )
    shorts: int256 = convert(state.short_entries, int256) - convert(
        books._value_down(state.short_size, state.mark_e36), int256
    )
    funding_due: int256 = convert(books._receipts(state), int256) - convert(
        state.dues_e36 // PRICE_SCALE, int256
    )
    return min(longs, convert(state.long_gains, int256)) + shorts + funding_due
