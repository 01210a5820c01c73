# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Requests to a perp venue
@license AGPL-3.0-only
@author Perpool
@notice Without a delay a request is confirmed in the call that makes it, or reverts with the reason why not. With one,
        anybody settles it in a later block at a price that was observed after it; where it cannot be filled then, it
        fails with the same reason. While there is no such price it waits, for a day at most.
@dev Until somebody settles it, whoever asked may choose the moment: keepers should settle at the first price. A request to
     reduce never opens: where its position has been closed meanwhile, it fails.
"""

from contracts.modules import perp_errors as errors
from contracts.modules import tokens
from contracts.modules.perp import books
from contracts.modules.perp import funding
from contracts.modules.perp import terms
from contracts.modules.perp import trading
from interfaces import IPerpMarket
from interfaces import IPerpVenue

uses: books
uses: funding
uses: terms
uses: trading

LONGEST_WAIT: constant(uint256) = 86400


struct Request:
    account: address
    order: trading.Order
    expires_at: uint256
    block_number: uint256  # it was made in
    made_at: uint256
    status: IPerpVenue.Status


last_request: public(uint256)
# USDT that the last confirmed request took for its change of size, fee included, a short's rounded up; 0 where it changed none; by
# account
last_cost: public(HashMap[address, int256])
_requests: HashMap[uint256, Request]
_pending: HashMap[address, uint256]


@external
def request(
    size_delta: int256, margin_delta: int256, limit_price_e36: uint256, expires_at: uint256
) -> uint256:
    """
    @notice Asks for a change of the caller's position.
    @param size_delta Tokens; positive buys.
    @param margin_delta USDT; positive is pulled now, negative becomes credit when it is confirmed.
    @param limit_price_e36 The least for selling, the most for buying.
    @return Its id.
    """
    assert size_delta != 0 or margin_delta != 0, errors.ZERO_AMOUNT
    assert (
        size_delta >= -books.LARGEST_SIZE and size_delta <= books.LARGEST_SIZE
    ), errors.TOO_LARGE
    assert block.timestamp <= expires_at, errors.EXPIRED
    assert self._pending[msg.sender] == 0, errors.REQUEST_PENDING
    change: int256 = margin_delta
    if margin_delta > 0:
        received: uint256 = tokens._pull(terms.USDT, convert(margin_delta, uint256))[0]
        assert received <= books.LARGEST_AMOUNT, errors.TOO_LARGE
        change = convert(received, int256)
    id: uint256 = self.last_request + 1
    self.last_request = id
    asked: Request = Request(
        account=msg.sender,
        order=trading.Order(
            size_delta=size_delta,
            margin_delta=change,
            limit_price_e36=limit_price_e36,
            reduces=trading._reduces(books.positions[msg.sender].size, size_delta),
        ),
        expires_at=expires_at,
        block_number=block.number,
        made_at=block.timestamp,
        status=IPerpVenue.Status.PENDING,
    )
    if terms.PARAMETERS.delay_blocks > 0:
        asked.expires_at = min(expires_at, block.timestamp + LONGEST_WAIT)
    log IPerpVenue.Requested(
        account=msg.sender,
        id=id,
        size_delta=size_delta,
        margin_delta=change,
        limit_price_e36=limit_price_e36,
        expires_at=asked.expires_at,
    )
    if terms.PARAMETERS.delay_blocks == 0:
        reason: String[32] = self._execute(id, asked, self._prices(asked.order))
        if reason != "":
            raise reason
        return id

    self._requests[id] = asked
    self._pending[msg.sender] = id
    if change > 0:
        state: IPerpMarket.State = books.state_
        state.escrows += convert(change, uint256)
        books._store_state(state)
    return id


@external
def settle(id: uint256) -> IPerpVenue.Status:
    """
    @notice Confirms or fails a request where that can be told by now.
    @return What has become of it; none for an id that was never given.
    """
    asked: Request = self._requests[id]
    if asked.status != IPerpVenue.Status.PENDING:
        return self._status(id)
    if block.timestamp > asked.expires_at:
        self._fail(id, asked, errors.EXPIRED)
        return IPerpVenue.Status.FAILED
    if block.number < asked.block_number + terms.PARAMETERS.delay_blocks:
        return IPerpVenue.Status.PENDING
    found: bool = False
    prices: trading.Prices = empty(trading.Prices)
    found, prices = self._later_prices(asked)
    if not found:
        return IPerpVenue.Status.PENDING
    reason: String[32] = self._execute(id, asked, prices)
    if reason != "":
        self._fail(id, asked, reason)
        return IPerpVenue.Status.FAILED
    return IPerpVenue.Status.CONFIRMED


@external
def withdraw(receiver: address) -> uint256:
    """
    @notice Pays the caller's credit out, whatever else holds.
    @return USDT.
    """
    terms._check_receiver(receiver)
    usdt_amount: uint256 = books.credit_of[msg.sender]
    if usdt_amount == 0:
        return 0
    books.credit_of[msg.sender] = 0
    state: IPerpMarket.State = books.state_
    state.credits -= usdt_amount
    books._store_state(state)
    log IPerpVenue.Withdrawn(account=msg.sender, receiver=receiver, usdt_amount=usdt_amount)
    tokens._push(terms.USDT, receiver, usdt_amount)
    return usdt_amount


@external
@view
def status(id: uint256) -> IPerpVenue.Status:
    """
    @notice What a request is; none for an id that was never given.
    """
    return self._status(id)


@internal
@view
def _status(id: uint256) -> IPerpVenue.Status:
    if terms.PARAMETERS.delay_blocks == 0 and id != 0 and id <= self.last_request:
        return IPerpVenue.Status.CONFIRMED
    return self._requests[id].status


@internal
@view
def _escrow(account: address) -> (uint256, uint256):
    """
    @return The id of the pending request and its escrow.
    """
    id: uint256 = self._pending[account]
    return id, convert(max(self._requests[id].order.margin_delta, 0), uint256) if id != 0 else 0


@internal
def _execute(id: uint256, asked: Request, prices: trading.Prices) -> String[32]:
    """
    @return The reason why it cannot be filled; nothing is changed then.
    """
    opened: books.Books = books._open(asked.account)
    mark: uint256 = prices.mark
    if mark == 0:
        mark = terms._mark_or(opened.state.mark_e36)
    opened.state = funding._accrue(opened.state, mark)
    funding_paid: int256 = 0
    opened, funding_paid = funding._settle(opened)
    fill: trading.Fill = empty(trading.Fill)
    opened, fill = trading._fill(opened, asked.order, prices)
    if fill.reason != "":
        return fill.reason

    put_in: uint256 = convert(max(asked.order.margin_delta, 0), uint256)
    if terms.PARAMETERS.delay_blocks > 0:
        opened.state.escrows -= put_in
        self._requests[id].status = IPerpVenue.Status.CONFIRMED
        self._pending[asked.account] = 0
    opened.state = books._credit(opened.state, asked.account, fill.credited)
    books._store(opened, asked.account)
    self.last_cost[asked.account] = fill.cost
    log IPerpVenue.Confirmed(
        account=asked.account,
        id=id,
        size_delta=asked.order.size_delta,
        price_e36=fill.price_e36,
        margin_paid=convert(put_in, int256) - convert(fill.credited, int256),
        realised=fill.realised,
        funding=funding_paid,
        fee=fill.fee,
        size=opened.position.size,
        entry_notional=opened.position.entry_notional,
        margin=opened.position.margin,
    )
    return ""


@internal
def _fail(id: uint256, asked: Request, reason: String[32]):
    escrow: uint256 = convert(max(asked.order.margin_delta, 0), uint256)
    self._requests[id].status = IPerpVenue.Status.FAILED
    self._pending[asked.account] = 0
    if escrow > 0:
        state: IPerpMarket.State = books.state_
        state.escrows -= escrow
        books._store_state(books._credit(state, asked.account, escrow))
    log IPerpVenue.Failed(account=asked.account, id=id, reason=reason, escrow=escrow)


@internal
@pure
def _adds_margin_only(order: trading.Order) -> bool:
    return order.size_delta == 0 and order.margin_delta > 0


@internal
@view
def _prices(order: trading.Order) -> trading.Prices:
    """
    @notice What an order needs to be filled now. Reverts with the oracle's reason where there is no such price.
    """
    prices: trading.Prices = empty(trading.Prices)
    if self._adds_margin_only(order):
        return prices
    prices.mark = terms._mark()
    if order.size_delta != 0 and not order.reduces:
        prices.low, prices.high = terms._bounds()
    return prices


@internal
@view
def _later_prices(asked: Request) -> (bool, trading.Prices):
    """
    @return Whether there are the prices that a request needs, observed after it, and they.
    """
    prices: trading.Prices = empty(trading.Prices)
    if self._adds_margin_only(asked.order):
        return True, prices
    prices.mark = terms._mark_or(0)
    if prices.mark == 0 or terms._observed_at() <= asked.made_at:
        return False, prices
    if asked.order.size_delta != 0 and not asked.order.reduces:
        prices.low, prices.high = terms._bounds_or_none()
        return prices.low != 0, prices
    return True, prices
