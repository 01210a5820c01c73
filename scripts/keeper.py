"""`perpool keeper run` under Ape's name, for those whose accounts are Ape's (`account = "ape:..."`).

ape run keeper --config keeper.toml --once
"""

from perpool.keeper.cli import run as cli

__all__ = ["cli"]
