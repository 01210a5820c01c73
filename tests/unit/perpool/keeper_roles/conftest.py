"""A setting to each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perpool.evm import Evm
from perpool.keeper.chain.contracts import Contracts, MarketAddresses
from perpool.keeper.mailbox import open_mailbox
from perpool.keeper.replay import EvmReader, deploy_oracle, reporter_keys
from perpool.keeper.statements import Statements
from perpool.reports import ordered
from tests.unit.perpool.keeper_roles.setting import NOW, TOKENS, WAD, SaidVenues, Setting


@pytest.fixture
def setting() -> Iterator[Setting]:
    evm = Evm(timestamp=NOW)
    keys = reporter_keys(4)
    oracle = deploy_oracle(evm, keys[:3], list(TOKENS.values()))
    feed = evm.deploy("PriceFeed", TOKENS["ADA"], "ADA / USDT", 3_600, 60, WAD // 5)
    feed.set_reporters(ordered(each.address for each in keys[:3]), 3)
    markets = {
        "XRP": MarketAddresses(TOKENS["XRP"]),
        "ADA": MarketAddresses(TOKENS["ADA"], price_feed=feed.address),
    }
    contracts = Contracts(EvmReader(evm), oracle.address, markets)
    mailbox = open_mailbox("sqlite://", evm.chain_id, oracle.address)
    statements = Statements(None, "test")
    evm.warp(NOW + 60 - evm.timestamp)
    yield Setting(evm, oracle, feed, contracts, keys, SaidVenues(), mailbox, statements)
    mailbox.close()
    statements.close()
