"""Every reason that somebody may meet has a remedy, and the ABIs are those of the contracts."""

import re
from pathlib import Path

import pytest

from perpool.abi import load_abi
from perpool.evm import Reverted
from perpool.sdk import ActionError, PerpoolError, UnknownMarketError
from perpool.sdk.errors import REMEDIES, remedy_for
from tools.export_abi import CONTRACTS, stale

MODULES = Path(__file__).parents[3] / "contracts" / "modules"
REASON = re.compile(r'"([a-z][^"]*)"')
# of construction and of reporters, which the SDK has nothing to do with
OUT_OF_REACH = ("# reporters", "# reports", "# funding", "# price feed", "# price oracle, set-up")


def reasons(file: str) -> set[str]:
    """Reasons of a file of errors, without the sections out of the SDK's reach."""
    found: set[str] = set()
    reachable = True
    for line in (MODULES / file).read_text().split('"""', 2)[2].splitlines():
        if line.startswith("# ") and not line.startswith("# ---"):
            reachable = line not in (*OUT_OF_REACH, "# set-up")
        if reachable:
            found |= set(REASON.findall(line))
    return found


FILES = (
    "errors.vy",
    "oracle_errors.vy",
    "swap_errors.vy",
    "carry_errors.vy",
    "perp_errors.vy",
    "reward_errors.vy",
)


@pytest.mark.parametrize("file", FILES)
def test_remedies__for_every_reason(file: str) -> None:
    found = reasons(file)
    assert found
    assert found - set(REMEDIES) - {"no such round", "round too soon"} == set()


def test_remedies__for_no_reason_that_does_not_exist() -> None:
    stated = set().union(
        *(
            set(REASON.findall((MODULES / file).read_text()))
            for file in (*FILES, "factory_errors.vy")
        )
    )
    assert set(REMEDIES) <= stated


def test_remedies__are_sentences() -> None:
    for reason, remedy in REMEDIES.items():
        assert remedy[0].isupper(), reason
        assert remedy.endswith("."), reason


def test_action_error__says_reason_and_remedy() -> None:
    error = ActionError.of("ADA reverse: borrow 5 USDT", Reverted("paused"))
    assert isinstance(error, PerpoolError)
    assert error.reason == "paused"
    assert str(error) == f"ADA reverse: borrow 5 USDT: paused. {REMEDIES['paused']}"
    unknown = ActionError.of("x", Reverted("", fault="OutOfGas: all of it"))
    assert "OutOfGas" in str(unknown)
    assert remedy_for("never heard of") in str(ActionError("x", "never heard of"))


def test_unknown_market__is_a_key_error_that_reads_well() -> None:
    assert issubclass(UnknownMarketError, KeyError)
    assert str(UnknownMarketError("there is no market")) == "there is no market"


def test_abi__is_that_of_the_contracts() -> None:
    assert stale() == [], "run python -m tools.export_abi"


@pytest.mark.parametrize("contract", CONTRACTS)
def test_abi__loads(contract: str) -> None:
    kinds = [entry["type"] for entry in load_abi(contract)]
    assert {"function"} <= set(kinds) <= {"function", "event"}
