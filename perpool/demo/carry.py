"""What is done for carry vaults in the demo, and how they stand beside others, hour by hour.

The demo stands for the keeper here: it settles requests and calls `rebalance` while a call is due.
A vault wants to be looked at every hour, and the demo's steps are hours apart. In between only time
and price move, so that what is due can be told from the books of the last step at the price of the
hour. Only where something is does a step follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perpool.chain import Call, Receipt, Reverted
from perpool.demo.actors import Actor, SiloedHolder, VaultHolder
from perpool.demo.books import Books
from perpool.demo.holdings import TOKEN_UNIT, Holding
from perpool.demo.stage import REBALANCER, Party, Stage, Vault, vault_name
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.targets import CarryParameters, is_off, plan
from perpool.replay.record import Bounds, Held, Risk, risk_of

MOST_CALLS = 20
"""Of one vault in one step; the next step goes on."""
WHOLE_PRICE = 10**24
"""A price of one USDT a token."""


# -- how they stand --


@dataclass(frozen=True)
class Seen:
    """Somebody as he is found at an hour, before anything is done."""

    worth: float
    """Tokens that he has for each that he began with."""
    risk: Risk


@dataclass(frozen=True)
class Hour:
    """Who is compared, at an hour."""

    time: int
    price: float
    seen: dict[str, Seen]


def held_of(has: Holding) -> Held:
    """Loan and short of an account."""
    return Held(
        idle=has.tokens,
        lent=has.lent_tokens,
        collateral=has.collateral,
        debt=has.debt,
        short=max(-has.perp_position, 0),
        equity=has.perp_equity,
        cash=has.usdt,
        carrying=has.perp_position < 0,
    )


def is_due_at(parameters: CarryParameters, has: Holding, mark_e36: int, price_e36: int) -> bool:
    """Whether a vault with a short is outside its bands at a price; positions are marked at
    `mark_e36`, and what has accrued since is left out."""
    short = -has.perp_position
    if short <= 0:
        return False
    equity = has.perp_equity + short * (mark_e36 - price_e36) // PRICE_SCALE
    collateral, net = has.collateral, equity + has.usdt - has.debt
    target = plan(parameters, price_e36, collateral, net, may_sell=parameters.may_sell).short
    return is_off(parameters, price_e36, collateral, has.debt, short, equity, target)


class Comparison:
    """Who is watched: whoever is in a vault from first to last, and siloed holders."""

    def __init__(self, actors: Sequence[Actor], bounds: Bounds) -> None:
        self.bounds = bounds
        self.whose: dict[str, str] = {}
        """Name of an account -> of the actor whose worth is shown with it."""
        for actor in actors:
            if isinstance(actor, VaultHolder):
                self.whose.setdefault(vault_name(actor.vault), actor.name)
        self.whose |= {each.name: each.name for each in actors if isinstance(each, SiloedHolder)}

    def look(self, time: int, price_e36: int, first: Books, books: Books) -> Hour:
        """At the price of an hour, with what the books of the last step say."""
        seen = {}
        for account, name in self.whose.items():
            began = first.holdings[name].net_tokens / TOKEN_UNIT
            worth = books.holdings[name].worth(price_e36, books.mark_e36) / began
            held = held_of(books.accounts[account])
            mark, price = books.mark_e36 / WHOLE_PRICE, price_e36 / WHOLE_PRICE
            seen[account] = Seen(worth, risk_of(held, mark, self.bounds, price))
        return Hour(time, price_e36 / WHOLE_PRICE, seen)


# -- what is done --


@dataclass
class VaultTally:
    """What a vault has done so far, in smallest units."""

    lent: int = 0
    """Tokens, into the forward pool."""
    withdrawn: int = 0
    funding: int = 0
    """Settled; negative is paid."""
    fees: int = 0
    calls: int = 0
    switches: int = 0
    sold: int = 0
    bought: int = 0
    liquidated: int = 0
    """Times, by the venue."""


@dataclass
class Desk:
    """Settles, claims, rebalances. `send` sends a call for a party."""

    stage: Stage
    parties: Mapping[str, Party]
    actors: Sequence[Actor]
    send: Callable[[Call, Party], Receipt]
    refused: Counter[str]
    tallies: dict[str, VaultTally] = field(default_factory=dict)
    """By a vault's name."""

    def __post_init__(self) -> None:
        vaults = self.stage.vaults.values()
        self.tallies = {vault.name: VaultTally() for vault in vaults}
        self._by_strategy = {vault.strategy.address: vault.name for vault in vaults}

    def is_needed(self, books: Books, price_e36: int) -> bool:
        """Whether a vault is due at a price, or somebody waits for one."""
        if any(each.asked_tokens or each.asked_shares for each in books.holdings.values()):
            return True
        return any(
            is_due_at(vault.parameters, books.vaults[vault.name].has, books.mark_e36, price_e36)
            for vault in self.stage.vaults.values()
        )

    def work(self, books: Books) -> None:
        """All that can be done at the price that was just reported."""
        for actor in self.actors:
            if isinstance(actor, VaultHolder):
                self._settle(actor, books.holdings[actor.name])
        for vault in self.stage.vaults.values():
            self._rebalance(vault)

    def _settle(self, actor: VaultHolder, holding: Holding) -> None:
        contract, party = self.stage.vaults[actor.vault].contract, self.parties[actor.name]
        waits = (
            (
                holding.asked_tokens,
                contract.settle_deposit,
                contract.pendingDepositRequest,
                contract.maxDeposit,
            ),
            (
                holding.asked_shares,
                contract.settle_redeem,
                contract.pendingRedeemRequest,
                contract.maxRedeem,
            ),
        )
        for asked, settle, pending, claimable in waits:
            if not asked:
                continue
            try:
                for _ in range(MOST_CALLS):
                    self.send(settle.bind(party), REBALANCER)
                    if not pending(0, party):
                        break
            except Reverted as error:
                self.refused[error.reason or str(error)] += 1
            amount = claimable(party)
            if not amount:
                continue
            if settle is waits[0][1]:
                self.send(contract.deposit.bind(amount, party, party), party)
            else:
                self.send(contract.redeem.bind(amount, party, party), party)

    def _rebalance(self, vault: Vault) -> None:
        for _ in range(MOST_CALLS):
            if not vault.contract.is_due():
                return
            receipt = self.send(vault.contract.rebalance.bind(), REBALANCER)
            if not receipt.events("Rebalanced", vault.strategy):
                return

    def liquidate(self, books: Books, liquidator: Party) -> None:
        """The venue's own: whoever is under its maintenance margin, at its price."""
        venue = self.stage.perp_venue
        for vault in self.stage.vaults.values():
            if not books.vaults[vault.name].has.perp_position:
                continue
            equity, price, position = self.stage.chain.read(
                [
                    venue.equity.bind(vault.strategy),
                    venue.mark_price.bind(),
                    venue.position.bind(vault.strategy),
                ]
            )
            notional = abs(position.size) * price // PRICE_SCALE
            if equity * 10**18 < notional * venue.maintenance_margin():
                self.send(venue.liquidate.bind(vault.strategy, liquidator), liquidator)
                self.send(venue.withdraw.bind(liquidator), liquidator)

    def take_note(self, event: Any) -> None:
        """Of an event of venue, forward pool or strategy."""
        stage = self.stage
        if event.address in self._by_strategy:
            self._note_own(event, self.tallies[self._by_strategy[event.address]])
        elif event.address == stage.perp_venue.address:
            name = self._by_strategy.get(getattr(event, "account", ""))
            if name is not None:
                self._note_position(event, self.tallies[name])
        elif event.address == stage.forward.address:
            name = self._by_strategy.get(getattr(event, "owner", ""))
            if name is not None and event.name == "Deposit":
                self.tallies[name].lent += event.assets
            elif name is not None and event.name == "Withdraw":
                self.tallies[name].withdrawn += event.assets

    @staticmethod
    def _note_own(event: Any, tally: VaultTally) -> None:
        match event.name:
            case "Rebalanced":
                tally.calls += 1
            case "ModeChanged":
                tally.switches += 1
            case "Traded":
                tally.sold += event.tokens_sold
                tally.bought += event.tokens_bought

    @staticmethod
    def _note_position(event: Any, tally: VaultTally) -> None:
        match event.name:
            case "FundingSettled" | "AutoDeleveraged":
                tally.funding += event.funding
            case "Confirmed":
                tally.funding += event.funding
                tally.fees += event.fee
            case "Liquidated":
                tally.funding += event.funding
                tally.liquidated += 1
