"""From a configuration to a keeper that runs.

    with open_place(config) as place:
        keeper = build(place, open_accounts(config, password), dry_run=False)
        keeper.service.run(stop)

A `Place` is enough for looking; a `Keeper` has accounts and roles.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from perpool.history import HistoryError
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.ether import Ether
from perpool.keeper.liquidator.follow import Follower
from perpool.keeper.liquidator.pools import first_block, pools_of, read_back
from perpool.keeper.liquidator.profit import Policy as LiquidatorPolicy
from perpool.keeper.liquidator.role import LiquidatorRole
from perpool.keeper.mailbox import Mailbox
from perpool.keeper.model import Intent, Policy
from perpool.keeper.operation.config import PREFIX, SENDERS, KeeperConfig
from perpool.keeper.operation.keeper import Keeper
from perpool.keeper.operation.place import Clock, Place
from perpool.keeper.operation.sections import (
    HISTORY,
    LaneSection,
    LiquidatorSection,
    RebalancerSection,
    ReporterSection,
)
from perpool.keeper.operation.watch import Watch
from perpool.keeper.rebalancer import vaults as carry
from perpool.keeper.rebalancer.decide import Budget, Vault
from perpool.keeper.rebalancer.requests import RequestFollower
from perpool.keeper.rebalancer.role import RebalancerRole, Spending
from perpool.keeper.reporter import Rehearsal, Reporter
from perpool.keeper.service import Duty, Service
from perpool.keeper.signing import Account, open_account
from perpool.keeper.sources import (
    SYNTHETIC,
    Limits,
    Panel,
    exchange_panel,
    history_panel,
    synthetic_panel,
)
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import Submitter
from perpool.keeper.transactions.fees import FeePolicy
from perpool.keeper.transactions.outbox import Outbox

ACCOUNTS = "accounts.db"
REQUESTS = "requests.db"
STATEMENTS = "statements.db"
"""Files in the state folder: of liquidator, rebalancer and reporter."""
WATCH_EVERY = timedelta(seconds=30)
REPORTER_EVERY = timedelta(seconds=2)
"""It observes once a cadence; it looks this often whether that has begun."""


# -- accounts --


Accounts = Mapping[str, list[Account]]
"""By role."""


def open_accounts(config: KeeperConfig, password: Callable[[], str]) -> Accounts:
    """Every account of the configuration. Raises SignerError, and KeeperError where two roles would
    send from one account."""
    ask = cache(password)
    opened = cache(lambda spec: open_account(spec, ask))
    accounts = {role: [opened(each) for each in specs] for role, specs in config.accounts.items()}
    check_senders({role: [each.address for each in opened] for role, opened in accounts.items()})
    return accounts


def check_senders(addresses: Mapping[str, Sequence[str]]) -> None:
    """Raises KeeperError where two roles send from one address."""
    first: dict[str, str] = {}
    for role in SENDERS:
        for address in addresses.get(role, []):
            rival = first.setdefault(address, role)
            if rival != role:
                raise KeeperError(
                    f"{rival} and {role} both send from {address}: give each an account of its own"
                )


# -- roles --


def build(place: Place, accounts: Accounts, *, dry_run: bool = False) -> Keeper:
    """The roles of a configuration. Raises what cannot be opened."""
    config = place.config
    duties: list[Duty] = []
    outboxes: dict[str, Outbox] = {}
    reporter, submitter, lease = None, None, None
    needs_mailbox = config.reporter is not None or config.submitter is not None
    mailbox = place.mailbox() if needs_mailbox else None
    if config.reporter is not None:
        assert mailbox is not None
        # a dry run signs nothing
        path = None if dry_run else config.state_folder / STATEMENTS
        statements = Statements(path, place.lease_name)
        place.closing.callback(statements.close)
        reporter = _reporter(place, config.reporter, accounts["reporter"], mailbox, statements)
        duties.append(Duty(Rehearsal(reporter) if dry_run else reporter, REPORTER_EVERY))
    if config.submitter is not None:
        assert mailbox is not None
        section = config.submitter
        if not dry_run:
            lease = place.lease(f"{section.name}:{os.getpid()}", section.lease)
            outboxes["submitter"] = _outbox(
                place,
                "submitter",
                section,
                accounts["submitter"][0],
                unmet=place.contracts.unmet,
                multicall=place.record.multicall,
                announce=lease.announce,
            )
        submitter = Submitter(
            place.contracts,
            mailbox,
            outboxes.get("submitter"),
            lease=lease,
            policy=Policy(
                section.funding_heartbeat,
                section.funding_threshold,
                section.price_heartbeat,
                section.price_threshold,
            ),
            sync=config.sync.enabled,
            idles=place.is_local,
            metrics=place.metrics,
            health=place.health,
        )
        duties.append(Duty(submitter, section.every))
    if config.liquidator is not None:
        account = accounts["liquidator"][0]
        if not dry_run:
            outboxes["liquidator"] = _outbox(
                place,
                "liquidator",
                config.liquidator,
                account,
                unmet=read_back(place.nodes),
                multicall=place.record.multicall,
            )
        lane = outboxes.get("liquidator")
        duties.append(
            Duty(
                _liquidator(place, config.liquidator, account.address, lane),
                config.liquidator.every,
            )
        )
    vaults = place.vaults() if config.rebalancer is not None else []
    if config.rebalancer is not None and not vaults:
        log = structlog.get_logger("perpool.keeper.rebalancer")
        log.warning("there are no carry vaults", record=str(place.record.path))
    if config.rebalancer is not None and vaults:
        account = accounts["rebalancer"][0]
        if not dry_run:
            # without a multicall: a call is a transaction of its own
            outboxes["rebalancer"] = _outbox(
                place,
                "rebalancer",
                config.rebalancer,
                account,
                unmet=carry.read_back(place.nodes, vaults),
                multicall=None,
            )
        lane = outboxes.get("rebalancer")
        duties.append(
            Duty(
                _rebalancer(place, config.rebalancer, vaults, account.address, lane),
                config.rebalancer.every,
            )
        )
    payers = {role: accounts[role][0].address for role in accounts if role != "reporter"}
    watch = Watch(
        place.nodes,
        payers,
        lease,
        place.contracts if submitter is None else None,
        metrics=place.metrics,
        health=place.health,
    )
    service = Service(
        [Duty(watch, WATCH_EVERY), *duties],
        clock=place.clock,
        metrics=place.metrics,
        health=place.health,
        guard=place.guard(),
    )
    return Keeper(service, reporter, submitter, outboxes)


def _reporter(
    place: Place,
    section: ReporterSection,
    accounts: list[Account],
    mailbox: Mailbox,
    statements: Statements,
) -> Reporter:
    panel = build_panel(section, list(place.contracts.markets), place.clock)
    place.closing.callback(panel.close)
    return Reporter(
        place.contracts,
        panel,
        accounts,
        mailbox,
        statements,
        min_venues=section.least_venues,
        cadence=section.cadence,
        metrics=place.metrics,
    )


def build_panel(section: ReporterSection, markets: Sequence[str], clock: Clock) -> Panel:
    """The venues of some markets. Raises HistoryError and SourceError."""
    options: dict[str, Any] = {
        "limits": Limits(
            section.limits.max_age,
            section.limits.max_skew,
            section.limits.max_rate,
            max_basis=section.limits.max_basis,
        ),
        "timeout": section.timeout,
        "clock": clock,
    }
    if HISTORY in section.sources:
        try:
            return history_panel(section.data or Path(), markets, **options)
        except HistoryError as error:
            raise HistoryError(
                f"reporter.data: {error}; change it in the file, or {PREFIX}REPORTER__DATA"
            ) from None
    if SYNTHETIC in section.sources:
        return synthetic_panel(markets, **options)
    venues = {name: section.exchange.get(name, {}) for name in section.sources}
    return exchange_panel(venues, **options)


def _outbox(
    place: Place,
    lane: str,
    section: LaneSection,
    wallet: Account,
    *,
    unmet: Callable[[Sequence[Intent], Head], Sequence[Intent]],
    multicall: str | None,
    announce: Callable[[str], None] | None = None,
) -> Outbox:
    place.metrics.expect_lane(lane)
    least_tip = min(FeePolicy().min_tip, section.max_tip)
    fees = FeePolicy(
        max_fee=section.max_fee,
        min_tip=least_tip,
        max_tip=section.max_tip,
        max_gas=section.max_gas,
    )
    outbox = Outbox(
        place.nodes,
        place.journal(lane),
        wallet,
        fees,
        unmet=unmet,
        multicall=multicall,
        confirmations=section.confirmations,
        patience=section.patience,
        clock=place.clock,
        metrics=place.metrics,
        announce=announce,
        anchor=place.anchor,
    )
    outbox.bind()  # now, because it would fail in every tick
    return outbox


def _liquidator(
    place: Place, section: LiquidatorSection, sender: str, lane: Outbox | None
) -> LiquidatorRole:
    place.metrics.expect_liquidations()
    symbols = list(place.contracts.markets)
    pools = pools_of(place.nodes, place.record, symbols)
    follower = Follower(
        place.nodes,
        {each.address: each.leg for each in pools},
        # a dry run changes nothing
        place.config.state_folder / ACCOUNTS if lane is not None else None,
        start=first_block(place.record, symbols),
    )
    place.closing.callback(follower.close)
    return LiquidatorRole(
        place.nodes,
        pools,
        follower,
        lane,
        sender=sender,
        multicall=place.record.multicall,
        ether=Ether(
            section.ether_price, section.ether_feed, int(section.ether_max_age.total_seconds())
        ),
        receiver=section.receiver,
        policy=LiquidatorPolicy(section.min_profit, section.bad_debt_loss, section.max_slippage),
        metrics=place.metrics,
    )


def _rebalancer(
    place: Place,
    section: RebalancerSection,
    vaults: Sequence[Vault],
    sender: str,
    lane: Outbox | None,
) -> RebalancerRole:
    for each in vaults:
        place.metrics.expect_vault(
            each.name, each.liquidation_ltv / 10**18, each.maintenance_margin / 10**18
        )
    follower = RequestFollower(
        place.nodes,
        [each.address for each in vaults],
        # a dry run changes nothing
        place.config.state_folder / REQUESTS if lane is not None else None,
        start=carry.first_block(place.record, vaults),
    )
    place.closing.callback(follower.close)
    spending = None if lane is None else Spending(place.nodes, lane.journal)
    return RebalancerRole(
        place.nodes,
        vaults,
        follower,
        lane,
        sender=sender,
        funding_oracle=place.contracts.funding_oracle,
        spent=(lambda now: 0) if spending is None else spending.last_day,
        budget=Budget(section.budget),
        max_gas=section.max_gas,
        metrics=place.metrics,
        health=place.health,
    )


def strangers(place: Place, accounts: Accounts) -> Iterator[str]:
    """Reporters' keys that the funding oracle does not know."""
    seats = place.contracts.seats(place.clock())[place.contracts.funding_oracle]
    for account in accounts.get("reporter", []):
        if account.address not in seats.reporters:
            yield account.address
