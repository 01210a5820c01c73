"""`Operators.set_operator` and `is_operator`."""

from perpool.evm import Account, Contract
from tests.market import ZERO_ADDRESS
from tests.pools import expect_event


def test_is_operator__nobody_at_first(
    operators: Contract, holder: Account, operator: Account
) -> None:
    assert operators.is_operator(holder, operator) is False
    # pools know that one acts for oneself; here it is nothing special
    assert operators.is_operator(holder, holder) is False
    assert operators.is_operator(ZERO_ADDRESS, ZERO_ADDRESS) is False


def test_set_operator__for_oneself_only(
    operators: Contract, holder: Account, operator: Account
) -> None:
    for approved in (True, True, False, False):
        receipt = operators.set_operator.transact(operator, approved, sender=holder)
        expect_event(
            receipt, "OperatorSet", operators, account=holder, operator=operator, approved=approved
        )
        assert operators.is_operator(holder, operator) is approved
        assert operators.is_operator(operator, holder) is False
    assert operators.nonces(holder) == 0


def test_set_operator__each_by_itself(
    operators: Contract, holder: Account, operator: Account
) -> None:
    other = operators.evm.account("other")
    operators.set_operator(operator, True, sender=holder)
    operators.set_operator(other, True, sender=holder)
    operators.set_operator(operator, False, sender=holder)
    assert operators.is_operator(holder, other) is True
    assert operators.is_operator(holder, operator) is False
