# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Perp venue that does as it is told
@license AGPL-3.0-only
@author Perpool
@notice A stand-in for a venue: `IPerpVenue` at a mark that anyone sets, with as much profit as it takes. It can settle at
        once or later, stall, fail, refuse, withhold credit, lie about equity, and call out.
@dev Profit is paid from whatever USDT lies here.
"""
from contracts.modules import tokens
from interfaces import IPerpVenue

implements: IPerpVenue

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36


struct Request:
    account: address
    size_delta: int256
    margin_delta: int256
    limit: uint256
    expires_at: uint256
    status: IPerpVenue.Status


token: public(immutable(address))
usdt: public(immutable(address))

mark_price: public(uint256)
funding_rate: public(int256)
initial_margin: public(uint256)
maintenance_margin: public(uint256)
fee: public(uint256)

positions: HashMap[address, IPerpVenue.Position]
requests: HashMap[uint256, Request]
last_cost: public(HashMap[address, int256])
last_id: public(uint256)

# what it has been told
is_late: bool
is_stalled: bool
is_refusing: bool
refuses_sizes: bool
is_failing: bool
withholds: bool
shorter: uint256
longer: uint256
# added to fills, of the price, against the account
spread: uint256
target: address
call_data: Bytes[1024]


@deploy
def __init__(token_: address, usdt_: address, mark: uint256):
    token = token_
    usdt = usdt_
    self.mark_price = mark
    self.initial_margin = WAD // 10
    self.maintenance_margin = WAD // 20
    self.fee = WAD // 2000
    self.shorter = 2**128
    self.longer = 2**128


# --- what anyone may tell it


@external
def set_mark(mark: uint256):
    self.mark_price = mark


@external
def set_fee(fee: uint256, spread: uint256):
    self.fee = fee
    self.spread = spread


@external
def set_margins(initial: uint256, maintenance: uint256):
    self.initial_margin = initial
    self.maintenance_margin = maintenance


@external
def set_room(shorter: uint256, longer: uint256):
    self.shorter = shorter
    self.longer = longer


@external
def set_late(late: bool):
    """
    @notice Requests wait for `settle`, or are settled at once.
    """
    self.is_late = late


@external
def set_stalled(stalled: bool):
    """
    @notice `settle` leaves everything pending, even what has expired.
    """
    self.is_stalled = stalled


@external
def set_refusing(refusing: bool, only_sizes: bool):
    self.is_refusing = refusing
    self.refuses_sizes = only_sizes


@external
def set_failing(failing: bool):
    """
    @notice What is settled later fails.
    """
    self.is_failing = failing


@external
def set_withholding(withholding: bool):
    """
    @notice `withdraw` reverts.
    """
    self.withholds = withholding


@external
def pay_funding(account: address, usdt_amount: int256):
    """
    @notice Accrues to the position.
    """
    self.positions[account].funding += usdt_amount


@external
def seize(account: address):
    """
    @notice The position is gone, margin and all, as after a liquidation.
    """
    self.positions[account].size = 0
    self.positions[account].entry_notional = 0
    self.positions[account].margin = 0
    self.positions[account].funding = 0


@external
def inflate(account: address, usdt_amount: uint256):
    """
    @notice A lie: margin that nobody paid.
    """
    self.positions[account].margin += usdt_amount


@external
def prepare_call(target: address, call_data: Bytes[1024]):
    """
    @notice To be made within the next request; its failure changes nothing.
    """
    self.target = target
    self.call_data = call_data


# --- IPerpVenue


@external
def request(
    size_delta: int256, margin_delta: int256, limit_price_e36: uint256, expires_at: uint256
) -> uint256:
    """
    @notice See IPerpVenue.
    """
    assert not self.is_refusing, "refused"
    assert size_delta == 0 or not self.refuses_sizes, "size refused"
    assert self.positions[msg.sender].pending == 0, "request pending"
    if self.target != empty(address):
        self._call_out()
    if margin_delta > 0:
        tokens._pull_exactly(usdt, convert(margin_delta, uint256))
    self.last_id += 1
    id: uint256 = self.last_id
    self.requests[id] = Request(
        account=msg.sender,
        size_delta=size_delta,
        margin_delta=margin_delta,
        limit=limit_price_e36,
        expires_at=expires_at,
        status=IPerpVenue.Status.PENDING,
    )
    self.positions[msg.sender].pending = id
    self.positions[msg.sender].escrow = convert(max(margin_delta, 0), uint256)
    if not self.is_late:
        assert self._fill(id), "not filled"
    return id


@external
def withdraw(receiver: address) -> uint256:
    """
    @notice See IPerpVenue.
    """
    assert not self.withholds, "withheld"
    credit: uint256 = self.positions[msg.sender].credit
    self.positions[msg.sender].credit = 0
    tokens._push(usdt, receiver, credit)
    return credit


@external
def settle(id: uint256) -> IPerpVenue.Status:
    """
    @notice See IPerpVenue.
    """
    request: Request = self.requests[id]
    if request.status == IPerpVenue.Status.PENDING and not self.is_stalled:
        if self.is_failing or block.timestamp > request.expires_at or not self._fill(id):
            self._fail(id)
    return self.requests[id].status


@external
def settle_funding(account: address) -> int256:
    """
    @notice See IPerpVenue.
    """
    funding: int256 = self.positions[account].funding
    self.positions[account].funding = 0
    self.positions[account].margin = convert(
        convert(self.positions[account].margin, int256) + funding, uint256
    )
    return funding


@external
@view
def position(account: address) -> IPerpVenue.Position:
    return self.positions[account]


@external
@view
def equity(account: address) -> int256:
    return self._equity(self.positions[account])


@external
@view
def liquidation_price(account: address) -> uint256:
    """
    @notice Of a short: money = size * price * (1 + maintenance).
    """
    position: IPerpVenue.Position = self.positions[account]
    if position.size == 0:
        return 0
    money: int256 = self._money(position)
    size: uint256 = convert(-position.size, uint256)
    return (
        convert(max(money, 0), uint256)
        * PRICE_SCALE // size
        * WAD // (WAD + self.maintenance_margin)
    )


@external
@view
def status(id: uint256) -> IPerpVenue.Status:
    return self.requests[id].status


@external
@view
def room() -> (uint256, uint256):
    return self.shorter, self.longer


@internal
def _call_out():
    target: address = self.target
    self.target = empty(address)
    success: bool = raw_call(target, self.call_data, revert_on_failure=False)
    if success:
        log Reached()


event Reached:
    pass


@internal
@pure
def _money(position: IPerpVenue.Position) -> int256:
    return (
        convert(position.margin, int256)
        + position.funding
        + convert(position.entry_notional, int256)
    )


@internal
@view
def _equity(position: IPerpVenue.Position) -> int256:
    short: uint256 = convert(-position.size, uint256)
    return self._money(position) - convert(short * self.mark_price // PRICE_SCALE, int256)


@internal
def _fail(id: uint256):
    account: address = self.requests[id].account
    self.requests[id].status = IPerpVenue.Status.FAILED
    position: IPerpVenue.Position = self.positions[account]
    position.credit += position.escrow
    position.escrow = 0
    position.pending = 0
    self.positions[account] = position


@internal
def _fill(id: uint256) -> bool:
    """
    @return False where it cannot be filled, and nothing has changed.
    """
    request: Request = self.requests[id]
    position: IPerpVenue.Position = self.positions[request.account]
    price: uint256 = self.mark_price
    if request.size_delta < 0:
        price = price * (WAD - self.spread) // WAD
        if price < request.limit:
            return False
    elif request.size_delta > 0:
        price = price * (WAD + self.spread) // WAD
        if price > request.limit:
            return False
    short: uint256 = convert(-position.size, uint256)
    traded: uint256 = convert(abs(request.size_delta), uint256)
    notional: uint256 = traded * price // PRICE_SCALE
    # funding is settled, and the fee is taken, from the margin; `margin` may be below zero meanwhile
    margin: int256 = (
        convert(position.margin + position.escrow, int256)
        + position.funding
        - convert(notional * self.fee // WAD, int256)
    )
    position.funding = 0
    if request.size_delta < 0:
        position.entry_notional += notional
        short += traded
    elif traded > 0:
        if traded > short:
            return False
        entry: uint256 = position.entry_notional * traded // short
        position.entry_notional -= entry
        margin += convert(entry, int256) - convert(notional, int256)
        short -= traded
    out: uint256 = convert(max(-request.margin_delta, 0), uint256)
    if short == 0:
        out = convert(max(margin, 0), uint256)
        margin = 0
        position.entry_notional = 0
    else:
        margin -= convert(out, int256)
        if margin < 0:
            # unrealised profit goes with it
            needed: uint256 = convert(-margin, uint256)
            if needed > position.entry_notional:
                return False
            position.entry_notional -= needed
            margin = 0
    position.margin = convert(margin, uint256)
    position.size = -convert(short, int256)
    if traded > 0 and request.size_delta < 0:
        worth: uint256 = short * self.mark_price // PRICE_SCALE
        if self._equity(position) < convert(worth * self.initial_margin // WAD, int256):
            return False
    position.credit += out
    position.escrow = 0
    position.pending = 0
    self.positions[request.account] = position
    self.last_cost[request.account] = convert(notional * self.fee // WAD, int256)
    if request.size_delta < 0:
        self.last_cost[request.account] -= convert(notional, int256)
    else:
        self.last_cost[request.account] += convert(notional, int256)
    self.requests[id].status = IPerpVenue.Status.CONFIRMED
    return True
