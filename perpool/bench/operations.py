"""The operations that are measured, and the state each starts from.

Every operation starts from one state (`populate`): a lender and a second one with shares, a
borrower of 40,000 USDT and one of 60,000 against 10,000 tokens each, shorts of 5,000 tokens on
80,000 USDT on both of Uniswap's versions. It is a transaction of its own, 3,600 s after keepers
have reported and synced, and is undone before the next. So each includes: accrual over an hour with
the funding premium and the protocol fee on, all storage cold, and the 21,000 of any transaction.
Accounts have tokens before and after; "second user" has neither shares nor a position, "repeat"
has; approvals are unlimited and were given before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from perpool.bench.market import MAX, ROUND_TOKENS, TOKEN, USDT, Market, Pools, product
from perpool.build import Artifact, compile_patched, compile_source
from perpool.chain import Call, Chain, Contract, Receipt
from perpool.evm import Account

FUNDING = Decimal("0.30")
"""A year, as longs pay for the reverse leg's operations and shorts for the forward leg's."""
LIQUIDATION_PRICE = Decimal("7.5")
SQUEEZE_PRICE = Decimal(13)
"""Where the short on the thin margin is unhealthy."""
CAP = 10**30
"""A cap that no operation reaches."""
TWAP_OBSERVATIONS = 60
"""The v3 pool's memory: an hour, where it trades every minute."""

_NO_LEDGER = (
    "share_token[\n    accounts := accounts, hooks := hooks, ledger := ledger, ",
    "share_token[\n    accounts := accounts, hooks := hooks, ",
)
HOOKLESS = {
    # a transfer of shares looks at the flags for the hook alone
    "contracts/modules/share_token.vy": [
        ("packing._clock_flags(clock) & packing.HOOK_FLAG == 0", "True"),
        ("ledger.clock_word", "0"),
        ("uses: ledger\n", ""),
    ],
}
"""What to change in the pools' sources to compile the hook out, beside where debt changes."""
_DEBT_CHANGES = {
    "ReversePool": "contracts/modules/reverse/loans.vy",
    "ForwardPool": "contracts/modules/forward/shorts.vy",
}
_DEBTLESS = [("packing._clock_flags(totals.clock) & packing.HOOK_FLAG != 0", "False")]

_FLOOR = """
# pragma version 0.4.3
from ethereum.ercs import IERC20

TOKEN: immutable(address)
held: HashMap[address, uint256]


@deploy
def __init__(token: address):
    TOKEN = token


@external
def pull(amount: uint256):
    self.held[msg.sender] += amount
    assert extcall IERC20(TOKEN).transferFrom(msg.sender, self, amount, default_return_value=True)


@external
def push(amount: uint256):
    self.held[msg.sender] -= amount
    assert extcall IERC20(TOKEN).transfer(msg.sender, amount, default_return_value=True)
"""


@dataclass(frozen=True)
class Actors:
    """Who has what is in the module's docstring."""

    lender: Account
    second_lender: Account
    newcomer: Account
    holder: Account
    borrower: Account
    second_borrower: Account
    liquidator: Account
    shorter: Account
    v3_shorter: Account
    thin_shorter: Account


@dataclass(frozen=True)
class State:
    """A market with positions, at the moment before an operation."""

    market: Market
    pools: Pools
    actors: Actors

    @property
    def reverse(self) -> Contract:
        return self.pools.reverse

    @property
    def forward(self) -> Contract:
        return self.pools.forward

    def open_call(
        self, account: Account, *, margin: int = 80_000 * USDT, on_v3: bool = False
    ) -> Call:
        """Short 5,000 tokens."""
        market = self.market
        swapper = market.v3 if on_v3 else market.v2
        route = (market.v3_route if on_v3 else market.v2_route)(market.token)
        amount = 5_000 * TOKEN
        return self.forward.open_short.bind(
            margin, amount, 45_000 * USDT, MAX, account, swapper, route, sender=account
        )

    def close_call(self, account: Account, amount: int = MAX, *, on_v3: bool = False) -> Call:
        """Buy back, by default all that is owed."""
        market = self.market
        swapper = market.v3 if on_v3 else market.v2
        route = (market.v3_route if on_v3 else market.v2_route)(market.usdt)
        return self.forward.close_short.bind(
            amount, 60_000 * USDT, MAX, account, account, swapper, route, sender=account
        )


