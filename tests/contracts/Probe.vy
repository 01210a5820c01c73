# pragma version 0.4.3
"""
@title Probe
@license AGPL-3.0-only
@author Perpool
@notice One function for each thing that the test harness has to get right.
"""

from tests.contracts.modules import counter

initializes: counter

exports: (counter.count, counter.increment)


struct Pair:
    owner: address
    share_amount: uint256


struct Nest:
    pair: Pair
    tags: DynArray[bytes32, 4]


struct Context:
    caller: address
    origin: address
    timestamp: uint256
    block_number: uint256
    chain_id: uint256
    word: uint256


event Noted:
    who: indexed(address)
    topic: indexed(String[32])
    delta: int256
    pair: Pair


interface Target:
    def poke(depth: uint256): nonpayable


OWNER: public(immutable(address))
STEP: immutable(uint256)

word: public(uint256)
received: public(uint256)
slots: public(uint256[4])
scratch: transient (uint256)


@deploy
@payable
def __init__(step: uint256):
    assert step > 0, "zero step"
    OWNER = msg.sender
    STEP = step
    counter.__init__(step)


@external
@payable
def __default__():
    self.received += msg.value


# -- values --


@external
@pure
def echo(flag: bool, delta: int128, who: address, tag: bytes4) -> (bool, int128, address, bytes4):
    return flag, delta, who, tag


@external
@pure
def echo_text(text: String[64], raw: Bytes[64]) -> (String[64], Bytes[64]):
    return text, raw


@external
@pure
def echo_nest(nests: DynArray[Nest, 3]) -> DynArray[Nest, 3]:
    return nests


@external
@view
def pair_of(owner: address) -> Pair:
    return Pair(owner=owner, share_amount=STEP)


@external
@pure
def nothing():
    pass


@external
@pure
def total(a: uint256, b: uint256 = 20, c: uint256 = 300) -> uint256:
    return a + b + c


# -- state --


@external
def set_word(word: uint256) -> uint256:
    old: uint256 = self.word
    self.word = word
    return old


@external
def note(topic: String[32], delta: int256):
    log Noted(who=msg.sender, topic=topic, delta=delta, pair=Pair(owner=OWNER, share_amount=STEP))


@external
@view
def sload_costs() -> (uint256, uint256):
    """
    @notice Gas of reading one slot twice, in one transaction.
    """
    start: uint256 = msg.gas
    first: uint256 = self.word
    middle: uint256 = msg.gas
    second: uint256 = self.word
    end: uint256 = msg.gas
    assert first == second
    return start - middle, middle - end


@external
def set_scratch(scratch: uint256) -> uint256:
    old: uint256 = self.scratch
    self.scratch = scratch
    return old


@external
@payable
def deposit() -> uint256:
    self.received += msg.value
    return msg.value


@external
@view
def context() -> Context:
    """
    @notice What a contract sees of the call it is in.
    """
    return Context(
        caller=msg.sender,
        origin=tx.origin,
        timestamp=block.timestamp,
        block_number=block.number,
        chain_id=chain.id,
        word=self.word,
    )


# -- failure --


@external
def fail(reason: String[32]):
    self.word = 1
    raise reason


@external
def fail_bare():
    self.word = 1
    raise


@external
@view
def fail_view(limit: uint256):
    assert limit < 10, "limit too high"


@external
def fail_raw(data: Bytes[64]):
    raw_revert(data)


@external
def burn_gas():
    for i: uint256 in range(1_000_000):
        self.word = i


@external
def catch(target: address, data: Bytes[64]) -> (bool, uint256):
    """
    @notice Call a target, go on if it fails; returns the word of this contract afterwards.
    """
    success: bool = raw_call(target, data, revert_on_failure=False)
    return success, self.word


@external
def recurse(depth: uint256):
    if depth > 0:
        extcall Target(self).poke(depth - 1)


@external
def poke(depth: uint256):
    assert msg.sender == self, "not myself"
    counter.count += 1
    if depth > 0:
        extcall Target(self).poke(depth - 1)


# -- creation --


@external
def create(blueprint: address, decimals: uint8, answer: int256, salt: bytes32) -> address:
    return create_from_blueprint(blueprint, decimals, answer, salt=salt)
