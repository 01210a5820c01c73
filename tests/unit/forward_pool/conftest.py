"""A forward pool with 100,000 tokens lent to it, at a price of 10, for several decimals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm, Struct
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP, WAD, Leg, Market, deploy_market
from tests.pools import Charge

E36 = 10**36
TIP = WAD // 100
LENT = 100_000
MARGIN = 1_000
SHORTED = 100


@pytest.fixture(
    scope="module",
    params=[(6, 6), (8, 6), (18, 6), (24, 6), (18, 18)],
    ids=lambda each: f"{each[0]} and {each[1]} decimals",
)
def deployed(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Market]:
    """Markets by the decimals of token and USDT, both of them USDT-like."""
    token_decimals, usdt_decimals = request.param
    with chain.anchor():
        market = deploy_market(chain, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
        market.lend("lender", tokens=market.tokens(LENT))
        yield market


@pytest.fixture
def market(evm: Evm, deployed: Market) -> Market:
    """The market, which no other test has touched."""
    return deployed


@pytest.fixture
def shorter(market: Market) -> Account:
    """Short 100 tokens with a margin of 1,000 USDT: LTV 50 %, unhealthy from a price of 16 on."""
    return market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))


@pytest.fixture
def stranger(market: Market) -> Account:
    """With tokens and USDT, and no relation to anybody."""
    return market.give(
        market.evm.account("stranger"), tokens=market.tokens(LENT), usdt=market.usd(10**6)
    )


@pytest.fixture
def puppet(market: Market) -> Contract:
    """An adapter on the factory's list that does what it is told, with plenty of both tokens."""
    puppet = market.evm.deploy("Puppet")
    market.factory.allow_swapper(puppet, True, sender=market.owner)
    market.token.mint(puppet, market.tokens(LENT))
    market.usdt.mint(puppet, market.usd(10**6))
    return puppet


# --- calls


def pay(puppet: Contract, moment: str, *payments: tuple[Contract, Any, int]) -> None:
    """Have the adapter make transfers, (token, receiver, amount), in the middle of a swap."""
    puppet.prepare(
        moment,
        [
            (token, token.transfer.encode(receiver, amount), True)
            for token, receiver, amount in payments
        ],
    )


def open_short(market: Market, sender: Account, **changes: Any) -> int:
    """`open_short` of 100 tokens with 1,000 USDT unless told otherwise."""
    call = {
        "margin": market.usd(MARGIN),
        "token_amount": market.tokens(SHORTED),
        "min_proceeds": 0,
        "deadline": MAX,
        "on_behalf": sender,
        "swapper": market.swapper,
        "route": market.sell_route,
    } | changes
    return int(market.forward.open_short(*call.values(), sender=sender))


def close_short(market: Market, sender: Account, **changes: Any) -> int:
    """`close_short` of everything unless told otherwise."""
    call = {
        "token_amount": MAX,
        "max_cost": MAX,
        "deadline": MAX,
        "on_behalf": sender,
        "receiver": sender,
        "swapper": market.swapper,
        "route": market.buy_route,
    } | changes
    return int(market.forward.close_short(*call.values(), sender=sender))


def pause(market: Market) -> None:
    market.factory.set_paused(market.forward, True, sender=market.guardian)


def cap(
    market: Market, supply: int = NO_CAP, debt: int = NO_CAP, in_a_block: int = NO_BLOCK_CAP
) -> None:
    market.factory.set_caps(market.forward, supply, debt, in_a_block, sender=market.owner)


def make_stale(market: Market) -> None:
    """The feed's last answer becomes older than the oracle accepts."""
    market.evm.warp(86_401)


def shut(market: Market) -> None:
    """Paused, all caps zero, no price, no funding: only exits are left."""
    pause(market)
    cap(market, 0, 0, 0)
    make_stale(market)


# --- what should be


def divide_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def value_up(amount: int, price: int) -> int:
    return divide_up(amount * price, E36)


def value_down(amount: int, price: int) -> int:
    return amount * price // E36


def liquidation_terms(
    leg: Leg, debt_value: int, collateral: int, dust_value: int
) -> tuple[int, int, bool]:
    """(repayment in value, bonus, whether it takes all collateral and leaves debt), as designed.

    b = clamp(b0 + k * (LTV - liquidation_ltv), b0, b_cap), lowered to max(C / D - 1, b0)
    R = min((D - L * C) / (1 - L * (1 + b)), D, C / (1 + b)), everything where the rest is dust
    """
    ltv = debt_value * WAD // max(collateral, 1)
    bonus = leg.bonus_base + max(ltv - leg.liquidation_ltv, 0) * leg.bonus_slope // WAD
    surplus = max(collateral * WAD // debt_value - WAD, 0)
    bonus = min(bonus, leg.bonus_cap, max(surplus, leg.bonus_base))
    excess = debt_value - collateral * leg.max_ltv // WAD
    repay = divide_up(excess * WAD, WAD - divide_up(leg.max_ltv * (WAD + bonus), WAD))
    most = min(debt_value, collateral * WAD // (WAD + bonus))
    if repay >= most or debt_value - repay < dust_value:
        return most, bonus, most < debt_value
    return repay, bonus, False


def terms_of(market: Market, account: Account) -> tuple[int, int, int, int, bool]:
    """(price, tokens to repay, debt, bonus, exhausts) of a liquidation in the block of now."""
    price = market.price_e36()
    debt = market.forward.debt_of(account)
    leg = market.forward_leg
    value, bonus, exhausts = liquidation_terms(
        leg,
        value_up(debt, price),
        market.forward.position(account).collateral,
        value_up(leg.min_debt, price) + 1,
    )
    full = value == value_up(debt, price)
    most = debt if full else min(value * E36 // price, debt)
    return price, most, debt, bonus, exhausts


def charge_of(market: Market) -> Charge:
    """What charging the fee does as of the newest block."""
    return Charge.of(market.forward.accrued_state(), market.token.decimals())


def ltv_of(market: Market, account: Account) -> float:
    """Debt by the oracle's price over collateral."""
    value = value_up(market.forward.debt_of(account), market.price_e36())
    return value / int(market.forward.position(account).collateral)


def check_balances(market: Market, *accounts: Account, given: int = 0) -> None:
    """Cash and collateral are there to the unit, and nothing else is, but tokens `given`."""
    state = market.forward.state()
    assert market.token.balanceOf(market.forward) == state.cash + given
    positions = [market.forward.position(account) for account in accounts]
    assert market.usdt.balanceOf(market.forward) == sum(each.collateral for each in positions)
    assert state.debt_shares == sum(each.debt_shares for each in positions)


def event(market: Market, name: str) -> Struct:
    """The arguments of the pool's one event of that name in the last transaction."""
    (found,) = market.evm.last.events(name, market.forward)
    return found.args