@dataclass(frozen=True)
class Operation:
    """One figure: what is sent, and what has to have happened before."""

    name: str
    call: Callable[[State], Call]
    prepare: Callable[[State], object] = lambda _: None
    on_forward: bool = False
    """Funding is what the forward leg's borrowers collect."""


def populate(market: Market, pools: Pools) -> State:
    """The positions that every operation starts from."""

    def actor(name: str) -> Account:
        return market.actor(name, pools=pools)

    names = [field.name for field in dataclasses.fields(Actors)]
    actors = Actors(**{name: actor(name.replace("_", " ")) for name in names})
    state = State(market, pools, actors)
    chain, reverse, forward = market.chain, pools.reverse, pools.forward
    market.tick(pools)
    for lender, tokens, usdt in (
        (actors.lender, 100_000, 1_000_000),
        (actors.second_lender, 10_000, 100_000),
    ):
        reverse.deposit(usdt * USDT, lender, sender=lender)
        forward.deposit(tokens * TOKEN, lender, sender=lender)
    for account, debt in (
        (actors.holder, 0),
        (actors.borrower, 40_000),
        (actors.second_borrower, 60_000),
    ):
        reverse.supply_collateral(10_000 * TOKEN, account, sender=account)
        if debt:
            reverse.borrow(debt * USDT, account, account, sender=account)
    chain.transact(state.open_call(actors.shorter))
    chain.transact(state.open_call(actors.v3_shorter, on_v3=True))
    chain.transact(state.open_call(actors.thin_shorter, margin=30_000 * USDT, on_v3=True))
    # interest once, so that the reserve has shares
    market.step(3600)
    market.tick(pools)
    return state


def measure(state: State, operation: Operation) -> Receipt:
    """The operation's receipt; the chain is afterwards as it was."""
    market = state.market
    price, funding = market.price, market.funding_rate
    with market.chain.anchor():
        try:
            operation.prepare(state)
            market.step(3600)
            market.tick(state.pools)
            # an hour after the tick's last transaction
            market.pass_hour()
            return market.chain.transact(operation.call(state))
        finally:
            market.price, market.funding_rate = price, funding


def measure_receipts(
    market: Market, operations: Iterable[Operation], pools: Pools | None = None
) -> dict[str, Receipt]:
    """Receipts of some operations by name, each under funding that its leg's borrowers collect."""
    chosen = pools or market.pools
    receipts = {}
    wanted = list(operations)
    for on_forward in (False, True):
        those = [operation for operation in wanted if operation.on_forward == on_forward]
        if not those:
            continue
        with market.chain.anchor():
            market.funding_rate = -FUNDING if on_forward else FUNDING
            state = populate(market, chosen)
            for operation in those:
                receipts[operation.name] = measure(state, operation)
    return {operation.name: receipts[operation.name] for operation in wanted}


def measure_all(
    market: Market, operations: Iterable[Operation], pools: Pools | None = None
) -> dict[str, int]:
    """Gas of some operations by name."""
    receipts = measure_receipts(market, operations, pools)
    return {name: receipt.gas_used for name, receipt in receipts.items()}


# -- the operations of peers.json --

