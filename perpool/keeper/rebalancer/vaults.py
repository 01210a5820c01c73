"""The vaults of a deployment: reading how they stand, and the calls that are made for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from eth_utils.crypto import keccak

from perpool.chain import Call
from perpool.deployment import Record
from perpool.evm import Reverted
from perpool.keeper.chain.contracts import KeeperError, bind, values
from perpool.keeper.chain.nodes import Head
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.rebalancer.decide import SHARES, Stand, Task, Vault, Work

MODES = {1: "lend", 2: "carry"}
"""ICarryVault.Mode"""


class Reader(Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Values at one block, a Reverted in the place of each call that reverts."""


def vaults_of(reader: Reader, record: Record, symbols: Sequence[str] | None = None) -> list[Vault]:
    """All vaults of a deployment's markets, or of some markets. Raises KeeperError."""
    found = [
        (f"{symbol} {name}", entry, vault)
        for symbol in symbols or record.markets
        for entry in [record.markets[symbol]]
        for name, vault in entry.get("vaults", {}).items()
    ]
    calls = [
        call
        for _, entry, vault in found
        for call in (
            bind("CarryStrategy", vault["strategy"], "legs"),
            bind("ReversePool", entry["reverse"], "config"),
            bind("PerpVenue", entry["venue"], "maintenance_margin"),
        )
    ]
    answers = iter(reader.read(calls))
    vaults = []
    for name, entry, vault in found:
        legs, config, maintenance = islice(answers, 3)
        if isinstance(legs, Reverted) or list(legs) != [
            entry["reverse"],
            entry["forward"],
            entry["venue"],
        ]:
            raise KeeperError(
                f"{record.path}: the strategy of {name} is not of this market's pools and venue; "
                "restore the record from git"
            )
        vaults.append(
            Vault(
                name=name,
                address=vault["vault"],
                strategy=vault["strategy"],
                reverse=entry["reverse"],
                venue=entry["venue"],
                token=entry["token"],
                liquidation_ltv=values([config])[0].leg.liquidation_ltv,
                maintenance_margin=values([maintenance])[0],
            )
        )
    return vaults


def first_block(record: Record, vaults: Sequence[Vault]) -> int:
    """Before which there was none of the vaults, 0 where the record does not say."""
    blocks = {each["address"]: each.get("block") for each in record.contracts.values()}
    return min((blocks.get(each.address) or 0 for each in vaults), default=0)


# -- how they stand --


def stands_of(
    reader: Reader, vaults: Sequence[Vault], funding_oracle: str, head: Head | None = None
) -> tuple[list[Stand], dict[str, str]]:
    """How vaults stand at a block, and why that cannot be told of the others, by name."""
    questions = [_questions(each, funding_oracle) for each in vaults]
    answers = iter(reader.read([call for each in questions for call in each], head))
    stands, silent = [], {}
    for vault, asked in zip(vaults, questions, strict=True):
        said = [next(answers) for _ in asked]
        # whatever is said of shares and of the venue's funding, the rest can be told without it
        failure = next((each for each in said[:-3] if isinstance(each, Reverted)), None)
        if failure is None:
            stands.append(_stand(vault, said))
        else:
            silent[vault.name] = str(failure)
    return stands, silent


def _questions(vault: Vault, funding_oracle: str) -> list[Call]:
    return [
        bind("CarryStrategy", vault.strategy, "mode"),
        bind("CarryStrategy", vault.strategy, "is_due"),
        bind("CarryStrategy", vault.strategy, "holdings"),
        bind("CarryStrategy", vault.strategy, "net_carry"),
        bind("ReversePool", vault.reverse, "position", vault.strategy),
        bind("ReversePool", vault.reverse, "debt_of", vault.strategy),
        bind("PerpVenue", vault.venue, "position", vault.strategy),
        bind("CarryVault", vault.address, "convertToAssets", SHARES),
        bind("PerpVenue", vault.venue, "state"),
        bind("FundingOracle", funding_oracle, "feed", vault.token),
    ]


def _stand(vault: Vault, said: Sequence[Any]) -> Stand:
    mode, is_due, held, net_carry, loan, debt, position, share, state, feed = said
    funding_due = False
    if position.size and not isinstance(state, Reverted) and not isinstance(feed, Reverted):
        funding_due = state.accrued_at < feed.observed_at
    return Stand(
        vault=vault,
        mode=MODES[int(mode)],
        is_due=is_due,
        order=position.pending,
        price_e36=held.price_e36,
        collateral=loan[0],
        debt=debt,
        tokens=held.idle + held.lent + held.collateral,
        short=held.short,
        equity=held.equity,
        net_carry=net_carry,
        funding_due=funding_due,
        share=0 if isinstance(share, Reverted) else share,
    )


