"""Rewards that projects stream to lenders, borrowers and holders of vaults.

perpool.rewards.programmes()
perpool.rewards.of(key.address)
perpool.rewards.claim(account=key.address).send(key)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from perpool.abi import load_abi
from perpool.chain import Chain
from perpool.evm import Reverted
from perpool.evm.codec import FunctionAbi, canonical, checksum
from perpool.sdk.actions import Action
from perpool.sdk.context import Token
from perpool.sdk.errors import ActionError
from perpool.sdk.units import from_wad, moment, ratio

SIDES = {1: "holders", 2: "borrowers"}
"""The flags of IHook.Side."""
MOST_CLAIMS = 16
"""Programmes that one call of `claim` takes."""
_DAY = 86_400
_LONGEST_SYMBOL = 20


@dataclass(frozen=True)
class Programme:
    """One token, streamed to one side of one pool or vault."""

    id: int
    source: str
    """Such as "ADA reverse" or "ADA keep"."""
    side: str
    """"holders" of shares, or "borrowers"."""
    token: str
    """Symbol."""
    token_address: str
    project: str
    """Who funds it."""
    a_day: Decimal
    """Tokens streamed to all together, as long as it lasts."""
    ends_at: datetime | None
    """None where nothing was streamed yet."""
    unstreamed: Decimal
    """Tokens that are still to come."""


@dataclass(frozen=True)
class Reward:
    """What an account has of a programme."""

    account: str
    market: str
    programme: Programme
    earned: Decimal
    """Tokens to be claimed now."""
    share: Decimal
    """Of what is streamed."""

    @property
    def is_empty(self) -> bool:
        """Whether it neither has nor earns anything."""
        return not (self.earned or self.share)


class Rewards:
    """The reward stream of a deployment, where it has one."""

    def __init__(
        self,
        chain: Chain,
        address: str | None,
        sources: Mapping[str, str],
        tokens: Mapping[str, Token],
    ) -> None:
        """`sources` are pools and vaults by name, `tokens` those that are known by address."""
        self.chain = chain
        self.address = address
        self.sources = dict(sources)
        self._tokens = dict(tokens)
        self._contract = (
            None if address is None else chain.contract(load_abi("RewardStream"), address)
        )

    def programmes(self) -> list[Programme]:
        """Of all pools and vaults."""
        return [each for each, _ in self._programmes()]

    def of(self, account: Any) -> list[Reward]:
        """What an account has of each programme, those left out that it has no part in."""
        found, stream = self._programmes(), self._contract
        if stream is None or not found:
            return []
        who = checksum(canonical(account))
        ids = [programme.id for programme, _ in found]
        answers = self.chain.read(
            [
                stream.function(name).bind(id_, who)
                for id_ in ids
                for name in ("earned", "weight_of")
            ]
        )
        rewards = []
        for index, (programme, weight) in enumerate(found):
            earned, mine = answers[2 * index : 2 * index + 2]
            amount = self._token(programme.token_address).amount(earned)
            share = ratio(Decimal(mine), Decimal(weight)) if weight else Decimal(0)
            market = programme.source.partition(" ")[0]
            rewards.append(Reward(who, market, programme, amount, share))
        return [each for each in rewards if not each.is_empty]

    def claim(self, *, account: Any) -> Action:
        """Take what an account has earned, of 16 programmes at most.

        Raises ActionError where that is nothing.
        """
        text = "rewards: claim"
        earned = [each for each in self.of(account) if each.earned][:MOST_CLAIMS]
        if self._contract is None or not earned:
            raise ActionError(text, "not claimable")
        amounts = ", ".join(f"{each.earned:f} {each.programme.token}" for each in earned)
        ids = [each.programme.id for each in earned]
        return Action(
            chain=self.chain,
            text=f"{text} {amounts}",
            account=checksum(canonical(account)),
            to=self._contract.address,
            data=self._contract.claim.encode(ids, account, account),
        )

    def _programmes(self) -> list[tuple[Programme, int]]:
        """Each with the weight of all its accounts."""
        stream = self._contract
        if stream is None:
            return []
        found = self.chain.read(
            [stream.programmes_of.bind(address) for address in self.sources.values()]
        )
        named = [(id_, name) for name, ids in zip(self.sources, found, strict=True) for id_ in ids]
        views = self.chain.read([stream.programme.bind(id_) for id_, _ in named])
        return [
            (self._programme(id_, name, view), view.weight)
            for (id_, name), view in zip(named, views, strict=True)
        ]

    def _programme(self, id_: int, source: str, view: Any) -> Programme:
        token = self._token(view.token)
        return Programme(
            id=id_,
            source=source,
            side=SIDES[view.side],
            token=token.symbol,
            token_address=token.address,
            project=view.project,
            a_day=from_wad(view.rate * _DAY),
            ends_at=moment(view.ends_at) if view.rate else None,
            unstreamed=token.amount(view.unstreamed),
        )

    def _token(self, address: str) -> Token:
        if address not in self._tokens:
            decimals = int(self._asked(address, "decimals", "uint8"))
            self._tokens[address] = Token(address, self._symbol(address), decimals)
        return self._tokens[address]

    def _symbol(self, address: str) -> str:
        """A token's own name for itself, its address where it has none that can be shown."""
        try:
            symbol = str(self._asked(address, "symbol", "string"))
        except (Reverted, ValueError):
            return address
        return symbol if symbol.isprintable() and 0 < len(symbol) <= _LONGEST_SYMBOL else address

    def _asked(self, address: str, name: str, kind: str) -> Any:
        view = FunctionAbi(
            {
                "name": name,
                "inputs": [],
                "outputs": [{"name": "", "type": kind}],
                "stateMutability": "view",
            }
        )
        answer = self.chain.rpc(
            "eth_call", {"to": address, "data": "0x" + view.encode(()).hex()}, "latest"
        )
        return view.decode(bytes.fromhex(answer[2:]))
