# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Streams of rewards to lenders, borrowers and holders
@license AGPL-3.0-only
@author Perpool
@notice The hook of pools and vaults. A programme pays one token to one side of one source, linearly over time, by weight: what
        its accounts had in shares when they were last heard of. Two words are read and written where shares change, one of
        the programme and one of the account, and nobody is asked; claiming asks nobody either.

@dev ASSUMPTIONS
     - Sources are the owner's choice. They tell every change after it is made, in the order in which they make them, and
       nothing of what they hold of their own shares, a pool's reserve, which earns nothing.
     - Who has not been heard of has no weight: accounts that were there before the hook was attached are made known by
       `sync`, which anyone may call. All weights are counted here alone, so whatever a source does not tell, or tells
       wrong, a programme's accounts never earn more than was streamed to it, and one programme's tokens are never another's.
     - Reward tokens may be hostile to their own programme. One that takes a fee counts as what arrives; one whose
       balances shrink pays who comes first. The hook never calls them.

     LIVENESS
     `on_change` holds no lock: a token that is being claimed may call its way into a pool, whose change must be heard. It
     takes less than the gas that a pool gives for any account in three programmes of a side. Claims cannot be paused; nobody but
     the account decides over what it has earned.

     ROLES
     Owner of the factory: adds programmes. Project: funds its programme and takes back what is not streamed. Account, or
     its operator: claims.

     ROUNDING
     For the programme; see `reward_words`. Shares below a unit, about a millionth of a whole one, have no weight.
