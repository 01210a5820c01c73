"""Nodes that refuse, leave out or lie: what a proxy makes of an honest node's answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perpool.chain import Chain
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.transactions.fees import GWEI
from tests.integration.lane_on_anvil import key
from tests.rpc_proxy import RpcProxy

TIMEOUT = timedelta(seconds=1)
KEY = key("keeper")


def connect(*proxies: RpcProxy, **options: object) -> Nodes:
    options = {"timeout": TIMEOUT, **options}
    return Nodes([each.url for each in proxies], **options)  # type: ignore[arg-type]


Rewrite = Callable[[str, list[Any], dict[str, Any]], dict[str, Any]]


def refusing(
    method: str,
    message: str = "no more than 4 blocks at once",
    *,
    most_blocks: int = 0,
    code: int = -32_000,
) -> Rewrite:
    """A node that answers one method with an error, logs of up to so many blocks excepted."""

    def rewrite(asked: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked != method:
            return answer
        if method == "eth_getLogs":
            blocks = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
            if blocks <= most_blocks:
                return answer
        return {**answer, "result": None, "error": {"code": code, "message": message}}

    return rewrite


def answering(method: str, result: object) -> Rewrite:
    """A node that answers one method with the same whatever is asked."""

    def rewrite(asked: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "result": result} if asked == method else answer

    return rewrite


def without_logs(method: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A node that leaves all events out."""
    return {**answer, "result": []} if method == "eth_getLogs" else answer


def signed(chain: Chain, nonce: int, gwei: int = 5) -> bytes:
    """A transfer of nothing to nobody."""
    transaction = {
        "type": 2,
        "chainId": chain.chain_id,
        "nonce": nonce,
        "to": key("somebody").address,
        "gas": 21_000,
        "maxFeePerGas": gwei * GWEI,
        "maxPriorityFeePerGas": gwei * GWEI,
    }
    return bytes(KEY.sign_transaction(transaction).raw_transaction)
