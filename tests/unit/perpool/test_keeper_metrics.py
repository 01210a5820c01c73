"""The keeper's figures, and whether it is well."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from prometheus_client import Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from perpool.keeper.health import Health
from perpool.keeper.metrics import PREFIX, Metrics

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOW = 1_700_000_000


class Steady:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def steady() -> Steady:
    return Steady()


@pytest.fixture
def health(steady: Steady) -> Health:
    return Health(
        grace=timedelta(minutes=10), periods=5, patience=timedelta(seconds=20), steady=steady
    )


# -- metrics --


def figures(metrics: Metrics) -> dict[str, Counter | Gauge]:
    return {
        name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge)
    }


def test_metrics__attributes_are_the_names() -> None:
    exported = {family.name.removeprefix(PREFIX) for family in Metrics().registry.collect()}
    named = set(figures(Metrics()))
    units = re.compile(r"_(usdt|ether|seconds|timestamp_seconds)$")
    assert {units.sub("", each) for each in exported} == {units.sub("", each) for each in named}


def test_metrics__every_one_is_explained() -> None:
    for family in Metrics().registry.collect():
        assert family.name.startswith(PREFIX)
        assert re.fullmatch(r"\S.{10,}\.", family.documentation), family


def test_metrics__text_can_be_read_back() -> None:
    metrics = Metrics()
    metrics.feed_observed.labels("funding", "ADA").set(NOW)
    metrics.left_out.labels("ADA", "okx", "stale").inc()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }
    observed = PREFIX + "feed_observed_timestamp_seconds"
    assert samples[observed, ("feed", "funding"), ("market", "ADA")] == NOW
    left_out = (PREFIX + "left_out_total", ("kind", "stale"), ("market", "ADA"), ("venue", "okx"))
    assert samples[left_out] == 1


def test_metrics__each_has_its_own_registry() -> None:
    first, second = Metrics(), Metrics()
    first.journal_errors.inc()
    assert b"journal_errors_total 1.0" in first.text()
    assert b"journal_errors_total 0.0" in second.text()


def values(metrics: Metrics, name: str, label: str) -> dict[str, float]:
    """A figure's values by one of its labels."""
    return {
        sample.labels[label]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == PREFIX + name
    }


def test_expect__what_alerts_count_begins_at_0() -> None:
    metrics = Metrics()
    metrics.expect_role("reporter")
    metrics.expect_lane("submitter")
    metrics.expect_rounds()
    metrics.expect_liquidations()
    assert values(metrics, "role_errors_total", "role") == {"reporter": 0}
    assert values(metrics, "role_ticked_timestamp_seconds", "role")["reporter"] > NOW
    assert values(metrics, "held", "lane") == {"submitter": 0}
    assert values(metrics, "in_flight_seconds", "lane") == {"submitter": 0}
    assert values(metrics, "transactions_total", "outcome") == dict.fromkeys(
        ["failed", "refused", "reverted", "short of funds", "unmet"], 0
    )
    assert values(metrics, "rounds_total", "feed") == dict.fromkeys(
        ["funding", "price", "sync", "observe"], 0
    )
    assert values(metrics, "liquidations_total", "leg") == {"reverse": 0, "forward": 0}
    assert values(metrics, "refused_reports_total", "reason")["malformed"] == 0


def test_seat__whoever_is_there_can_be_counted_and_nobody_else_is_shown() -> None:
    metrics = Metrics()
    metrics.seat(["0x1", "0x2"])
    for each in ("0x1", "0x2"):
        metrics.report_observed.labels(each).set(NOW)
    metrics.equivocations.labels("0x1").inc()
    assert values(metrics, "equivocations_total", "reporter") == {"0x1": 1, "0x2": 0}
    metrics.seat(["0x1", "0x3"])
    assert values(metrics, "equivocations_total", "reporter") == {"0x1": 1, "0x3": 0}
    assert set(values(metrics, "report_observed_timestamp_seconds", "reporter")) == {"0x1"}


# -- health: roles --


def test_health__nothing_to_do_is_well(health: Health) -> None:
    assert health.check(NOW) == []


def test_health__role_that_never_ticked(health: Health, steady: Steady) -> None:
    health.expect("reporter", MINUTE)
    steady.time = 300
    assert health.check(NOW) == []
    steady.time = 301
    assert health.check(NOW) == ["role reporter: no good tick for 301 s, due every 60 s"]


def test_health__role_that_ticks_again_is_well_again(health: Health, steady: Steady) -> None:
    health.expect("reporter", MINUTE)
    steady.time = 1_000
    health.ticked("reporter")
    assert health.check(NOW) == []


def test_health__fast_role_gets_patience(health: Health, steady: Steady) -> None:
    health.expect("liquidator", timedelta(seconds=1))
    steady.time = 20
    assert health.check(NOW) == []
    steady.time = 21
    assert len(health.check(NOW)) == 1


def test_health__roles_are_not_of_the_chain_s_time(health: Health) -> None:
    health.expect("submitter", MINUTE)
    health.ticked("submitter")
    assert health.check(NOW + 1_000_000) == []


# -- health: feeds --


def test_health__feed_overdue(health: Health) -> None:
    health.feed("funding", "ADA", NOW, HOUR)
    assert health.check(NOW + 3_600 + 600) == []
    assert health.check(NOW + 3_600 + 601) == ["funding of ADA: 4201 s old, due every 3600 s"]
    health.feed("funding", "ADA", NOW + 4_000, HOUR)
    assert health.check(NOW + 3_600 + 601) == []


def test_health__feed_that_never_was(health: Health) -> None:
    health.feed("price", "ADA", 0, HOUR)
    assert health.check(NOW) == ["price of ADA: never reported"]


# -- health: parts --


def test_health__trouble_until_it_is_over(health: Health) -> None:
    health.trouble("nodes", "none of 2 answers")
    health.trouble("journal", "disk full")
    assert health.check(NOW) == ["journal: disk full", "nodes: none of 2 answers"]
    health.trouble("nodes", None)
    assert health.check(NOW) == ["journal: disk full"]
    health.trouble("nodes", None)


def test_health__all_reasons_at_once(health: Health, steady: Steady) -> None:
    health.expect("reporter", MINUTE)
    health.feed("price", "ADA", 0, HOUR)
    health.trouble("lease", "unknown")
    steady.time = 1_000
    assert [reason.split(":")[0] for reason in health.check(NOW)] == [
        "role reporter",
        "price of ADA",
        "lease",
    ]