"""
from interfaces import IHook
from interfaces import IOperators
from interfaces import IPoolFactory
from interfaces import IRewardStream
from contracts.modules import reward_errors as errors
from contracts.modules import reward_words as words
from contracts.modules import tokens
from contracts.modules import wad_math

implements: IHook
implements: IRewardStream


interface Source:
    def balanceOf(account: address) -> uint256: view
    def debt_shares_of(account: address) -> uint256: view
    def decimals() -> uint8: view
    def hook() -> address: view


# For each side of a source. A new account in all of them takes less than the 100,000 gas that pools give to a hook.
MAX_PROGRAMMES: constant(uint256) = 3
MIN_DURATION: constant(uint256) = 3_600
MAX_DURATION: constant(uint256) = 4 * 365 * 86_400
# Of a whole share six decimals count.
WEIGHT_DECIMALS: constant(uint256) = 6
MAX_DECIMALS: constant(uint256) = 36

FACTORY: immutable(address)
OPERATORS: immutable(address)


# What operations need not read.
struct Terms:
    token: address
    project: address
    whole: uint256  # token units in a whole token
    held: uint256  # token units: funded less returned less claimed
    spare: uint256  # 1e-18 of a token: not streamed, because it lasts for less than a second


# by id, which is the source's address << 4 | side << 2 | its number there
programmes: HashMap[uint256, uint256]
accounts: HashMap[uint256, HashMap[address, uint256]]
terms: HashMap[uint256, Terms]


@deploy
def __init__(factory: address, operators: address):
    """
    @param factory Whose owner adds programmes.
    """
    FACTORY = factory
    OPERATORS = operators


# --- the source


@external
@reentrant
def on_change(account: address, side: IHook.Side, shares: uint256):
    """
    @notice Of a source, see IHook. Of a caller without programmes nothing is noted.
    """
    # `_first_id`, whose call every operation of a source would pay
    id: uint256 = (convert(msg.sender, uint256) << 4) | (convert(side, uint256) << 2)
    for _: uint256 in range(MAX_PROGRAMMES):
        if not self._hear(id, account, shares):
            return
        # an address << 4 and four bits
        id = unsafe_add(id, 1)


# --- accounts


@external
def sync(source: address, accounts: DynArray[address, 64]):
    """
    @notice By anyone: takes note of what the accounts have now. While the source does not tell here no weight grows, since
            nobody would hear of it shrinking.
    """
    attached: bool = staticcall Source(source).hook() == self
    for side: IHook.Side in [IHook.Side.HOLDERS, IHook.Side.BORROWERS]:
        ids: DynArray[uint256, 3] = self._ids(source, side)
        for id: uint256 in ids:
            for account: address in accounts:
                # a source does not tell of itself
                if account != source:
                    self._ask(id, account, source, side, attached)


@external
def claim(ids: DynArray[uint256, 16], account: address, receiver: address) -> DynArray[uint256, 16]:
    """
    @notice By the account or its operator.
    @return Token units of each programme, rounded down; what is below one stays.
    """
    if msg.sender != account:
        assert staticcall IOperators(OPERATORS).is_operator(
            account, msg.sender
        ), errors.NOT_AUTHORISED
    assert receiver not in [empty(address), self], errors.BAD_RECEIVER
    amounts: DynArray[uint256, 16] = []
    for id: uint256 in ids:
        amounts.append(self._claim(id, account, receiver))
    return amounts


# --- the project


@external
def stream(id: uint256, amount: uint256, duration: uint256) -> uint256:
    """
    @param amount Token units to take from the caller; what arrives counts. May be 0, to spread what is left anew.
    @param duration Seconds, from an hour to four years.
    @return When it ends: as much later than asked as the rate is rounded down, at most 2**-15 of the duration.
    """
    self._check_project(id)
    assert duration >= MIN_DURATION and duration <= MAX_DURATION, errors.BAD_DURATION
    arrived: uint256 = 0
    if amount > 0:
        arrived = tokens._pull(self.terms[id].token, amount)[0]

    # a token may have called its way into the source meanwhile
    word: uint256 = words._advance(self.programmes[id], block.timestamp)
    whole: uint256 = self.terms[id].whole
    held: uint256 = self.terms[id].held + arrived
    # so no account can earn more than its word holds
    assert self._to_wad(held, whole) <= words.MAX_EARNED, errors.TOO_LARGE
    total: uint256 = self._to_wad(arrived, whole) + self._unstreamed(id, word)
    word = words._with_stream(word, total, duration)
    rate: uint256 = words._rate(word)
    ends_at: uint256 = block.timestamp + words._left(word)
    assert rate > 0, errors.RATE_TOO_LOW
    self.programmes[id] = word
    self.terms[id].held = held
    self.terms[id].spare = total - words._unstreamed(word)
    log IRewardStream.Streamed(id=id, amount=arrived, rate=rate, ends_at=ends_at)
    return ends_at


@external
def stop(id: uint256, receiver: address) -> uint256:
    """
    @notice By the project: ends the streaming now. What accounts have earned stays theirs.
    @param receiver Of what was still to be streamed.
    @return Token units, rounded down; what is below one stays.
    """
    self._check_project(id)
    assert receiver not in [empty(address), self], errors.BAD_RECEIVER
    word: uint256 = words._advance(self.programmes[id], block.timestamp)
    whole: uint256 = self.terms[id].whole
    unstreamed: uint256 = self._unstreamed(id, word)
    amount: uint256 = self._to_units(unstreamed, whole)
    self.programmes[id] = words._with_stream(word, 0, 1)
    self.terms[id].held -= amount
    self.terms[id].spare = unstreamed - self._to_wad(amount, whole)
    log IRewardStream.Stopped(id=id, receiver=receiver, amount=amount)
    tokens._push(self.terms[id].token, receiver, amount)
    return amount


# --- the factory's owner


@external
def add_programme(source: address, side: IHook.Side, token: address, project: address) -> uint256:
    """
    @param source Has `decimals` and what is counted of accounts: `balanceOf`, or `debt_shares_of` for borrowers.
    @param project Who alone may fund it and take back what has not been streamed.
    @return Its id.
    """
    assert msg.sender == staticcall IPoolFactory(FACTORY).owner(), errors.NOT_OWNER
    assert project != empty(address), errors.NO_ADDRESS
    assert side == IHook.Side.HOLDERS or side == IHook.Side.BORROWERS, errors.BAD_SIDE
    # whether it can be asked
    self._shares(source, source, side)
    share_decimals: uint256 = convert(staticcall Source(source).decimals(), uint256)
    token_decimals: uint256 = convert(staticcall Source(token).decimals(), uint256)
    assert max(share_decimals, token_decimals) <= MAX_DECIMALS, errors.BAD_DECIMALS

    count: uint256 = len(self._ids(source, side))
    assert count < MAX_PROGRAMMES, errors.TOO_MANY_PROGRAMMES
    id: uint256 = self._first_id(source, side) + count
    if count > 0:
        self.programmes[id - 1] |= words.MORE

    exponent: uint256 = self._unit_exponent(share_decimals)
    self.programmes[id] = words._first(exponent, block.timestamp)
    self.terms[id] = Terms(
        token=token, project=project, whole=10**token_decimals, held=0, spare=0
    )
    log IRewardStream.ProgrammeAdded(
        id=id, source=source, token=token, side=side, project=project, unit=1 << exponent
    )
    return id


# --- views


@external
@view
@reentrant
def earned(id: uint256, account: address) -> uint256:
    """
    @notice Token units that `claim` would pay now.
    """
    return self._to_units(words._earned(self._settled(id, account)), self.terms[id].whole)


@external
@view
@reentrant
def weight_of(id: uint256, account: address) -> uint256:
    """
    @notice In the programme's units of shares.
    """
    return words._weight(self.accounts[id][account])


@external
@view
@reentrant
def programme(id: uint256) -> IRewardStream.Programme:
    """
    @notice As of now.
    """
    word: uint256 = words._advance(self.programmes[id], block.timestamp)
    left: uint256 = words._left(word)
    terms: Terms = self.terms[id]
    return IRewardStream.Programme(
        source=convert(id >> 4, address),
        side=convert((id >> 2) & 3, IHook.Side),
        token=terms.token,
        project=terms.project,
        unit=1 << words._unit_exponent(word),
        weight=words._weight(word),
        rate=words._rate(word) if left > 0 else 0,
        updated_at=words._updated_at(word),
        ends_at=words._updated_at(word) + left,
        unstreamed=self._to_units(self._unstreamed(id, word), terms.whole),
        held=terms.held,
    )


@external
@view
@reentrant
def programmes_of(source: address) -> DynArray[uint256, 6]:
    """
    @notice Their ids, holders' first.
    """
    found: DynArray[uint256, 6] = []
    for side: IHook.Side in [IHook.Side.HOLDERS, IHook.Side.BORROWERS]:
        ids: DynArray[uint256, 3] = self._ids(source, side)
        for id: uint256 in ids:
            found.append(id)
    return found


# --- internals


@internal
def _hear(id: uint256, account: address, shares: uint256) -> bool:
    """
    @notice Brings the account's weight to what it has now.
    @return Whether there is a next programme.
    """
    programme: uint256 = self.programmes[id]
    if programme == 0:
        return False
    word: uint256 = self.accounts[id][account]
    old: uint256 = word & words.MAX_WEIGHT
    weight: uint256 = shares >> words._unit_exponent(programme)
    if weight != old and account != self:
        programme = words._advance(programme, block.timestamp)
        # the account's weight is part of all; what there is no room for does not count
        room: uint256 = unsafe_add(~programme & words.MAX_WEIGHT, old)
        if weight > room:
            weight = room
        # the lowest bits of both words, and they have room
        gained: uint256 = unsafe_sub(weight, old)
        self.accounts[id][account] = unsafe_add(words._settle(word, programme), gained)
        self.programmes[id] = unsafe_add(programme, gained)
    return programme & words.MORE != 0


@internal
def _ask(id: uint256, account: address, source: address, side: IHook.Side, may_grow: bool):
    shares: uint256 = self._shares(source, account, side)
    if not may_grow:
        heard: uint256 = words._weight(self.accounts[id][account])
        shares = min(shares, heard << words._unit_exponent(self.programmes[id]))
    self._hear(id, account, shares)


@internal
@pure
def _first_id(source: address, side: IHook.Side) -> uint256:
    return (convert(source, uint256) << 4) | (convert(side, uint256) << 2)


@internal
@view
def _ids(source: address, side: IHook.Side) -> DynArray[uint256, 3]:
    found: DynArray[uint256, 3] = []
    id: uint256 = self._first_id(source, side)
    for _: uint256 in range(MAX_PROGRAMMES):
        if self.programmes[id] == 0:
            break
        found.append(id)
        id += 1
    return found


@internal
def _claim(id: uint256, account: address, receiver: address) -> uint256:
    settled: uint256 = self._settled(id, account)
    whole: uint256 = self.terms[id].whole
    wad_amount: uint256 = words._earned(settled)
    amount: uint256 = self._to_units(wad_amount, whole)
    if amount == 0:
        return 0
    # rounded up, so that what is left is never more than what is held for it
    rest: uint256 = wad_amount - wad_math._mul_div_up(amount, wad_math.WAD, whole)
    self.accounts[id][account] = words._with_earned(settled, rest)
    self.terms[id].held -= amount
    log IRewardStream.Claimed(
        id=id, account=account, receiver=receiver, caller=msg.sender, amount=amount
    )
    tokens._push(self.terms[id].token, receiver, amount)
    return amount


@internal
@view
def _settled(id: uint256, account: address) -> uint256:
    """
    @notice The account's word as of now. The programme's need not be stored for it.
    """
    advanced: uint256 = words._advance(self.programmes[id], block.timestamp)
    held: uint256 = self.accounts[id][account]
    return words._settle(held, advanced)


@internal
@view
def _unstreamed(id: uint256, word: uint256) -> uint256:
    return words._unstreamed(word) + self.terms[id].spare


@internal
@view
def _shares(source: address, account: address, side: IHook.Side) -> uint256:
    if side == IHook.Side.BORROWERS:
        return staticcall Source(source).debt_shares_of(account)
    return staticcall Source(source).balanceOf(account)


@internal
@view
def _check_project(id: uint256):
    assert msg.sender == self.terms[id].project, errors.NOT_PROJECT


@internal
@pure
def _unit_exponent(share_decimals: uint256) -> uint256:
    """
    @return Of the largest power of two that is at most 10**(share_decimals - 6), or 0.
    """
    exponent: uint256 = 0
    if share_decimals > WEIGHT_DECIMALS:
        unit: uint256 = 10**(share_decimals - WEIGHT_DECIMALS)
        for _: uint256 in range(128):
            if unit >> exponent <= 1:
                break
            exponent += 1
    return exponent


@internal
@pure
def _to_wad(units: uint256, whole: uint256) -> uint256:
    return wad_math._mul_div_down(units, wad_math.WAD, whole)


@internal
@pure
def _to_units(wad_amount: uint256, whole: uint256) -> uint256:
    return wad_math._mul_div_down(wad_amount, whole, wad_math.WAD)
