"""`perpool keeper run` under Ape's name, for whoever has his accounts there ("ape:alias").

ape run keeper --config keeper.toml --once
"""

from perpool.keeper.cli import run as cli

__all__ = ["cli"]
