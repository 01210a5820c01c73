"""Reporters that sign rounds for the oracles under test.

panel = Panel.seat(evm, oracle, Domain.of_funding_oracle, count=5, quorum=3)
oracle.submit(*panel.funding_round(observed_at, tokens, [[10**8], [2 * 10**8], [10**8]]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perpool.evm import Account, Contract, Evm
from perpool.reports import (
    Domain,
    FundingRound,
    PriceRound,
    SignedReport,
    funding_round,
    ordered,
    pack_rates,
    price_round,
    sign_report,
)

ZERO_ADDRESS = "0x" + 40 * "0"
Rates = Sequence[int | None]
"""What one reporter says, a rate in units of 1e-9 for each token."""


@dataclass(frozen=True)
class Panel:
    """The reporters of one oracle, in the order of their seats."""

    evm: Evm
    contract: Contract
    domain: Domain
    accounts: tuple[Account, ...]
    quorum: int

    @classmethod
    def seat(
        cls,
        evm: Evm,
        contract: Contract,
        domain: Callable[[int, str], Domain],
        *,
        count: int = 5,
        quorum: int = 3,
        owner: Account | None = None,
    ) -> Panel:
        """Make `count` reporters and register them with the oracle."""
        accounts = reporters(evm, count)
        panel = cls(evm, contract, domain(evm.chain_id, contract.address), accounts, quorum)
        contract.set_reporters(panel.addresses, quorum, sender=owner)
        return panel

    @property
    def addresses(self) -> list[str]:
        return [account.address for account in self.accounts]

    def sign(
        self, reporter: int, observed_at: int, tokens: Sequence[str], values: Sequence[int]
    ) -> SignedReport:
        """The report of the reporter in a seat."""
        return sign_report(self.accounts[reporter].key, self.domain, observed_at, tokens, values)

    def rate_reports(
        self, observed_at: int, tokens: Sequence[str], rates: Sequence[Rates | None]
    ) -> list[SignedReport]:
        """Reports of the first reporters, one row of rates each; None: he takes no part."""
        return [
            self.sign(seat, observed_at, tokens, pack_rates(row))
            for seat, row in enumerate(rates)
            if row is not None
        ]

    def funding_round(
        self, observed_at: int, tokens: Sequence[str], rates: Sequence[Rates | None]
    ) -> FundingRound:
        """Arguments of `FundingOracle.submit`; `rates` as in `rate_reports`."""
        return funding_round(self.rate_reports(observed_at, tokens, rates), self.addresses)

    def price_reports(
        self, observed_at: int, token: str, prices: Sequence[int | None]
    ) -> list[SignedReport]:
        """Price reports of the first reporters; None: he takes no part."""
        return [
            self.sign(seat, observed_at, [token], [price])
            for seat, price in enumerate(prices)
            if price is not None
        ]

    def price_round(self, observed_at: int, token: str, prices: Sequence[int | None]) -> PriceRound:
        """Arguments of `PriceFeed.submit`; `prices` as in `price_reports`."""
        return price_round(self.price_reports(observed_at, token, prices), self.addresses)


def reporters(evm: Evm, count: int) -> tuple[Account, ...]:
    """Accounts of reporters in ascending order of their addresses."""
    accounts = {
        account.address: account
        for account in (evm.account(f"reporter {number}") for number in range(count))
    }
    return tuple(accounts[address] for address in ordered(accounts))


def token_list(evm: Evm, count: int) -> list[str]:
    """Addresses to stand for tokens, to which the oracles never look."""
    return [evm.account(f"token {number}").address for number in range(count)]
