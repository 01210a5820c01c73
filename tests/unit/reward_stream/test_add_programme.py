"""`RewardStream.add_programme`, `programme` and `programmes_of`."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Contract, reverts
from perpool.reference.rewards import unit_of
from tests.market import ZERO_ADDRESS
from tests.pools import expect_event
from tests.rewards import BORROWERS, HOLDERS, Rewards


def add(rewards: Rewards, **changes: Any) -> Any:
    """Receipt of a programme for lenders of USDT by the owner, unless told otherwise."""
    call = {
        "source": rewards.market.reverse,
        "side": HOLDERS,
        "token": rewards.token,
        "project": rewards.project,
        "sender": rewards.market.owner,
    } | changes
    sender = call.pop("sender")
    return rewards.stream.add_programme.transact(*call.values(), sender=sender)


# --- reverts


def test_add_programme__by_anyone_else(rewards: Rewards) -> None:
    for sender in (rewards.project, rewards.market.guardian):
        with reverts("not owner"):
            add(rewards, sender=sender)


def test_add_programme__for_no_project(rewards: Rewards) -> None:
    with reverts("zero address"):
        add(rewards, project=ZERO_ADDRESS)


def test_add_programme__for_no_side_or_both(rewards: Rewards) -> None:
    for side in (0, HOLDERS | BORROWERS):
        with reverts("holders or borrowers"):
            add(rewards, side=side)


def test_add_programme__of_what_cannot_be_asked(rewards: Rewards) -> None:
    vault = rewards.evm.deploy("UsdtLike", 18)
    for source, side in ((rewards.project, HOLDERS), (vault, BORROWERS)):
        with reverts(""):
            add(rewards, source=source, side=side)


def test_add_programme__decimals(rewards: Rewards) -> None:
    strange = rewards.evm.deploy("UsdtLike", 37)
    for change in ({"source": strange}, {"token": strange}):
        with reverts("decimals above 36"):
            add(rewards, **change)


def test_add_programme__four(rewards: Rewards) -> None:
    sides = (HOLDERS, BORROWERS)
    ids = [[add(rewards, side=side).return_value for _ in range(3)] for side in sides]
    assert len({*ids[0], *ids[1]}) == 6
    for side in sides:
        with reverts("too many programmes"):
            add(rewards, side=side)
    assert rewards.stream.programmes_of(rewards.market.reverse) == [*ids[0], *ids[1]]
    # another source's are its own
    add(rewards, source=rewards.market.forward)


# --- happy


@pytest.mark.parametrize("side", [HOLDERS, BORROWERS])
def test_add_programme(rewards: Rewards, pool: Contract, side: int) -> None:
    receipt = add(rewards, side=side)
    id_ = receipt.return_value
    unit = unit_of(12)
    expect_event(
        receipt,
        "ProgrammeAdded",
        rewards.stream,
        id=id_,
        source=pool,
        token=rewards.token,
        side=side,
        project=rewards.project,
        unit=unit,
    )
    assert rewards.stream.programmes_of(pool) == [id_]
    assert rewards.stream.programmes_of(rewards.market.forward) == []
    now = rewards.evm.timestamp
    assert rewards.stream.programme(id_).as_dict() == {
        "source": pool.address,
        "side": side,
        "token": rewards.token.address,
        "project": rewards.project.address,
        "unit": unit,
        "weight": 0,
        "rate": 0,
        "updated_at": now,
        "ends_at": now,
        "unstreamed": 0,
        "held": 0,
    }


@pytest.mark.parametrize("decimals", [0, 5, 6, 7, 18, 24, 36])
def test_add_programme__unit_is_a_millionth_of_a_share(rewards: Rewards, decimals: int) -> None:
    vault = rewards.evm.deploy("UsdtLike", decimals)
    unit = rewards.stream.programme(rewards.add(vault)).unit
    assert unit == unit_of(decimals)
    millionth = 10 ** max(decimals - 6, 0)
    assert millionth / 2 < unit <= millionth
