"""A chain with the protocol on it as the deployment makes it, and keys for whoever keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

from perpool.anvil import Anvil
from perpool.chain import Chain
from perpool.deployment import ChainSender, Deployment, Record, parse_config

MARKETS = ("ADA", "XRP")
REPORTERS = 5
QUORUM = 3


def key(name: str) -> LocalAccount:
    """An actor's key."""
    return Account.from_key(keccak(text=f"keeper stage {name}"))


@dataclass(frozen=True)
class Stage:
    """The chain and what is on it. It mines only when told to."""

    anvil: Anvil
    chain: Chain
    record: Record

    @classmethod
    def set_up(cls, anvil: Anvil, folder: Path, markets: Sequence[str] = MARKETS) -> Stage:
        """Deploy markets whose prices the reporters sign."""
        chain = Chain.connect(anvil.endpoint)
        leg = {"min_debt": 10, "supply_cap": "none", "debt_cap": "none"}
        market = {
            "price": {"signed": {}, "max_age": "1h", "min": "0.001", "max": "1000"},
            "route": {"fees": ["0.05%"]},
            "reverse": leg | {"collateral_cap": "none"},
            "forward": leg | {"block_cap": "none"},
        }
        config = parse_config(
            {
                "chain_id": chain.chain_id,
                "owner": "deployer",
                "guardian": key("guardian").address,
                "usdt": "USDT",
                "uniswap": {"test": True},
                "test_tokens": {
                    "USDT": {"decimals": 6, "kind": "usdt_like"},
                    **{name: {"decimals": 18} for name in markets},
                },
                "reporters": {
                    "addresses": [key(f"reporter {n}").address for n in range(REPORTERS)],
                    "quorum": QUORUM,
                },
                "markets": {name: {"token": name} | market for name in markets},
            }
        )
        owner = ChainSender(chain, chain.default)
        record = Deployment(config, owner, folder / "stage.json").run().record
        for name in ("first", "second"):
            chain.set_balance(key(f"submitter {name}").address, 10**20)
        chain.rpc("evm_setAutomine", False)
        return cls(anvil, chain, record)