COMPARED = (
    Operation(
        "deposit_second_user",
        lambda s: s.reverse.deposit.bind(
            100_000 * USDT, s.actors.newcomer, sender=s.actors.newcomer
        ),
    ),
    Operation(
        "deposit_repeat",
        lambda s: s.reverse.deposit.bind(
            100_000 * USDT, s.actors.second_lender, sender=s.actors.second_lender
        ),
    ),
    Operation(
        "supply_collateral_second_user",
        lambda s: s.reverse.supply_collateral.bind(
            10_000 * TOKEN, s.actors.newcomer, sender=s.actors.newcomer
        ),
    ),
    Operation(
        "supply_collateral_repeat",
        lambda s: s.reverse.supply_collateral.bind(
            10_000 * TOKEN, s.actors.borrower, sender=s.actors.borrower
        ),
    ),
    Operation(
        "borrow_repeat",
        lambda s: s.reverse.borrow.bind(
            10_000 * USDT, s.actors.borrower, s.actors.borrower, sender=s.actors.borrower
        ),
    ),
    Operation(
        "repay_partial",
        lambda s: s.reverse.repay.bind(10_000 * USDT, s.actors.borrower, sender=s.actors.borrower),
        lambda s: s.reverse.borrow(
            10_000 * USDT, s.actors.borrower, s.actors.borrower, sender=s.actors.borrower
        ),
    ),
    Operation(
        "repay_full",
        lambda s: s.reverse.repay.bind(MAX, s.actors.borrower, sender=s.actors.borrower),
    ),
    Operation(
        "withdraw_collateral_with_debt",
        lambda s: s.reverse.withdraw_collateral.bind(
            1_000 * TOKEN, s.actors.borrower, s.actors.borrower, sender=s.actors.borrower
        ),
    ),
    Operation(
        "withdraw_partial",
        lambda s: s.reverse.withdraw.bind(
            10_000 * USDT,
            s.actors.second_lender,
            s.actors.second_lender,
            sender=s.actors.second_lender,
        ),
    ),
    Operation(
        "redeem_full",
        lambda s: s.reverse.redeem.bind(
            s.reverse.balanceOf(s.actors.second_lender),
            s.actors.second_lender,
            s.actors.second_lender,
            sender=s.actors.second_lender,
        ),
    ),
    Operation(
        "liquidate_partial",
        lambda s: s.reverse.liquidate.bind(
            s.actors.second_borrower,
            30_000 * USDT,
            s.actors.liquidator,
            b"",
            sender=s.actors.liquidator,
        ),
        lambda s: s.market.set_price(LIQUIDATION_PRICE),
    ),
    Operation("open_short", lambda s: s.open_call(s.actors.newcomer), on_forward=True),
    Operation("close_short", lambda s: s.close_call(s.actors.shorter), on_forward=True),
)

# -- what no peer has, or does otherwise --


def _sync(state: State) -> Call:
    """With a newer round to take in."""
    state.market.chain.transact(state.market.submit_call())
    return state.reverse.sync_funding.bind()


OTHERS = (
    Operation(
        "supply_collateral_and_borrow",
        lambda s: s.reverse.supply_collateral_and_borrow.bind(
            10_000 * TOKEN,
            40_000 * USDT,
            s.actors.newcomer,
            s.actors.newcomer,
            sender=s.actors.newcomer,
        ),
    ),
    Operation(
        "repay_and_withdraw_collateral",
        lambda s: s.reverse.repay_and_withdraw_collateral.bind(
            MAX, MAX, s.actors.borrower, s.actors.borrower, sender=s.actors.borrower
        ),
    ),
    Operation(
        "deleverage",
        lambda s: s.reverse.deleverage.bind(
            1_000 * TOKEN,
            10_000 * USDT,
            s.actors.borrower,
            s.actors.borrower,
            b"",
            sender=s.actors.borrower,
        ),
    ),
    Operation(
        "transfer",
        lambda s: s.reverse.transfer.bind(s.actors.second_lender, 10**9, sender=s.actors.lender),
    ),
    Operation("sync_funding", _sync),
    Operation("observe", lambda s: s.pools.oracle.observe.bind()),
    Operation("funding_submit", lambda s: s.market.submit_call()),
    Operation(
        "price_feed_submit",
        lambda s: s.market.submit_price_call(),
        lambda s: s.market.chain.transact(s.market.submit_price_call()),
    ),
    Operation(
        "open_short_v3", lambda s: s.open_call(s.actors.newcomer, on_v3=True), on_forward=True
    ),
    Operation(
        "close_short_v3", lambda s: s.close_call(s.actors.v3_shorter, on_v3=True), on_forward=True
    ),
    Operation("open_short_repeat", lambda s: s.open_call(s.actors.shorter), on_forward=True),
    Operation(
        "close_short_partial",
        lambda s: s.close_call(s.actors.shorter, 2_000 * TOKEN),
        on_forward=True,
    ),
    Operation(
        "add_margin",
        lambda s: s.forward.add_margin.bind(
            10_000 * USDT, s.actors.shorter, sender=s.actors.shorter
        ),
        on_forward=True,
    ),
    Operation(
        "remove_margin",
        lambda s: s.forward.remove_margin.bind(
            10_000 * USDT, s.actors.shorter, s.actors.shorter, sender=s.actors.shorter
        ),
        on_forward=True,
    ),
    Operation(
        "liquidate_short",
        lambda s: s.forward.liquidate.bind(
            s.actors.thin_shorter, MAX, s.actors.liquidator, b"", sender=s.actors.liquidator
        ),
        lambda s: s.market.set_price(SQUEEZE_PRICE, on_v3=True),
        on_forward=True,
    ),
    Operation(
        "liquidate_by_purchase",
        lambda s: s.forward.liquidate_by_purchase.bind(
            s.actors.thin_shorter, s.actors.liquidator, sender=s.actors.liquidator
        ),
        lambda s: s.market.set_price(SQUEEZE_PRICE, on_v3=True),
        on_forward=True,
    ),
)