# -- what is done --


def call_of(task: Task, order: int) -> tuple[str, Call]:
    """Where a task's call goes, and the call; `order` is the id of what is pending."""
    vault = task.vault
    if task.work is Work.ORDER:
        return vault.venue, bind("PerpVenue", vault.venue, "settle", order)
    if task.work is Work.REBALANCE:
        return vault.address, bind("CarryVault", vault.address, "rebalance")
    if task.work is Work.FUNDING:
        return vault.venue, bind("PerpVenue", vault.venue, "settle_funding", vault.strategy)
    name = "settle_deposit" if task.work is Work.DEPOSIT else "settle_redeem"
    return vault.address, bind("CarryVault", vault.address, name, task.controller)


def just_apart(reader: Reader, tasks: Sequence[Task], head: Head) -> set[Task]:
    """Of these redemptions those that were set apart in this very block, or one of its time.

    Then nobody but their controllers can finish them, and a trial says nothing of what comes.
    """
    calls = [
        bind("CarryVault", each.vault.address, "redemption", each.controller) for each in tasks
    ]
    return {
        task
        for task, said in zip(tasks, reader.read(calls, head), strict=True)
        if not isinstance(said, Reverted) and said.apart_at == head.time
    }


def parcel_of(task: Task, order: int, trace: str, head: Head) -> Parcel:
    """A task's call, and what is read back of it: that the trace is another."""
    to, call = call_of(task, order)
    return Parcel((Intent(task.work.value, task.subject, head.time, trace),), to, call.data)


def traces_of(reader: Reader, tasks: Sequence[Task], head: Head | None = None) -> list[str]:
    """Of each task what it is to change as it is at a block, in short; "" where it cannot be told.

    Neither time nor price changes it, so where it has changed, somebody has done something.
    """
    asked = [list(_traced(each)) for each in tasks]
    answers = iter(reader.read([call for each in asked for call in each], head))
    return [
        _trace(each.work, [next(answers) for _ in calls])
        for each, calls in zip(tasks, asked, strict=True)
    ]


def _traced(task: Task) -> Iterator[Call]:
    vault = task.vault
    if task.work is Work.FUNDING:
        yield bind("PerpVenue", vault.venue, "state")
        return
    # settling a request may be an order first
    yield bind("PerpVenue", vault.venue, "position", vault.strategy)
    if task.work is Work.DEPOSIT:
        yield bind("CarryVault", vault.address, "pendingDepositRequest", 0, task.controller)
    elif task.work is Work.REDEEM:
        yield bind("CarryVault", vault.address, "redemption", task.controller)
    elif task.work is Work.REBALANCE:
        yield bind("CarryStrategy", vault.strategy, "mode")
        yield bind("ReversePool", vault.reverse, "position", vault.strategy)
        yield bind("TestToken", vault.token, "balanceOf", vault.strategy)


def _trace(work: Work, said: Sequence[Any]) -> str:
    if any(isinstance(each, Reverted) for each in said):
        return ""
    if work is Work.FUNDING:
        seen: list[Any] = [said[0].accrued_at]
    else:
        position, *rest = said
        if work is Work.REDEEM:
            # not the USDT brought, which anybody can add to
            rest = [rest[0].shares, rest[0].apart_shares, rest[0].apart_at]
        seen = [position.size, position.margin, position.pending, position.credit, *rest]
    return keccak(text=repr([tuple(e) if isinstance(e, tuple) else e for e in seen])).hex()[:16]


def read_back(
    reader: Reader, vaults: Sequence[Vault]
) -> Callable[[Sequence[Intent], Head], list[Intent]]:
    """What an `Outbox` takes as `unmet`: intents after which all is as it was.

    What is of a vault that is not served any more has to do with its receipt.
    """
    known = {each.address: each for each in vaults}

    def unmet(intents: Sequence[Intent], head: Head) -> list[Intent]:
        tasks = [task_of(each, known) for each in intents]
        asked = [
            (each, task) for each, task in zip(intents, tasks, strict=True) if task is not None
        ]
        traces = traces_of(reader, [task for _, task in asked], head)
        return [
            intent
            for (intent, _), trace in zip(asked, traces, strict=True)
            if trace in ("", intent.value)
        ]

    return unmet


def task_of(intent: Intent, vaults: Mapping[str, Vault]) -> Task | None:
    """The task of an intent, None where it is of none of these vaults, by address."""
    address, _, controller = intent.subject.partition("/")
    vault = vaults.get(address)
    return None if vault is None else Task(Work(intent.kind), vault, controller)
