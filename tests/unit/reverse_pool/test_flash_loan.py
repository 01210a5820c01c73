"""`ReversePool.maxFlashLoan`, `flashFee` and `flashLoan` (ERC-3156)."""

import pytest
from eth_utils.crypto import keccak

from perpool.evm import Contract, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, Market, deploy_market
from tests.pools import DAY, expect_event
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def flash_borrower(market: Market) -> Contract:
    return market.evm.deploy("FlashBorrower")


# --- maxFlashLoan, flashFee


def test_max_flash_loan__is_the_cash(market: Market, pool: Contract) -> None:
    assert pool.maxFlashLoan(market.usdt) == market.usd(100_000)
    market.borrow(collateral=market.tokens(1_000), usdt=market.usd(5_000))
    market.usdt.mint(pool, market.usd(7), sender=market.owner)
    market.evm.warp(DAY)
    assert pool.maxFlashLoan(market.usdt) == market.usd(95_000)


def test_max_flash_loan__of_another_token_or_paused(market: Market, pool: Contract) -> None:
    assert pool.maxFlashLoan(market.token) == pool.maxFlashLoan(ZERO_ADDRESS) == 0
    market.factory.set_paused(pool, True, sender=market.guardian)
    assert pool.maxFlashLoan(market.usdt) == 0


def test_flash_fee__of_another_token(market: Market, pool: Contract) -> None:
    with reverts("bad token"):
        pool.flashFee(market.token, 1)


def test_flash_fee__is_none(market: Market, pool: Contract) -> None:
    for amount in (0, 1, MAX):
        assert pool.flashFee(market.usdt, amount) == 0


# --- flashLoan


def test_flash_loan__of_another_token(
    market: Market, pool: Contract, flash_borrower: Contract
) -> None:
    market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    with reverts("bad token"):
        pool.flashLoan(flash_borrower, market.token, 1, b"")


def test_flash_loan__paused(market: Market, pool: Contract, flash_borrower: Contract) -> None:
    market.factory.set_paused(pool, True, sender=market.guardian)
    with reverts("paused"):
        pool.flashLoan(flash_borrower, market.usdt, 1, b"")


def test_flash_loan__nothing(market: Market, pool: Contract, flash_borrower: Contract) -> None:
    with reverts("zero amount"):
        pool.flashLoan(flash_borrower, market.usdt, 0, b"")


def test_flash_loan__more_than_the_cash(
    market: Market, pool: Contract, flash_borrower: Contract
) -> None:
    market.usdt.mint(pool, market.usd(7), sender=market.owner)
    with reverts("insufficient cash"):
        pool.flashLoan(flash_borrower, market.usdt, pool.maxFlashLoan(market.usdt) + 1, b"")


def test_flash_loan__to_who_does_not_answer(market: Market, pool: Contract) -> None:
    for receiver in (market.evm.account("holder"), market.token, pool):
        with reverts(""):
            pool.flashLoan(receiver, market.usdt, 1, b"")


@pytest.mark.parametrize("answer", [bytes(32), keccak(text="onFlashLoan"), b"\xff" * 32])
def test_flash_loan__wrong_answer(
    market: Market, pool: Contract, flash_borrower: Contract, answer: bytes
) -> None:
    flash_borrower.set_answer(answer)
    with reverts("bad callback answer"):
        pool.flashLoan(flash_borrower, market.usdt, 1, b"")


def test_flash_loan__not_repaid(market: Market, pool: Contract, flash_borrower: Contract) -> None:
    flash_borrower.set_repays(False)
    with reverts("insufficient allowance"):
        pool.flashLoan(flash_borrower, market.usdt, market.usd(1), b"")
    # passed on to somebody
    flash_borrower.set_repays(True)
    thief = market.evm.account("thief")
    flash_borrower.prepare_call(
        market.usdt, market.usdt.transfer.encode(thief, market.usd(1)), sender=thief
    )
    with reverts("insufficient balance"):
        pool.flashLoan(flash_borrower, market.usdt, market.usd(1), b"")


