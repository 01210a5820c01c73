"""Each pool in turn: what the modules that both are made of promise holds for both."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from perpool.evm import Evm, Receipt
from tests.market import MAX, deploy_market
from tests.pools import Side

SIDES = ("reverse", "forward")


@pytest.fixture(scope="module", params=SIDES)
def side(request: pytest.FixtureRequest, chain: Evm) -> Iterator[Side]:
    """A pool of an 18-decimal token and 6-decimal USDT, a fee of 10 %, no caps, no hook yet."""
    with chain.anchor():
        market = deploy_market(chain, make_hook=lambda *_: chain.deploy("TestHook"))
        yield Side.of(market, request.param)


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""


@pytest.fixture(params=list(product(SIDES, (6, 8, 18, 24))), ids=lambda p: f"{p[0]}-{p[1]}")
def side_of_decimals(request: pytest.FixtureRequest, evm: Evm) -> Side:
    """A pool whose asset has so many decimals."""
    name, decimals = request.param
    changed = "usdt_decimals" if name == "reverse" else "token_decimals"
    return Side.of(deploy_market(evm, **{changed: decimals}), name)


# --- what lenders and a borrower do, named so, once they are in

Change = Callable[[Side], Receipt]


def _lenders(name: str) -> Change:
    def change(side: Side) -> Receipt:
        lender = side.evm.account("lender")
        amount = side.whole(100)
        arguments = {
            "deposit": (amount, lender),
            "mint": (amount, lender),
            "withdraw": (amount, lender, lender),
            "redeem": (side.pool.balanceOf(lender) // 10, lender, lender),
        }[name]
        return side.pool.function(name).transact(*arguments, sender=lender)

    return change


LENDERS = {name: _lenders(name) for name in ("deposit", "mint", "withdraw", "redeem")}


def borrow_more(side: Side) -> Receipt:
    side.owe(50)
    return side.evm.last


def repay(side: Side) -> Receipt:
    payer = side.give("payer", 50)
    borrower = side.evm.account("borrower")
    return side.pool.repay.transact(side.whole(50), borrower, sender=payer)


def wind_down(side: Side) -> Receipt:
    """The pool's own way of paying with the collateral, for half of the debt."""
    market, borrower = side.market, side.evm.account("borrower")
    if side.name == "reverse":
        market.give(borrower, usdt=market.usd(200))
        return side.pool.deleverage.transact(
            market.tokens(20), market.usd(200), borrower, borrower, b"", sender=borrower
        )
    return side.pool.close_short.transact(
        market.tokens(200),
        MAX,
        MAX,
        borrower,
        borrower,
        market.swapper,
        market.buy_route,
        sender=borrower,
    )


def liquidate(side: Side) -> Receipt:
    """Everything, at a price at which the collateral is worth less than the debt."""
    side.market.set_price("4.5" if side.name == "reverse" else "22", move_uniswap=False)
    liquidator = side.give("liquidator", 400)
    borrower = side.evm.account("borrower")
    return side.pool.liquidate.transact(borrower, MAX, liquidator, b"", sender=liquidator)


BORROWERS = {
    "borrow": borrow_more,
    "repay": repay,
    "wind down": wind_down,
    "liquidate": liquidate,
}
