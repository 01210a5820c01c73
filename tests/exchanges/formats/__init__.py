"""The formats of exchanges' public REST interfaces as ccxt calls them, with the fields that those
answers have; values of no interest are constants.
"""

from tests.exchanges.formats import binance, bybit, gate, hyperliquid, okx
from tests.exchanges.formats.format import Format

FORMATS: dict[str, Format] = {
    "binance": binance.FORMAT,
    "bybit": bybit.FORMAT,
    "okx": okx.FORMAT,
    "gate": gate.FORMAT,
    "hyperliquid": hyperliquid.FORMAT,
}

__all__ = ["FORMATS", "Format"]