def test_flash_loan__of_usdt_with_a_fee(evm: Evm) -> None:
    usdt = evm.deploy("FeeToken", 6, 0)
    market = deploy_market(evm, usdt=usdt)
    market.lend(usdt=market.usd(10_000))
    borrower = evm.deploy("FlashBorrower")
    usdt.mint(borrower, market.usd(100))
    usdt.set_fee(100)
    with reverts("transfer fell short"):
        market.reverse.flashLoan(borrower, usdt, market.usd(1_000), b"")


@pytest.mark.parametrize("entry", ["deposit", "supply_collateral", "repay", "flashLoan"])
def test_flash_loan__cannot_be_put_back_through_another_door(
    market: Market, pool: Contract, flash_borrower: Contract, entry: str
) -> None:
    """The side entrance: what is lent out must not be credited to the borrower on its way back."""
    debtor = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    market.token.mint(flash_borrower, market.tokens(5))
    for token in (market.token, market.usdt):
        flash_borrower.approve(token, pool, MAX)
    amount = market.usd(100)
    data = {
        "deposit": pool.deposit.encode(amount, flash_borrower),
        "supply_collateral": pool.supply_collateral.encode(market.tokens(5), flash_borrower),
        "repay": pool.repay.encode(amount, debtor),
        "flashLoan": pool.flashLoan.encode(flash_borrower, market.usdt, amount, b""),
    }[entry]
    flash_borrower.prepare_call(pool, data)
    # a standing allowance is no way to call `approve` again on a USDT
    flash_borrower.set_repays(False)

    pool.flashLoan(flash_borrower, market.usdt, amount, b"")

    (called,) = market.evm.last.events("Called", flash_borrower)
    assert called.success is False
    assert pool.balanceOf(flash_borrower) == 0
    assert pool.position(flash_borrower) == (0, 0)
    assert pool.debt_of(debtor) >= market.usd(500)


def test_flash_loan__views_that_price_shares_are_shut_meanwhile(
    market: Market, pool: Contract, flash_borrower: Contract
) -> None:
    for view in (
        pool.totalAssets.encode(),
        pool.convertToAssets.encode(10**6),
        pool.accrued_state.encode(),
        pool.maxWithdraw.encode(market.evm.account("lender")),
    ):
        market.evm.call(pool, view)
        flash_borrower.prepare_call(pool, view)
        pool.flashLoan(flash_borrower, market.usdt, market.usd(100), b"")
        assert [event.success for event in market.evm.last.events("Called")] == [False]


@pytest.mark.parametrize("everything", [False, True])
def test_flash_loan__runs(
    market: Market, pool: Contract, flash_borrower: Contract, everything: bool
) -> None:
    initiator = market.evm.account("initiator")
    market.borrow(collateral=market.tokens(1_000), usdt=market.usd(5_000))
    amount = pool.maxFlashLoan(market.usdt) if everything else 1
    before, balances = pool.state(), balances_of(market, flash_borrower, initiator)

    receipt = pool.flashLoan.transact(
        flash_borrower, market.usdt, amount, b"some data", sender=initiator
    )

    assert receipt.return_value is True
    expect_event(
        receipt, "FlashLoan", pool, caller=initiator, receiver=flash_borrower, assets=amount
    )
    expect_event(
        receipt,
        "Borrowed",
        flash_borrower,
        lender=pool,
        initiator=initiator,
        token=market.usdt,
        amount=amount,
        fee=0,
        balance=amount,
        data=b"some data",
    )
    assert pool.state() == before
    for holder in (flash_borrower, initiator, pool):
        assert balances.changes(holder) == (0, 0)


def test_flash_loan__by_the_receiver_itself(
    market: Market, pool: Contract, flash_borrower: Contract
) -> None:
    assert flash_borrower.borrow(pool, market.usdt, market.usd(5), b"") is True
    (event,) = market.evm.last.events("Borrowed")
    assert event.initiator == flash_borrower.address


def test_flash_loan__of_what_approved_the_pool_but_did_not_ask(
    market: Market, pool: Contract
) -> None:
    """An allowance alone lets nobody run a loan through somebody else."""
    victim, thief = market.evm.account("victim"), market.evm.account("thief")
    market.give(victim, usdt=market.usd(100))
    with reverts(""):
        pool.flashLoan(victim, market.usdt, market.usd(50), b"", sender=thief)
