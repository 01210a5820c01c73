"""What to do next with a transaction: a pure function of the journal and of what nodes say.

    planned --Send--> sent --Land--> mined --Finish--> done, failed
                       |  ^            |
                       |  +---Reopen---+      a reorganisation
                       |  |
                       +--Displace--> displaced --Abandon--> abandoned      another has the nonce

One transaction a lane is in flight at a time, so a nonce is the number of transactions that the
account has mined. That also has the next content take the place of one that expired unmined: it
gets the same nonce, and only one of the two can ever be mined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpool.keeper.transactions.fees import FeePolicy, Fees, bumped, first
from perpool.keeper.transactions.model import Mined, Transaction


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a lane is."""

    fees: FeePolicy
    confirmations: int
    """Blocks on top of a transaction's own after which it is final."""
    patience: int
    """Seconds for a transaction to be mined before it is replaced."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one transaction at a moment."""

    now: int
    head: int
    """Number of the newest block."""
    nonce: int
    """Transactions that its sender has mined."""
    mined: Mined | None
    """The receipt of whichever of its attempts was mined."""
    known: bool
    """Whether most nodes have its newest attempt."""
    base_fee: int
    tip: int
    """What nodes suggest, in wei for one unit of gas."""
    offered: Fees | None
    """What is to be outbid: its newest attempt or, where it is only planned, the most that was ever
    offered for the nonce it would get."""
    ours: bool
    """Whether we can sign for its sender."""
    others: Sequence[Transaction]
    """What else is open in the lane."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing may be sent now, because it would cost more than the cap."""


@dataclass(frozen=True, slots=True)
class Send:
    """Sign an attempt with this nonce, and broadcast it."""

    nonce: int
    fees: Fees


@dataclass(frozen=True, slots=True)
class Rebroadcast:
    """No node has it: send the newest attempt again, as it is."""

    held: bool = False
    """Because a better offer would cost more than the cap."""


@dataclass(frozen=True, slots=True)
class Land:
    """It was mined, now or elsewhere than before: read back what it did."""

    mined: Mined


@dataclass(frozen=True, slots=True)
class Reopen:
    """What it was or what displaced it is mined no longer."""


@dataclass(frozen=True, slots=True)
class Displace:
    """Another transaction was mined with its nonce."""


@dataclass(frozen=True, slots=True)
class Finish:
    """No reorganisation will undo it any more."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """It will not be mined."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fill:
    """Take the next nonce with an empty transaction, since nothing else does."""


Step = Wait | Hold | Send | Rebroadcast | Land | Reopen | Displace | Finish | Abandon | Fill


def next_step(transaction: Transaction, view: View, rules: Rules) -> Step:
    """What to do with an open transaction."""
    if transaction.state == "planned":
        return _begin(transaction, view, rules)
    assert transaction.nonce is not None
    if view.mined is not None:
        return _confirm(transaction, view.mined, view, rules)
    if not view.ours and view.now - transaction.planned_at >= rules.patience:
        # whatever is true of it, its intents are not kept from us any longer
        return Abandon("its sender is gone, and it was not mined")
    if transaction.state == "mined":
        return Reopen()
    if view.nonce > transaction.nonce:
        if transaction.displaced_at is None:
            return Displace()
        if view.head - transaction.displaced_at >= rules.confirmations:
            return Abandon("another transaction has its nonce")
        return Wait()
    if transaction.state == "displaced":
        return Reopen()
    return _push(transaction, view, rules) if view.ours else _watch(transaction, view)


def is_in_flight(transaction: Transaction, now: int) -> bool:
    """Whether it may still do what it was planned for, and so nothing else should be begun."""
    waiting = transaction.state in ("planned", "sent") and bool(transaction.parcels)
    return waiting and not transaction.is_expired(now)


def _begin(transaction: Transaction, view: View, rules: Rules) -> Step:
    """Something planned: send it, unless an older one came back after a reorganisation."""
    if transaction.is_expired(view.now):
        return Abandon("expired before it could be sent")
    if transaction.parcels:
        if _is_blocked(view):
            return Wait()
    elif not _leaves_gap(view):
        return Abandon("not needed any more")
    fees = _better(view, rules) or first(view.base_fee, view.tip, rules.fees)
    # where the cap has no room to outbid what had the nonce, nodes that still have that refuse
    return Hold() if fees is None else Send(view.nonce, fees)


def _confirm(transaction: Transaction, mined: Mined, view: View, rules: Rules) -> Step:
    if view.head < mined.block:
        return Wait()
    if transaction.mined != mined:
        return Land(mined)
    return Finish() if view.head - mined.block >= rules.confirmations else Wait()


def _push(transaction: Transaction, view: View, rules: Rules) -> Step:
    """Bring one of ours to be mined."""
    assert transaction.nonce is not None
    if _is_superseded(transaction, view):
        return Wait()
    newest = transaction.attempts[-1]
    if transaction.is_expired(view.now):
        overdue = view.now - (transaction.expires_at or 0) >= rules.patience
        return Fill() if overdue else Wait()
    again = Wait() if view.known else Rebroadcast()
    overdue = view.now - newest.made_at >= rules.patience
    if view.nonce < transaction.nonce:
        return Fill() if overdue and not _is_covered(view) else again
    if newest.answer == "underpriced" or (overdue and newest.answer != "insufficient funds"):
        better = _better(view, rules)
        if better is not None:
            return Send(transaction.nonce, better)
        return Hold() if view.known else Rebroadcast(held=True)
    return again


def _watch(transaction: Transaction, view: View) -> Step:
    """Help one of somebody else's to be mined, who may be gone: it can't be signed anew."""
    if transaction.is_expired(view.now):
        return Abandon("its sender is gone, and it expired")
    return Wait() if view.known else Rebroadcast()


def _better(view: View, rules: Rules) -> Fees | None:
    """What to offer next, None where the cap has no room for it."""
    if view.offered is None:
        return first(view.base_fee, view.tip, rules.fees)
    return bumped(view.offered, view.base_fee, view.tip, rules.fees)


def _is_blocked(view: View) -> bool:
    """Whether something in flight has to be mined before what is planned can be sent."""
    return any(each.state == "sent" and is_in_flight(each, view.now) for each in view.others)


def _is_superseded(transaction: Transaction, view: View) -> bool:
    """Whether something later goes for the same nonce."""
    blocked = is_in_flight(transaction, view.now) or _is_blocked(view)
    return any(
        (each.state == "planned" and not (blocked and each.parcels))
        or (each.state == "sent" and each.nonce == transaction.nonce and each.id > transaction.id)
        for each in view.others
    )


def _is_covered(view: View) -> bool:
    """Whether something goes for the nonce that is next."""
    return any(
        (each.state == "planned" and not each.parcels)
        or (each.state == "sent" and each.nonce == view.nonce)
        for each in view.others
    )


def _leaves_gap(view: View) -> bool:
    """Whether something waits for the next nonce to be used, and nothing else will use it."""
    sent = [each for each in view.others if each.state == "sent"]
    waiting = any(each.nonce is not None and each.nonce >= view.nonce for each in sent)
    going = any(each.nonce == view.nonce and is_in_flight(each, view.now) for each in sent)
    planned = any(each.state == "planned" for each in view.others)
    return waiting and not going and (_is_blocked(view) or not planned)
