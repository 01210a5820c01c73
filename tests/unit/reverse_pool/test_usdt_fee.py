"""USDT can switch a transfer fee on. Then whoever pays bears it, and nobody is kept from paying."""

from collections.abc import Iterator

import pytest

from perpool.evm import Account, Evm
from tests.market import MAX, Market, deploy_market
from tests.pools import calm

FEE_BPS = 20


@pytest.fixture(scope="module")
def opened(chain: Evm) -> Iterator[tuple[Market, Account]]:
    """A market and its borrower, before the fee."""
    with chain.anchor():
        market = deploy_market(chain, usdt=chain.deploy("FeeToken", 6, 0))
        market.lend(usdt=market.usd(10_000))
        calm(market)
        borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
        market.give(borrower, usdt=market.usd(1_000))
        yield market, borrower


@pytest.fixture
def scene(opened: tuple[Market, Account], evm: Evm) -> tuple[Market, Account]:
    opened[0].usdt.set_fee(FEE_BPS)
    return opened


def arrived(market: Market, before: int) -> int:
    return int(market.usdt.balanceOf(market.reverse)) - before


def test_repay__all(scene: tuple[Market, Account]) -> None:
    market, borrower = scene
    before, held = market.usdt.balanceOf(market.reverse), market.usdt.balanceOf(borrower)
    repaid, _ = market.reverse.repay(MAX, borrower, sender=borrower)
    assert market.reverse.debt_shares_of(borrower) == 0
    assert 0 <= arrived(market, before) - repaid <= 1
    fee = held - market.usdt.balanceOf(borrower) - repaid
    assert repaid * FEE_BPS // 10_000 <= fee <= repaid * (FEE_BPS + 1) // 10_000


def test_repay__a_part_credits_what_arrived(scene: tuple[Market, Account]) -> None:
    market, borrower = scene
    before = market.usdt.balanceOf(market.reverse)
    repaid, _ = market.reverse.repay(market.usd(100), borrower, sender=borrower)
    assert repaid == arrived(market, before) == market.usd(100) * (10_000 - FEE_BPS) // 10_000


def test_deleverage(scene: tuple[Market, Account]) -> None:
    market, borrower = scene
    before = market.usdt.balanceOf(market.reverse)
    repaid = market.reverse.deleverage(
        market.tokens(10), market.usd(100), borrower, borrower, b"", sender=borrower
    )
    assert repaid == market.usd(100)
    assert 0 <= arrived(market, before) - repaid <= 1


def test_liquidate(scene: tuple[Market, Account]) -> None:
    market, borrower = scene
    market.set_price("8.2", move_uniswap=False)
    liquidator = market.give(market.evm.account("liquidator"), usdt=market.usd(1_000))
    before = market.usdt.balanceOf(market.reverse)
    repaid, seized = market.reverse.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert repaid > 0
    assert seized > 0
    assert 0 <= arrived(market, before) - repaid <= 1
