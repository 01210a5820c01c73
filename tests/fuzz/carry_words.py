"""The words that a carry vault and its strategy store, as their reference models have them.

    words = VaultWords(vault, strategy, addresses, PEOPLE)
    words.differing(model)    # "redeems", where the model has others
    words.load_into(model)

`addresses` has who and what the models know by name, the vault and its strategy among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from perpool.evm import Contract
from perpool.evm.codec import canonical
from perpool.reference.carry import Part, mode_of
from perpool.reference.carry_vault import CarryVault, Claims, DepositRequest, Half, RedeemRequest
from tests.stored import Stored

Words = dict[str, Any]
VAULT_WORDS = {
    "total": ("shares", "total"),
    "waiting": ("requests", "waiting"),
    "ordered": ("settling", "ordered"),
    "requests_turn": ("settling", "is_requests_turn"),
    "tip_budget": ("tips", "budget"),
    "tips_at": ("tips", "counted_at"),
}
"""Of the model's memory, the module and variable that it stands for."""
VAULT_MAPS: dict[str, tuple[type, str, str]] = {
    "deposits": (DepositRequest, "requests", "deposits"),
    "redeems": (RedeemRequest, "requests", "redeems"),
    "claims": (Claims, "requests", "claims"),
    "parts": (Half, "settling", "parts"),
}
STRATEGY_WORDS = {
    "idle": ("book", "idle"),
    "cash": ("book", "cash"),
    "forward_shares": ("book", "forward_shares"),
    "apart_collateral": ("book", "apart_collateral"),
    "apart_debt_shares": ("book", "apart_debt_shares"),
    "entered_at": ("modes", "entered_at"),
    "max_trade": ("trades", "max_trade"),
}
STRATEGY_MAPS: dict[str, tuple[type, str, str]] = {"parts": (Part, "exits", "parts")}


class VaultWords:
    """What is stored for `people`, who alone ask and claim; shares may be anybody's."""

    def __init__(
        self,
        vault: Contract,
        strategy: Contract,
        addresses: Mapping[str, Any],
        people: Iterable[str],
    ) -> None:
        self.vault, self.strategy = Stored(vault), Stored(strategy)
        self.addresses, self.people = addresses, tuple(people)

    def of_vault(self) -> Words:
        """By the names that it has in `VaultMemory`."""
        found = self._read(self.vault, VAULT_WORDS, VAULT_MAPS)
        ordering = self.vault.word("requests", "ordering").to_bytes(20, "big")
        shares = {
            name: self.vault.word("accounts", "shares_of", key=address)
            for name, address in self.addresses.items()
        }
        return found | {
            "ordering": next(n for n, at in self.addresses.items() if canonical(at) == ordering),
            "shares": Counter({name: held for name, held in shares.items() if held}),
        }

    def of_strategy(self) -> Words:
        """By the names that it has in `StrategyMemory`."""
        found = self._read(self.strategy, STRATEGY_WORDS, STRATEGY_MAPS)
        return found | {"carrying": self.strategy.word("modes", "current") == mode_of(True)}

    def _read(
        self,
        stored: Stored,
        words: Mapping[str, tuple[str, str]],
        maps: Mapping[str, tuple[type, str, str]],
    ) -> Words:
        found: Words = {name: stored.word(*place) for name, place in words.items()}
        for name, (kind, *place) in maps.items():
            found[name] = {
                who: stored.entry(kind, *place, key=self.addresses[who]) for who in self.people
            }
        return found

    def differing(self, model: CarryVault) -> str:
        """The first thing that is not stored as the model has it, with both; "" for none."""
        for memory, found in (
            (model.memory, self.of_vault()),
            (model.strategy.memory, self.of_strategy()),
        ):
            for name, stored in found.items():
                expected = getattr(memory, name)
                if isinstance(stored, Counter):
                    expected = +expected
                elif isinstance(stored, dict):
                    # who is not in the model's has what there is at first
                    expected = {
                        who: expected.get(who, type(entry)()) for who, entry in stored.items()
                    }
                if expected != stored:
                    return f"{name}: model {expected}, stored {stored}"
        return ""

    def load_into(self, model: CarryVault) -> None:
        """Let the model have what is stored."""
        vars(model.memory).update(self.of_vault())
        vars(model.strategy.memory).update(self.of_strategy())