# -- the same operations in other circumstances --


def _cap(state: State) -> None:
    state.market.set_caps(state.pools, CAP, CAP, CAP, CAP)


def _authorise(state: State) -> None:
    for account in (state.actors.borrower, state.actors.newcomer):
        state.market.operators.set_operator(state.actors.holder, True, sender=account)


def _by_operator(operation: Operation) -> Operation:
    """The operation sent by an operator, who is authorised before."""

    def call(state: State) -> Call:
        return dataclasses.replace(operation.call(state), sender=state.actors.holder)

    return dataclasses.replace(operation, call=call, prepare=_authorise)


def _named(names: Iterable[str]) -> list[Operation]:
    return [operation for operation in COMPARED if operation.name in set(names)]


CAPPED = [
    dataclasses.replace(operation, prepare=_cap)
    for operation in _named(
        ["deposit_repeat", "supply_collateral_repeat", "borrow_repeat", "open_short"]
    )
]
OPERATED = [
    _by_operator(operation)
    for operation in _named(["borrow_repeat", "withdraw_collateral_with_debt"])
]
ON_TWAP = _named(["borrow_repeat", "withdraw_collateral_with_debt", "open_short"])

# -- the same operations with a reward stream to one side --

HOLDERS, BORROWERS = 1, 2
LENDERS_CHANGES = ("deposit_repeat", "withdraw_partial", "redeem_full")
BORROWERS_CHANGES = (
    *("borrow_repeat", "repay_partial", "repay_full", "liquidate_partial", "close_short"),
)
STREAMED = [
    *_named(["deposit_second_user", "open_short", *LENDERS_CHANGES, *BORROWERS_CHANGES]),
    *(operation for operation in OTHERS if operation.name == "transfer"),
]
STREAMS = {
    "with a stream to lenders": (HOLDERS, LENDERS_CHANGES),
    "with a stream to borrowers": (BORROWERS, BORROWERS_CHANGES),
}
"""Circumstance -> side, and operations that change shares of one account, which had some before."""


@dataclass(frozen=True)
class Figures:
    """All that a run measures, in gas."""

    compared: Mapping[str, int]
    others: Mapping[str, int]
    extras: Mapping[str, Mapping[str, int]]
    """Circumstance -> operation -> gas beyond the plain operation's."""
    hook: Mapping[str, int]
    """Operation -> gas that the hook costs it while none is attached; empty if not measured."""
    floor: Mapping[str, int]
    """A user's slot and one transfer of this benchmark's USDT, to hold beside the peers' floor."""

    @property
    def snapshot(self) -> dict[str, int]:
        """Every figure that must not rise, by name."""
        found = {**self.compared, **self.others}
        for circumstance, rows in self.extras.items():
            for name, extra in rows.items():
                found[f"{name} {circumstance}"] = found[name] + extra
        return found

    @property
    def stream(self) -> dict[str, int]:
        """Repeated operation -> gas that a reward stream to its side costs it."""
        return {
            name: self.extras[circumstance][name]
            for circumstance, (_, names) in STREAMS.items()
            for name in names
        }

    @property
    def submit_per_token(self) -> float:
        """Gas a token of a funding round."""
        return self.others["funding_submit"] / ROUND_TOKENS


