"""`perpool keeper status`: tables, JSON and complaints from plain values."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from perpool.keeper.operation.status import (
    Feed,
    Lease,
    Payer,
    Pool,
    Reporter,
    Status,
    Transaction,
    Vault,
    as_json,
    complaints,
    tables,
)

NOW = 1_700_000_000
HOUR = timedelta(hours=1)
HASH = "0x" + "ab" * 32
VAULT = Vault(
    "ADA keep", "carry", Decimal("0.25"), Decimal("0.5"), Decimal("0.3"), Decimal("0.04"), "", False
)
WELL = Status(
    network="sepolia",
    chain_id=11_155_111,
    time=NOW,
    block=123,
    feeds=(
        Feed("funding", "ADA", Decimal("0.1095"), NOW - 600, HOUR, Decimal("0.002")),
        Feed("price", "ADA", Decimal("1.19364"), NOW - 30, HOUR / 2),
    ),
    pools=(Pool("ADA", "reverse", NOW - 600, NOW - 600), Pool("ADA", "forward", 0, NOW - 600)),
    vaults=(VAULT, replace(VAULT, name="XRP keep", mode="lend", margin=None, state="due")),
    payers=(Payer("submitter", "0x12", Decimal(2), Decimal("0.05")),),
    lease=Lease("host-a", NOW + 20),
    has_lease=True,
    reporters=tuple(Reporter(f"0x{number}", NOW - 60) for number in range(5)),
    quorum=3,
    transactions=(Transaction(NOW - 600, "submitter", "done", "funding ADA", HASH),),
)


REFUSED = Transaction(NOW, "submitter", "refused", "price ADA", None, "it would fail: move")


def rows(status: Status) -> dict[str, list[tuple[str, ...]]]:
    return {title: found for title, _, found in tables(status)}


# -- tables --


def test_tables__all_there_is() -> None:
    assert rows(WELL) == {
        "Feeds on chain": [
            ("funding", "ADA", "10.95 %", "0.20 %", "10 min", "50 min"),
            ("price", "ADA", "1.19364", "-", "30 s", "29 min"),
        ],
        "Funding in the pools": [
            ("ADA", "reverse", "10 min ago", "0 s"),
            ("ADA", "forward", "never", f"{(NOW - 600) // 86_400} d"),
        ],
        "Carry vaults": [
            ("ADA keep", "carry", "25.00 %", "50.00 %", "30.00 %", "4.00 %", ""),
            ("XRP keep", "lend", "25.00 %", "-", "30.00 %", "4.00 %", "due"),
        ],
        "Accounts that pay": [("submitter", "0x12", "2", "0.05", "40 d")],
        "Active submitter": [("host-a", "20 s")],
        "Reporters, 3 of 5 make a round": [
            (f"0x{number}", "60 s ago", "speaks") for number in range(5)
        ],
        "Newest transactions": [
            ("10 min ago", "submitter", "done", "funding ADA", "0xabababab..abab")
        ],
    }


def test_tables__heads_fit_their_rows() -> None:
    for _, heads, found in tables(WELL):
        assert {len(heads)} == {len(row) for row in found}


def test_tables__feed_before_its_first_value() -> None:
    status = replace(WELL, feeds=(Feed("price", "ADA", None, 0, HOUR),))
    assert rows(status)["Feeds on chain"] == [("price", "ADA", "-", "-", "never", "now")]


def test_tables__overdue_says_since_when() -> None:
    status = replace(WELL, feeds=(Feed("price", "ADA", Decimal(1), NOW - 3_900, HOUR),))
    assert rows(status)["Feeds on chain"] == [("price", "ADA", "1", "-", "65 min", "5 min ago")]


def test_tables__nothing_known() -> None:
    assert tables(Status("local", 31_337, NOW)) == []


# -- JSON --


def test_json__has_what_follows() -> None:
    found = json.loads(json.dumps(as_json(WELL)))
    assert found["feeds"][0] == {
        "feed": "funding",
        "market": "ADA",
        "value": "0.1095",
        "observed_at": NOW - 600,
        "heartbeat": 3_600,
        "spread": "0.002",
        "age": 600,
        "due_in": 3_000,
    }
    assert found["pools"][0]["behind"] == 0
    assert found["payers"][0]["lasts"] == 40 * 86_400
    assert found["lease"] == {"holder": "host-a", "expires_at": NOW + 20}
    assert found["complaints"] == complaints(WELL)


# -- complaints --


def well(**changes: object) -> Status:
    return replace(WELL, **{"pools": WELL.pools[:1]} | changes)  # type: ignore[arg-type]


def test_complaints__none_when_all_is_well() -> None:
    assert complaints(well()) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (well(troubles=("no node answers",)), "no node answers"),
        (
            well(vaults=(VAULT, replace(VAULT, ltv=Decimal("0.76"), in_danger=True))),
            "ADA keep is near a liquidation: LTV 76.00 %, margin 50.00 %",
        ),
        (
            well(feeds=(Feed("price", "ADA", Decimal(1), NOW - 4_201, HOUR),)),
            "price of ADA is overdue by 10 min",
        ),
        (well(feeds=(Feed("price", "ADA", None, 0, HOUR),)), "price of ADA was never reported"),
        (well(lease=None), "nobody holds the lease: no submitter is active"),
        (well(lease=Lease("host-a", NOW)), "nobody holds the lease: no submitter is active"),
        (
            well(lease=None, lease_known=False),
            "nobody can tell who holds the lease, and whether a submitter is active",
        ),
        (
            well(pools=(Pool("ADA", "reverse", NOW - 1_300, NOW - 600),)),
            "ADA reverse: the pool's funding is 11 min behind the oracle",
        ),
        (
            well(payers=(Payer("submitter", "0x12", Decimal("0.3"), Decimal("0.05")),)),
            "the submitter's account 0x12 lasts 6 d: send it ether",
        ),
        (well(payers=(Payer("liquidator", "0x12", Decimal(0)),)), "account 0x12 is empty"),
        (
            well(
                reporters=(*WELL.reporters[:2], Reporter("0x3", None), Reporter("0x4", NOW - 601))
            ),
            "only 2 reporters speak, and a round takes 3: nothing can be reported; silent are 0x3, "
            "0x4",
        ),
        (
            well(refused=(REFUSED, replace(REFUSED, time=NOW - 600, reason="another"))),
            "the chain refused 2 rounds in the last 60 min, at last price ADA: it would fail: move",
        ),
    ],
)
def test_complaints__one(status: Status, expected: str) -> None:
    [line] = complaints(status)
    assert line.endswith(expected)


def test_complaints__within_the_grace() -> None:
    late = Feed("price", "ADA", Decimal(1), NOW - 4_200, HOUR)
    assert complaints(well(feeds=(late,))) == []


def test_complaints__no_lease_where_nobody_submits() -> None:
    assert complaints(well(lease=None, has_lease=False)) == []


def test_complaints__no_lease_on_a_chain_that_stands_still() -> None:
    assert complaints(well(lease=None, is_local=True)) == []


def test_complaints__one_refusal_may_be_a_race() -> None:
    assert complaints(well(refused=(REFUSED,))) == []


def test_silent__a_quorum_is_enough_and_the_table_says_who() -> None:
    silent = (Reporter("0x3", None), Reporter("0x4", NOW - 601))
    status = well(reporters=(*WELL.reporters[:3], *silent))
    assert complaints(status) == []
    assert rows(status)["Reporters, 3 of 5 make a round"][2:] == [
        ("0x2", "60 s ago", "speaks"),
        ("0x3", "never", "silent"),
        ("0x4", "10 min ago", "silent"),
    ]


def test_tables__lease_that_cannot_be_looked_at() -> None:
    status = well(lease=None, lease_known=False)
    assert rows(status)["Active submitter"] == [("not known", "-")]


def test_payer__lasts() -> None:
    assert Payer("submitter", "0x12", Decimal(1)).lasts is None
    assert Payer("submitter", "0x12", Decimal(1), Decimal(0)).lasts is None
    assert Payer("submitter", "0x12", Decimal(1), Decimal("0.4")).lasts == timedelta(days=2)
    assert Payer("submitter", "0x12", Decimal(10**9), Decimal("1e-9")).lasts == timedelta(days=3650)
