"""A stand-in for five exchanges on loopback. It is no exchange: it speaks their formats, so that
ccxt itself, unpatched, is tested against it.

    with StandIn() as exchanges:
        exchanges.quote("okx", "ADA", rate="0.0001", hours=8, index="1.2", mark="1.21")
        venue = ExchangeVenue.connect("okx", **exchanges.options("okx"))
        exchanges.fault("okx", "slow", seconds=3)
        exchanges.mend("okx")

What it says is set by `quote`, or taken from recorded history by `play`, at the time it is made to
believe in (`time`, else the real one). At a time within a funding interval the running rate of a
played market is the one that was settled at the interval's end, as if the exchange's prediction had
been right all along; its history has what was settled by then. A market is not listed while its
history has a gap.

Every exchange has a server and a port of its own, and its way of speaking (`formats`). What may be
wrong with one is in `FAULTS`.
"""

from tests.exchanges.faults import FAULTS
from tests.exchanges.stand_in import StandIn

__all__ = ["FAULTS", "StandIn"]
