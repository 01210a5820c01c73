"""The benchmark measures what it says: everything on, an hour of interest, the right users."""

from collections.abc import Iterator

import pytest

from perpool.anvil import Anvil
from perpool.bench.market import START, USDT, Market, product
from perpool.bench.operations import (
    COMPARED,
    FUNDING,
    Operation,
    measure_all,
    measure_receipts,
    populate,
)
from perpool.chain import Chain, Receipt

WAD = 10**18
BASE_RATE = 2 * WAD // 100


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with Anvil(timestamp=START) as anvil:
        market = Market(Chain.connect(anvil.endpoint), *product())
        market.learn_volatility()
        yield market


@pytest.fixture(scope="module")
def receipts(market: Market) -> dict[str, Receipt]:
    return measure_receipts(market, COMPARED)


def named(name: str) -> Operation:
    return next(operation for operation in COMPARED if operation.name == name)


@pytest.mark.parametrize("name", [operation.name for operation in COMPARED])
def test_premium_is_on(receipts: dict[str, Receipt], name: str) -> None:
    accruals = receipts[name].events("Accrue")
    if "collateral" in name:
        # these leave the totals as they are
        assert accruals == []
        return
    (accrual,) = accruals
    direction = -1 if named(name).on_forward else 1
    # the first round's median, near what reporters were told to say
    assert direction * accrual.funding_wad == pytest.approx(float(FUNDING) * WAD, rel=1e-3)
    premium = direction * accrual.funding_wad // 5
    assert accrual.borrow_rate_wad > BASE_RATE + premium
    assert accrual.interest > 0
    debt = 15_000 * WAD if named(name).on_forward else 100_000 * USDT
    hourly = debt * accrual.borrow_rate_wad // (365 * 24 * WAD)
    assert accrual.interest == pytest.approx(hourly, rel=0.15)


@pytest.mark.parametrize("leg", ["reverse", "forward"])
def test_fee_is_on(market: Market, leg: str) -> None:
    with market.chain.anchor():
        pool = getattr(populate(market, market.pools), leg)
        assert pool.balanceOf(pool) > 0, "charged"
        market.pass_hour()
        state = pool.accrued_state()
    assert state.cash + state.debt_assets - state.supply_assets > 0, "still to be charged"


def test_amounts(receipts: dict[str, Receipt]) -> None:
    liquidation = receipts["liquidate_partial"].events("Liquidate")[0]
    assert liquidation.collateral > 0, "partial"
    assert 25_000 * USDT < liquidation.repaid <= 30_000 * USDT
    opened = receipts["open_short"].events("OpenShort")[0]
    assert (opened.margin, opened.token_amount) == (80_000 * USDT, 5_000 * WAD)
    assert len(receipts["open_short"].events("Swap")) == 1
    closed = receipts["close_short"].events("CloseShort")[0]
    assert closed.token_amount > 5_000 * WAD, "all of it, with interest"
    repaid = receipts["repay_full"].events("Repay")[0]
    assert repaid.assets > 40_000 * USDT


def test_second_user_pays_for_a_new_slot(receipts: dict[str, Receipt]) -> None:
    for name in ("deposit", "supply_collateral"):
        second, repeat = receipts[f"{name}_second_user"], receipts[f"{name}_repeat"]
        assert second.gas_used - repeat.gas_used == pytest.approx(17_100, abs=100)


def test_same_figures_in_any_order(market: Market, receipts: dict[str, Receipt]) -> None:
    names = ["open_short", "repay_partial", "deposit_second_user"]
    again = measure_all(market, [named(name) for name in names])
    assert again == {name: receipts[name].gas_used for name in names}