def run(chain: Chain, *, with_hook_cost: bool = True) -> Figures:
    """Deploy a market on a fresh anvil and measure everything.

    The cost of the hook takes a second compilation of both pools; without it `hook` is empty.
    """
    with chain.anchor():
        market = Market(chain, *product())
        market.learn_volatility()
        compared = measure_all(market, COMPARED)
        others = {"create_market": market.receipts["create_market"].gas_used}
        others |= measure_all(market, OTHERS)
        extras = {
            "with caps": _beyond(compared, measure_all(market, CAPPED)),
            "by an operator": _beyond(compared, measure_all(market, OPERATED)),
            "with a TWAP": _beyond(compared, _on_twap(market)),
        }
        for circumstance, (side, _) in STREAMS.items():
            extras[circumstance] = _beyond({**compared, **others}, _streamed(market, side))
        floor = _floor(market)
    hook = {}
    if with_hook_cost:
        with chain.anchor():
            market = Market(chain, *hookless())
            market.learn_volatility()
            without = measure_all(market, [*COMPARED, *OTHERS])
            hook = _beyond(without, {name: {**compared, **others}[name] for name in without})
    return Figures(compared, others, extras, hook, floor)


def hookless() -> tuple[Artifact, Artifact]:
    """(reverse pool, forward pool) that know of no hook."""
    reverse, forward = (
        compile_patched(name, {**HOOKLESS, file: _DEBTLESS, f"contracts/{name}.vy": [_NO_LEDGER]})
        for name, file in _DEBT_CHANGES.items()
    )
    return reverse, forward


def _beyond(plain: Mapping[str, int], measured: Mapping[str, int]) -> dict[str, int]:
    return {name: gas - plain[name] for name, gas in measured.items()}


def _on_twap(market: Market) -> dict[str, int]:
    """The same in a market whose price oracle also asks a v3 pool that trades every minute."""
    with market.chain.anchor():
        market.v3_pool.increaseObservationCardinalityNext(TWAP_OBSERVATIONS)
        oracle = market.deploy_price_oracle(market.v3_pool)
        pools = market.create_market(oracle, *product())
        market.learn_volatility(pools)
        market.trade_on_v3(2 * TWAP_OBSERVATIONS, seconds=60)
        market.trades_on_v3 = True
        try:
            return measure_all(market, ON_TWAP, pools)
        finally:
            market.trades_on_v3 = False


def _streamed(market: Market, side: int) -> dict[str, int]:
    """With a programme for that side of both pools, which has heard of all from the start."""
    chain, pools = market.chain, (market.pools.reverse, market.pools.forward)
    with chain.anchor():
        rewards = market.rewards
        project = market.actor("project")
        market.token.approve(rewards, MAX, sender=project)
        for pool in pools:
            market.factory.set_hook(pool, rewards)
            added = rewards.add_programme(pool, side, market.token, project)
            id_ = added.events("ProgrammeAdded")[0].id
            rewards.stream(id_, 100_000 * TOKEN, 365 * 86_400, sender=project)
        return measure_all(market, STREAMED)


def _floor(market: Market) -> dict[str, int]:
    with market.chain.anchor():
        vault = market.chain.deploy(compile_source(_FLOOR, "Floor"), market.usdt)
        user = market.actor("floor user")
        market.usdt.approve(vault, MAX, sender=user)
        vault.pull(100_000 * USDT, sender=user)
        return {
            "pull_repeat": vault.pull(100_000 * USDT, sender=user).gas_used,
            "push_repeat": vault.push(10_000 * USDT, sender=user).gas_used,
        }
