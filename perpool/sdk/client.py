"""The way in: `Perpool.connect`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from perpool.abi import load_abi
from perpool.build import repository_root
from perpool.chain import Chain, ChainError, Contract
from perpool.deployment.record import Record, RecordError
from perpool.evm.codec import canonical, checksum
from perpool.sdk.context import MarketContext, Token
from perpool.sdk.errors import PerpoolError, UnknownMarketError, UnknownVaultError
from perpool.sdk.model import BorrowQuote, Position, ShortQuote
from perpool.sdk.perp import PerpVenue
from perpool.sdk.pools import ForwardPool, ReversePool
from perpool.sdk.rewards import Rewards
from perpool.sdk.units import Amount
from perpool.sdk.vaults import CarryVault, VaultPosition

LOCAL_RPC_URL = "http://127.0.0.1:8545"
_DECIMALS = "0x313ce567"


T = TypeVar("T")


class _Named(Mapping[str, T]):
    """Things by name, whatever its case."""

    kind: ClassVar[str]
    error: ClassVar[type[PerpoolError]]

    def __init__(self, found: Mapping[str, T]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> T:
        for known, each in self._found.items():
            if known.lower() == name.lower():
                return each
        all_known = ", ".join(self._found) or "none"
        raise self.error(f"there is no {self.kind} {name} here; there are: {all_known}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Vaults(_Named[CarryVault]):
    """Carry vaults of a market by name."""

    kind = "vault"
    error = UnknownVaultError


@dataclass(frozen=True)
class Market:
    """A token with its two pools, and the carry vaults over them."""

    symbol: str
    reverse: ReversePool
    forward: ForwardPool
    vaults: Vaults = field(default_factory=lambda: Vaults({}))
    venue: PerpVenue | None = None
    """Ours, on local chains and test networks."""

    def positions(self, account: Any) -> list[Position]:
        """An account in both pools, empty ones left out."""
        found = [pool.position(account) for pool in (self.reverse, self.forward)]
        return [each for each in found if not each.is_empty]

    def vault_positions(self, account: Any) -> list[VaultPosition]:
        """An account in all vaults, those left out where it has nothing."""
        found = [vault.position(account) for vault in self.vaults.values()]
        return [each for each in found if not each.is_empty]

    def quote_borrow(self, usdt_amount: Amount, **options: Any) -> BorrowQuote:
        """See `ReversePool.quote_borrow`."""
        return self.reverse.quote_borrow(usdt_amount, **options)

    def quote_short(self, token_amount: Amount, **options: Any) -> ShortQuote:
        """See `ForwardPool.quote_short`."""
        return self.forward.quote_short(token_amount, **options)


class Markets(_Named[Market]):
    """Markets by symbol."""

    kind = "market"
    error = UnknownMarketError


class Perpool:
    """One deployment on one chain.

    perpool = Perpool.connect("sepolia")
    perpool.markets["ADA"].reverse.status().rates.borrow
    """

    def __init__(self, chain: Chain, record: Record) -> None:
        """Raises PerpoolError where chain and record do not belong together."""
        if record.chain_id != chain.chain_id:
            raise PerpoolError(
                f"{record.path} is of chain {record.chain_id}, the node of chain {chain.chain_id}: "
                "name the other node or the other deployment"
            )
        self.chain = chain
        self.record = record
        lens = self._address("Lens")
        if not chain.code(lens):
            raise PerpoolError(
                f"there is no code at {lens}, the lens of {record.path}: the chain was started "
                "anew or the node is behind; deploy again, or name the other deployment"
            )
        self.lens = chain.contract(load_abi("Lens"), lens)
        self.factory = chain.contract(load_abi("PoolFactory"), self._address("PoolFactory"))
        self.operators = chain.contract(load_abi("Operators"), self._address("Operators"))
        self.markets = Markets(
            {symbol: self._market(symbol, entry) for symbol, entry in record.markets.items()}
        )
        self.rewards = self._rewards()

    @classmethod
    def connect(
        cls, where: str = "local", *, deployment: str | Path | None = None, timeout: float = 60
    ) -> Perpool:
        """Connect to a network by name, or to a node by its URL or IPC socket.

        A name is that of `deployments/<name>.json`, and its node is $<NAME>_RPC_URL, for "local"
        http://127.0.0.1:8545 where that is not set. With a URL the deployment is the one of the
        node's chain. `deployment` names another file. Raises PerpoolError.
        """
        is_endpoint = "://" in where or "/" in where
        endpoint = where if is_endpoint else _endpoint_of(where)
        try:
            chain = Chain.connect(endpoint, timeout=timeout)
            if deployment is not None:
                record = Record.read(Path(deployment))
            elif is_endpoint:
                record = _record_of_chain(chain.chain_id)
            else:
                record = Record.read(deployments_folder() / f"{where}.json")
            return cls(chain, record)
        except (ChainError, RecordError) as error:
            raise PerpoolError(str(error)) from error

    def positions(self, account: Any) -> list[Position]:
        """An account in all markets, empty positions left out."""
        return [each for market in self.markets.values() for each in market.positions(account)]

    def vault_positions(self, account: Any) -> list[VaultPosition]:
        """An account in the vaults of all markets, those left out where it has nothing."""
        markets = self.markets.values()
        return [each for market in markets for each in market.vault_positions(account)]

    @cached_property
    def _carry_lens(self) -> Contract:
        return self.chain.contract(load_abi("CarryLens"), self._address("CarryLens"))

    def _address(self, name: str) -> str:
        address = self.record.address(name)
        if address is None:
            raise PerpoolError(
                f"{self.record.path} has no {name}: finish the deployment (`ape run deploy`)"
            )
        return address

    def _market(self, symbol: str, entry: Mapping[str, Any]) -> Market:
        context = MarketContext(
            chain=self.chain,
            symbol=symbol,
            lens=self.lens,
            token=self._token(entry["token"], symbol),
            usdt=self._token(entry["usdt"], "USDT"),
            swapper=self._address("UniswapV3Swapper"),
            route=tuple(entry["route"]),
        )
        # deployments before there were vaults say nothing of them
        venue, vaults = entry.get("venue"), entry.get("vaults", {})
        return Market(
            symbol,
            ReversePool(context, entry["reverse"]),
            ForwardPool(context, entry["forward"]),
            Vaults(
                {
                    name: CarryVault(context, name, vault, self._carry_lens)
                    for name, vault in vaults.items()
                }
            ),
            None if venue is None else PerpVenue(context, venue),
        )

    def _rewards(self) -> Rewards:
        sources, tokens = {}, {}
        for symbol, market in self.markets.items():
            for pool in (market.reverse, market.forward):
                sources[f"{symbol} {pool.leg}"] = pool.address
                tokens[pool.asset.address] = pool.asset
            for name, vault in market.vaults.items():
                sources[f"{symbol} {name}"] = vault.address
        address = self.record.address("RewardStream")
        return Rewards(self.chain, address, sources, tokens)

    def _token(self, address: str, symbol: str) -> Token:
        answer = self.chain.rpc("eth_call", {"to": address, "data": _DECIMALS}, "latest")
        return Token(checksum(canonical(address)), symbol, int(answer, 16))


def deployments_folder() -> Path:
    """Where deployments are recorded: below the working directory, else the repository's."""
    here = Path.cwd() / "deployments"
    return here if here.is_dir() else repository_root() / "deployments"


def _endpoint_of(network: str) -> str:
    variable = f"{network.upper().replace('-', '_')}_RPC_URL"
    endpoint = os.environ.get(variable)
    if endpoint is None and network == "local":
        return LOCAL_RPC_URL
    if endpoint is None:
        raise PerpoolError(
            f"set {variable} to a node of {network}, or pass the node's URL instead of the name"
        )
    return endpoint


def _record_of_chain(chain_id: int) -> Record:
    folder = deployments_folder()
    records = [Record.read(path) for path in sorted(folder.glob("*.json"))]
    found = [record for record in records if record.chain_id == chain_id]
    if len(found) == 1:
        return found[0]
    if not found:
        raise PerpoolError(
            f"there is no deployment on chain {chain_id} in {folder}: deploy (`ape run deploy`), "
            "or name the file"
        )
    names = ", ".join(str(record.path) for record in found)
    raise PerpoolError(f"several deployments are on chain {chain_id}, name one: {names}")
