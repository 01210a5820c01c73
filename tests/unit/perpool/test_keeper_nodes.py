"""What nodes say to a transaction, and how they are named; the rest of it is tested on anvil."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perpool.keeper.chain.endpoint import classify, name_endpoints
from perpool.keeper.chain.nodes import Nodes, NodesError, SendAnswer
from perpool.keeper.metrics import Metrics
from perpool.keeper.operation import assembly
from perpool.keeper.operation.config import KeeperConfig
from perpool.keeper.operation.place import open_nodes
from perpool.keeper.operation.sections import LiquidatorSection, SubmitterSection
from perpool.keeper.transactions.fees import GWEI, FeePolicy


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        # geth and its relatives
        ("known", "already known"),
        ("known", "known transaction: 7f657507aee0511e36d2d1972a6b22e917cc89f92b6c12c4"),
        ("underpriced", "transaction underpriced"),
        ("underpriced", "replacement transaction underpriced"),
        ("underpriced", "replacement transaction underpriced: new tx gas fee cap 1 <= 2 queued"),
        ("underpriced", "transaction gas price below minimum: gas tip cap 1, minimum needed 9"),
        ("underpriced", "max fee per gas less than block base fee: address 0x1, baseFee: 9"),
        ("nonce too low", "nonce too low: address 0x336394A3219e71D9, tx: 8089 state: 8090"),
        ("insufficient funds", "insufficient funds for gas * price + value: balance 0, tx cost 9"),
        ("insufficient funds", "insufficient funds for transfer"),
        ("refused", "nonce too high"),
        ("refused", "intrinsic gas too low"),
        ("refused", "exceeds block gas limit"),
        ("refused", "tx fee (1.10 ether) exceeds the configured cap (1.00 ether)"),
        ("refused", "txpool is full"),
        # erigon
        ("known", "INTERNAL_ERROR: existing tx with same hash"),
        ("underpriced", "INTERNAL_ERROR: could not replace existing tx"),
        ("underpriced", "fee too low"),
        # besu
        ("known", "Known transaction"),
        ("underpriced", "Gas price below configured minimum gas price"),
        ("insufficient funds", "Upfront cost exceeds account balance"),
        # nethermind
        ("known", "AlreadyKnown"),
        ("underpriced", "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 50, BaseFee: 100"),
        ("underpriced", "FeeTooLowToCompete"),
        ("underpriced", "ReplacementNotAllowed"),
        ("nonce too low", "OldNonce, Current nonce: 22, nonce of rejected tx: 17"),
        ("insufficient funds", "InsufficientFunds, Account balance: 0"),
        # anvil
        ("known", "transaction already imported"),
        ("insufficient funds", "Insufficient funds for gas * price + value"),
        # others
        ("underpriced", "gas price too low: 18000000000 wei, use at least 19500000000 wei"),
        ("known", "submit transaction to pool failed: Pool(AlreadyImported)"),
        ("nonce too low", "submit transaction to pool failed: Pool(Stale)"),
    ],
)
def test_classify(kind: str, text: str) -> None:
    answer = classify(text)
    assert (answer.kind, answer.text) == (kind, text)
    assert answer.taken == (kind == "known")


def test_send_answer__accepted_is_taken() -> None:
    assert SendAnswer("accepted").taken
    assert not SendAnswer("no answer").taken


def test_names__hosts_without_what_is_secret() -> None:
    urls = [
        "https://user:HUSH@eth.example/v3/HUSH?key=HUSH",
        "https://eth.example/another",
        "http://127.0.0.1:8545",
        "/run/geth.ipc",
        "https://eth.example/third",
    ]
    names = name_endpoints(urls)
    assert names == [
        "eth.example",
        "eth.example#2",
        "127.0.0.1:8545",
        "/run/geth.ipc",
        "eth.example#3",
    ]


@pytest.mark.parametrize("url", ["ws://HUSH.example/HUSH", "https://", "ftp://a/HUSH"])
def test_nodes__urls_of_other_kinds(url: str) -> None:
    with pytest.raises(NodesError, match="give http") as caught:
        Nodes([url])
    assert "HUSH" not in str(caught.value)


def test_nodes__none() -> None:
    with pytest.raises(NodesError, match="name one at least"):
        Nodes([])


@pytest.mark.parametrize(("count", "agreeing"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_min_agreeing__half_by_default(count: int, agreeing: int) -> None:
    assert Nodes([f"http://{n}.example" for n in range(count)]).min_agreeing == agreeing


@pytest.mark.parametrize("agreeing", [0, 3])
def test_min_agreeing__out_of_bounds(agreeing: int) -> None:
    with pytest.raises(NodesError, match="2 nodes allow 1 to 2"):
        Nodes(["http://a.example", "http://b.example"], min_agreeing=agreeing)


# -- what the configuration says of them --


def test_settings__reach_the_nodes() -> None:
    config = KeeperConfig(
        network="sepolia",
        rpc=["http://a.example", "http://b.example"],
        min_agreeing=2,
        max_lag_blocks=20,
        submitter=SubmitterSection(account="keystore:key.json"),
    )
    nodes = open_nodes(config, 1, lambda: 0)
    assert (nodes.min_agreeing, nodes.max_lag_blocks) == (2, 20)


@pytest.mark.parametrize("section", [SubmitterSection, LiquidatorSection])
def test_settings__reach_the_outbox(section: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def outbox(nodes: Any, journal: Any, wallet: Any, fees: FeePolicy, **rest: Any) -> Any:
        return SimpleNamespace(fees=fees, bind=lambda: None)

    monkeypatch.setattr(assembly, "Outbox", outbox)
    place: Any = SimpleNamespace(
        nodes=None,
        metrics=Metrics(),
        clock=None,
        anchor=0,
        journal=lambda lane: None,
    )
    settings: Any = {"account": "keystore:key.json", "max_gas": 2_000_000, "max_fee": "9 gwei"}
    if section is LiquidatorSection:
        settings["ether_price"] = 2_500
    wallet: Any = None
    made: Any = assembly._outbox(
        place,
        "lane",
        section(**settings),
        wallet,
        unmet=lambda intents, head: [],
        multicall=None,
    )
    assert made.fees.max_gas == 2_000_000
    assert made.fees.max_fee == 9 * GWEI
