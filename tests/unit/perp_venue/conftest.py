"""A perp venue with 100,000 USDT of liquidity at 10 USDT a token, for several decimals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from perpool.evm import Account, Evm, Struct
from tests.venues import LIQUIDITY, Parameters, Venue, deploy_venue

WAD = 10**18
E36 = 10**36
YEAR = 365 * 86_400
PENDING, CONFIRMED, FAILED = 1, 2, 4
"""The flags of IPerpVenue.Status."""
SHORTED = 1_000
MARGIN = 2_000


@pytest.fixture(
    scope="module",
    params=[(6, 6), (8, 6), (18, 6), (24, 6), (18, 18)],
    ids=lambda each: f"{each[0]} and {each[1]} decimals",
)
def deployed(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Venue]:
    """Venues without a delay, by the decimals of token and USDT, which is USDT-like."""
    token_decimals, usdt_decimals = request.param
    with chain.anchor():
        venue = deploy_venue(chain, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
        venue.lend(venue.usd(LIQUIDITY))
        yield venue


@pytest.fixture
def venue(evm: Evm, deployed: Venue) -> Venue:
    """The venue, which no other test has touched."""
    return deployed


@pytest.fixture
def plain(evm: Evm) -> Venue:
    """One with 18 and 6 decimals."""
    venue = deploy_venue(evm)
    venue.lend(venue.usd(LIQUIDITY))
    return venue


@pytest.fixture
def delayed(evm: Evm) -> Venue:
    """One whose requests fill two blocks later."""
    venue = deploy_venue(evm, Parameters(delay_blocks=2))
    venue.lend(venue.usd(LIQUIDITY))
    return venue


@pytest.fixture
def shorter(venue: Venue) -> Account:
    """Short 1,000 tokens with a margin of 2,000 USDT, at a notional of 10,000."""
    return venue.trade("shorter", -venue.tokens(SHORTED), venue.usd(MARGIN))


@pytest.fixture
def stranger(venue: Venue) -> Account:
    """With USDT, and no relation to anybody."""
    return venue.give("stranger", venue.usd(LIQUIDITY))


# --- what should be


def divide_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def share_up(amount: int, fraction_wad: int) -> int:
    return divide_up(amount * fraction_wad, WAD)


def fee_of(venue: Venue, notional: int) -> int:
    return share_up(notional, venue.parameters.fee)


def insured(venue: Venue, fee: int) -> int:
    """The insurance fund's part of a fee."""
    return fee * venue.parameters.fee_to_insurance // WAD


def accrued(venue: Venue, size: int, percent: float, seconds: int, price: int) -> int:
    """Funding of a size by the index, rounded down: what a receiver gets."""
    rate = int(percent * WAD / 100)
    return size * (price * rate // WAD * seconds // YEAR) // E36


def changes(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The totals that have moved, and by how much; time and prices aside."""
    clock = ("accrued_at", "mark_e36", "rate_until", "rate_wad")
    return {
        name: after[name] - before[name]
        for name in before
        if after[name] != before[name] and name not in clock
    }


def check_books(venue: Venue, *accounts: Account) -> None:
    """All USDT is somebody's, and what is not in a total is in no position either."""
    state = venue.state()
    parts = ("liquidity", "insurance", "margins", "escrows", "credits")
    assert venue.usdt.balanceOf(venue.contract) == sum(state[part] for part in parts)
    found = [venue.position(account) for account in accounts]
    assert state["margins"] == sum(each["margin"] for each in found)
    assert state["escrows"] == sum(each["escrow"] for each in found)
    assert state["credits"] == sum(each["credit"] for each in found)
    assert state["long_size"] - state["short_size"] == sum(each["size"] for each in found)


def event(venue: Venue, name: str) -> Struct:
    """The arguments of the venue's one event of that name in the last transaction."""
    (found,) = venue.evm.last.events(name, venue.contract)
    return found.args


def check_state_event(venue: Venue) -> None:
    """The last transaction told the whole state as it is stored, once."""
    assert event(venue, "StateChanged").state == venue.contract.state()


def confirmed(venue: Venue, account: Account, **fields: Any) -> None:
    """The last transaction confirmed the newest request, with just these numbers."""
    position = venue.position(account)
    expected = {
        "account": account.address,
        "id": venue.contract.last_request(),
        "size_delta": 0,
        "price_e36": 0,
        "margin_paid": 0,
        "realised": 0,
        "funding": 0,
        "fee": 0,
        "size": position["size"],
        "entry_notional": position["entry_notional"],
        "margin": position["margin"],
    } | fields
    assert event(venue, "Confirmed").as_dict() == expected
