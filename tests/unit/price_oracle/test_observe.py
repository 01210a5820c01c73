"""`observe` and `volatility`."""

from __future__ import annotations

import math
import random

import pytest

from perpool.evm import Contract, reverts
from perpool.reference.oracle import UNKNOWN_VOLATILITY, Volatility
from tests.unit.price_oracle.conftest import ANSWER, MAX_AGE, WAD

HOUR = 3_600
WINDOW = 72 * HOUR


def step(market, oracle: Contract, model: Volatility, seconds: int, answer: int) -> None:
    """Go on, answer, observe, and compare with the model."""
    market.evm.warp(seconds)
    with market.evm.same_block():
        market.feed.set(answer)
        taken = oracle.observe()
    now = market.evm.timestamp
    assert taken == model.observe(now, oracle.liquidation_price())
    assert oracle.volatility() == model.volatility(now)


def test_observe__stale(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        oracle.observe()


def test_observe__out_of_range(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set(0)
    with reverts("price out of range"):
        oracle.observe()


def test_observe__too_recent(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    assert oracle.observe() is True
    last = evm.timestamp
    for late, taken in ((1_799, False), (1_800, True)):
        evm.warp(last + late - evm.timestamp)
        receipt = oracle.observe.transact()
        assert receipt.return_value is taken
        assert len(receipt.logs) == taken


def test_observe__first(market, evm) -> None:
    oracle = market.oracle()
    receipt = oracle.observe.transact(sender=evm.account("anyone"))
    (event,) = receipt.logs
    assert event.name == "Observed"
    assert tuple(event.args) == (10 * market.one_e36, 0, 0)
    assert oracle.volatility() == UNKNOWN_VOLATILITY


def test_observe__equals_the_reference(market, evm) -> None:
    rng = random.Random(market.token.decimals())
    oracle, model, answer = market.oracle(), Volatility(), ANSWER
    for _ in range(60):
        answer = max(ANSWER // 100, min(ANSWER * 100, int(answer * math.exp(rng.gauss(0, 0.03)))))
        step(market, oracle, model, rng.choice([HOUR, HOUR, 1_800, 600, 8 * HOUR, 11_111]), answer)
    assert 0 < oracle.volatility() < UNKNOWN_VOLATILITY


def test_observe__finds_the_volatility_of_a_random_walk(plain_market, evm) -> None:
    # 1 % an hour is 93.6 % a year
    rng = random.Random(7)
    oracle, model, answer = plain_market.oracle(), Volatility(), ANSWER
    for _ in range(145):
        answer = int(answer * math.exp(rng.gauss(0, 0.01)))
        step(plain_market, oracle, model, HOUR, answer)
    assert 0.8 * WAD < oracle.volatility() < 1.1 * WAD


def test_observe__sees_a_crash_at_once(plain_market, evm) -> None:
    oracle, model = plain_market.oracle(), Volatility()
    for hour in range(80):
        step(plain_market, oracle, model, HOUR, ANSWER + hour % 2 * ANSWER // 200)
    assert oracle.volatility() < 0.5 * WAD
    # the worst hour by closes
    step(plain_market, oracle, model, HOUR, ANSWER * 74 // 100)
    assert oracle.volatility() > 3 * WAD


@pytest.mark.parametrize("often", [1_800, 2 * HOUR, 8 * HOUR])
def test_observe__looking_more_or_less_often_does_not_bias_it(plain_market, evm, often) -> None:
    # steps of the price every half hour, seen by observers of different diligence
    rng = random.Random(11)
    oracle, answer = plain_market.oracle(), float(ANSWER)
    samples = []
    for half_hour in range(16 * 48):
        answer *= math.exp(rng.choice([-1, 1]) * 0.007)
        evm.warp(1_800)
        if (half_hour + 1) * 1_800 % often == 0:
            with evm.same_block():
                plain_market.feed.set(int(answer))
                assert oracle.observe()
            if half_hour > 4 * 48:
                samples.append(int(oracle.volatility()) ** 2)
    true = 0.007 * math.sqrt(2 * 24 * 365)
    found = math.sqrt(sum(samples) / len(samples)) / WAD
    assert abs(found / true - 1) < (0.01 if often == 1_800 else 0.25)


def test_observe__spamming_changes_nothing(plain_market, evm) -> None:
    patient, spammed = plain_market.oracle(), plain_market.oracle()
    taken = 0
    for minute in range(0, 80 * 60, 10):
        evm.warp(600)
        with evm.same_block():
            plain_market.feed.set(ANSWER + minute % 70 * ANSWER // 1_000)
            accepted = spammed.observe()
            taken += accepted
            if accepted:
                patient.observe()
    assert taken == 160
    assert spammed.volatility() == patient.volatility() < UNKNOWN_VOLATILITY


# -- when it is unknown --


def test_volatility__before_an_observation(plain_market, evm) -> None:
    assert plain_market.oracle().volatility() == UNKNOWN_VOLATILITY


def test_volatility__until_a_window_is_covered(plain_market, evm) -> None:
    oracle, model = plain_market.oracle(), Volatility()
    step(plain_market, oracle, model, 0, ANSWER)
    for covered in range(8, 80, 8):
        step(plain_market, oracle, model, 8 * HOUR, ANSWER + covered)
        assert (oracle.volatility() == UNKNOWN_VOLATILITY) == (covered < 72)


def test_volatility__after_a_silence(plain_market, evm) -> None:
    oracle, model = plain_market.oracle(), Volatility()
    for hour in range(74):
        step(plain_market, oracle, model, HOUR, ANSWER + hour)
    last = evm.timestamp
    known = oracle.volatility()
    evm.warp(12 * HOUR)
    assert oracle.volatility() == known == model.volatility(last + 12 * HOUR)
    evm.warp(1)
    assert oracle.volatility() == UNKNOWN_VOLATILITY == model.volatility(last + 12 * HOUR + 1)
    # one observation and it is known again
    step(plain_market, oracle, model, HOUR, ANSWER)
    assert oracle.volatility() < UNKNOWN_VOLATILITY


@pytest.mark.parametrize("gap", [WINDOW, WINDOW + 1])
def test_volatility__after_a_gap(plain_market, evm, gap: int) -> None:
    oracle, model = plain_market.oracle(), Volatility()
    for hour in range(74):
        step(plain_market, oracle, model, HOUR, ANSWER + hour)
    step(plain_market, oracle, model, gap, ANSWER)
    assert (oracle.volatility() == UNKNOWN_VOLATILITY) == (gap > WINDOW)


def test_volatility__of_a_price_that_stands_still(plain_market, evm) -> None:
    oracle, model = plain_market.oracle(), Volatility()
    for _ in range(74):
        step(plain_market, oracle, model, HOUR, ANSWER)
    assert oracle.volatility() == 0


def test_volatility__saturates(plain_market, evm) -> None:
    source = (plain_market.feed.address, MAX_AGE, 1, 2**187 // 10**16)
    none = ("0x" + 40 * "0", 0, 0)
    oracle = evm.deploy(
        "PriceOracle", plain_market.token, plain_market.usdt, source, (*none, 0), none
    )
    model = Volatility()
    for half_hour in range(150):
        answer = 1 if half_hour % 2 else 2**187 // 10**16
        step(plain_market, oracle, model, 1_800, answer)
    assert oracle.volatility() == (2**40 - 1) * 10**9
