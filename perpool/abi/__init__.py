"""Functions and events of the contracts; `python -m tools.export_abi` writes the files."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache
def load_abi(contract: str) -> list[dict[str, Any]]:
    """The functions and events of a contract, such as "ReversePool" or "Lens"."""
    text = files(__name__).joinpath(f"{contract}.json").read_text()
    abi: list[dict[str, Any]] = json.loads(text)
    return abi
