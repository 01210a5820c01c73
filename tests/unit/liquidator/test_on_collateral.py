"""`Liquidator.on_collateral`: open to the pool of a running call and to nobody else."""

from __future__ import annotations

from perpool.evm import reverts
from tests.market import MAX
from tests.unit.liquidator.conftest import Case


def test_on_collateral__between_calls(case: Case) -> None:
    for caller in (case.caller, case.borrower, case.pool, case.market.swapper):
        with reverts("not the pool"):
            case.liquidator.on_collateral(case.borrower, 1, 1, b"sell", sender=caller)


def test_on_collateral__of_somebody_else_s_liquidation(case: Case) -> None:
    """A pool calls back only whom it was called by."""
    puppet = case.evm.deploy("Puppet")
    liquidator, pool = case.liquidator, case.pool
    callback = liquidator.on_collateral.encode(case.borrower, 1, 1, b"sell")
    puppet.prepare("on_collateral", [(liquidator, callback, True)])
    liquidation = pool.liquidate.encode(case.borrower, MAX, puppet, b"data")
    with reverts("not the pool"):
        puppet.run([(pool, liquidation, True)])
