# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Closing of positions by others
@license AGPL-3.0-only
@author Perpool
@notice Liquidation, auto-deleveraging, and the settlement of funding. By anyone, at mark.
"""

from contracts.modules import perp_errors as errors
from contracts.modules import wad_math
from contracts.modules.perp import books
from contracts.modules.perp import funding
from contracts.modules.perp import positions
from contracts.modules.perp import terms
from interfaces import IPerpMarket
from interfaces import IPerpVenue

uses: books
uses: funding
uses: terms


@external
def settle_funding(account: address) -> int256:
    """
    @notice Accrues, and moves what has accrued to an account into or out of its margin. Needs no price: without one the
            last mark seen is accrued with.
    @return What it got; negative is what it paid.
    """
    opened: books.Books = empty(books.Books)
    paid: int256 = 0
    opened, paid = self._settled(account, terms._mark_or(books.state_.mark_e36))
    books._store(opened, account)
    log IPerpVenue.FundingSettled(
        account=account,
        funding=paid,
        size=opened.position.size,
        entry_notional=opened.position.entry_notional,
        margin=opened.position.margin,
    )
    return paid


@external
def liquidate(account: address, receiver: address) -> uint256:
    """
    @notice Closes a position whose equity is below the maintenance margin, whole. The penalty comes out of its equity;
            where that is negative, the insurance fund pays the liquidity pool what it can of what is missing.
    @return The caller's part of the penalty, the receiver's credit.
    """
    terms._check_receiver(receiver)
    mark: uint256 = terms._mark()
    opened: books.Books = empty(books.Books)
    paid: int256 = 0
    opened, paid = self._settled(account, mark)
    size: int256 = opened.position.size
    assert size != 0, errors.NO_POSITION
    equity: int256 = positions._equity(opened.position, mark)
    assert equity < self._maintenance(opened.position, mark), errors.HEALTHY

    whole: uint256 = convert(abs(size), uint256)
    bad_debt: uint256 = convert(max(-equity, 0), uint256)
    penalty: uint256 = min(
        wad_math._share_of_down(books._value_down(whole, mark), terms.PARAMETERS.penalty),
        convert(max(equity, 0), uint256),
    )
    reward: uint256 = wad_math._share_of_down(penalty, terms.PARAMETERS.penalty_to_caller)
    insured: uint256 = min(bad_debt, opened.state.insurance)
    realised: int256 = 0
    opened, realised = positions._decrease(opened, whole, mark)
    left: uint256 = opened.position.margin - penalty
    opened = positions._take_margin(opened, opened.position.margin)
    opened.state.insurance = opened.state.insurance + (penalty - reward) - insured
    opened.state.liquidity += insured
    opened.state = books._credit(opened.state, receiver, reward)
    opened.state = books._credit(opened.state, account, left)
    books._store(opened, account)
    log IPerpMarket.Liquidated(
        caller=msg.sender,
        account=account,
        receiver=receiver,
        size_delta=-size,
        price_e36=mark,
        realised=realised,
        funding=paid,
        penalty=penalty,
        reward=reward,
        left=left,
        bad_debt=bad_debt,
        insured=insured,
    )
    return reward


@external
def auto_deleverage(account: address, size: uint256) -> uint256:
    """
    @notice Closes a part of a position on the side that receives funding, as long as less than a horizon of it is free.
            Closing it gives back what it could have gained and asks less for the horizon, and no more of it is closed
            than makes that whole. A position that may be liquidated has to be.
    @param size The most to close.
    @return Tokens closed.
    """
    mark: uint256 = terms._mark()
    opened: books.Books = empty(books.Books)
    paid: int256 = 0
    opened, paid = self._settled(account, mark)
    held: int256 = opened.position.size
    assert held != 0, errors.NO_POSITION
    assert (held < 0) == (opened.state.rate_wad > 0), errors.WRONG_SIDE
    missing: int256 = convert(funding._horizon(opened.state, mark), int256) - books._free(
        opened.state
    )
    assert missing > 0, errors.HORIZON_INTACT
    equity: int256 = positions._equity(opened.position, mark)
    assert equity >= self._maintenance(opened.position, mark), errors.UNHEALTHY

    closed: uint256 = min(
        size, self._closed_for(opened.state, opened.position, mark, convert(missing, uint256))
    )
    assert closed > 0, errors.ZERO_AMOUNT
    realised: int256 = 0
    opened, realised = positions._decrease(opened, closed, mark)
    left: uint256 = 0
    if opened.position.size == 0:
        left = opened.position.margin
        opened = positions._take_margin(opened, left)
        opened.state = books._credit(opened.state, account, left)
    books._store(opened, account)
    log IPerpMarket.AutoDeleveraged(
        caller=msg.sender,
        account=account,
        size_delta=convert(closed, int256) if held < 0 else -convert(closed, int256),
        price_e36=mark,
        realised=realised,
        funding=paid,
        left=left,
        size=opened.position.size,
        entry_notional=opened.position.entry_notional,
        margin=opened.position.margin,
    )
    return closed


@internal
@view
def _settled(account: address, mark: uint256) -> (books.Books, int256):
    """
    @return The books with an account's funding settled as of now, and what it got.
    """
    opened: books.Books = books._open(account)
    opened.state = funding._accrue(opened.state, mark)
    return funding._settle(opened)


@internal
@view
def _closed_for(
    state: IPerpMarket.State, position: books.Position, mark: uint256, missing: uint256
) -> uint256:
    """
    @notice Tokens of a position that have to be closed until `missing` more is free or not asked for: the whole of it frees
            its largest gain less what it has gained, and what it asks for the horizon. Rounded up, at most all.
    """
    whole: uint256 = convert(abs(position.size), uint256)
    # no profit is larger than the largest gain
    released: uint256 = convert(
        convert(positions._largest_gain(position), int256) - positions._pnl(position, mark),
        uint256,
    )
    relief: uint256 = released + funding._horizon_of(state, whole, mark)
    if relief <= missing:
        return whole
    return wad_math._mul_div_up(whole, missing, relief)


@internal
@view
def _maintenance(position: books.Position, mark: uint256) -> int256:
    return positions._margin_needed(position, mark, terms.PARAMETERS.maintenance_margin)
