"""What a round costs: 14,000 gas a token is the bar for five reporters and twenty tokens."""

from __future__ import annotations

import random

import pytest

from tests.oracles import token_list
from tests.unit.funding_oracle.conftest import LOWER, TAU, UNIT, UPPER

TOKENS = 20


@pytest.mark.parametrize(
    ("missing", "bar"), [(0.0, 11_500), (0.1, 13_000)], ids=["all values", "a tenth missing"]
)
def test_submit__costs_little(bench, evm, missing: float, bar: int) -> None:
    rng = random.Random(1)
    tokens = token_list(evm, TOKENS)
    for token in tokens:
        bench.oracle.set_feed(token, LOWER * UNIT, UPPER * UNIT, TAU, sender=bench.owner)
    for _ in range(3):
        evm.warp(3_600)
        rates = [
            [None if rng.random() < missing else int(rng.gauss(0.1, 0.3) * 10**9) for _ in tokens]
            for _ in range(5)
        ]
        data = bench.panel.funding_round(evm.timestamp, tokens, rates)
        receipt = bench.oracle.submit.transact(*data)
        # base, calldata, signatures, storage and the event
        assert receipt.gas_used < bar * TOKENS
