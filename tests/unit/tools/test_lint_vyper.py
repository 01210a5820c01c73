"""What the linter of Vyper sources adds to natrix: imports that nothing uses."""

import pytest

from tools.lint_vyper import unused_imports


@pytest.mark.parametrize(
    ("source", "unused"),
    [
        ("from interfaces import IPool\n\nstate: IPool.State\n", []),
        ("from interfaces import IPool\n", ["IPool"]),
        ("from interfaces import IPool\n# IPool\n", ["IPool"]),
        ('from interfaces import IPool\n"""IPool\n"""\n', ["IPool"]),
        ("from a.b import errors_of_a as errors\n\nx: uint256 = errors.X\n", []),
        ("from a.b import errors_of_a as errors\n\nerrors_of_a: uint256\n", ["errors"]),
        ("from a import x\nfrom a import xy\n\nz: xy\n", ["x"]),
    ],
)
def test_unused_imports(source: str, unused: list[str]) -> None:
    assert unused_imports(source) == unused
