# pragma version 0.4.3
"""
@title Books of a perp market
@license AGPL-3.0-only
@author Perpool
@notice What is the liquidity pool's, the insurance fund's, in margins, in escrow and in credit, each unit in one of
        them; the positions; and what of the liquidity is locked for them.
"""

from contracts.modules import wad_math
from interfaces import IPerpMarket

PRICE_SCALE: constant(uint256) = 10**36
# of liquidity in USDT, so that products of an amount and a price fit a word
LARGEST_AMOUNT: constant(uint256) = 2**112
LARGEST_SIZE: constant(int256) = 2**126


struct Position:
    size: int256
    entry_notional: uint256
    margin: uint256
    gain_left: uint256  # the most that a long can still gain; a short can gain its entry notional, and has 0
    positive_e36: uint256  # the indices up to which its funding is settled
    negative_e36: uint256


# One account's position beside the totals, while a call works on both.
struct Books:
    state: IPerpMarket.State
    position: Position


state_: IPerpMarket.State
positions: HashMap[address, Position]
credit_of: HashMap[address, uint256]


@internal
@view
def _open(account: address) -> Books:
    return Books(state=self.state_, position=self.positions[account])


@internal
def _store(books: Books, account: address):
    self.positions[account] = books.position
    self._store_state(books.state)


@internal
def _store_state(state: IPerpMarket.State):
    # what is locked is there: no path ends otherwise
    assert self._free(state) >= 0
    self.state_ = state
    log IPerpMarket.StateChanged(state=state)


@internal
def _credit(state: IPerpMarket.State, account: address, usdt_amount: uint256) -> IPerpMarket.State:
    """
    @notice Gives an account what has left another part of the books. Nobody is paid but by his own `withdraw`, so that
            no receiver can stop another's call.
    """
    changed: IPerpMarket.State = state
    changed.credits += usdt_amount
    self.credit_of[account] += usdt_amount
    return changed


@internal
@pure
def _free(state: IPerpMarket.State) -> int256:
    """
    @notice Liquidity that no position can claim. Never negative in what is stored.
    """
    locked: uint256 = state.short_entries + state.long_gains + self._receipts(state)
    return convert(state.liquidity, int256) - convert(locked, int256)


@internal
@pure
def _receipts(state: IPerpMarket.State) -> uint256:
    """
    @return Funding to be received and not settled, without what the same accounts have to pay. Rounded up.
    """
    return wad_math._mul_div_up(state.receipts_e36, 1, PRICE_SCALE)


@internal
@pure
def _value_down(size: uint256, price: uint256) -> uint256:
    """
    @return USDT.
    """
    return wad_math._mul_div_down(size, price, PRICE_SCALE)


@internal
@pure
def _value_up(size: uint256, price: uint256) -> uint256:
    return wad_math._mul_div_up(size, price, PRICE_SCALE)
