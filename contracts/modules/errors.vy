# pragma version 0.4.3
"""
@title Revert reasons of the pools
@license AGPL-3.0-only
@notice Short, stable and lower-case: the SDK and the tests match on them. Each is a function, because a reason written
        out at every check costs 120 bytes of a pool's code and a call costs 15.
"""


@internal
@pure
def _fail(reason: String[32]):
    raise reason


# --- who may


@internal
@pure
def _not_factory():
    self._fail("not factory")


@internal
@pure
def _not_authorised():
    self._fail("not authorised")


@internal
@pure
def _bad_signature():
    self._fail("bad signature")


@internal
@pure
def _expired():
    self._fail("deadline passed")


@internal
@pure
def _paused():
    self._fail("paused")


# --- amounts and addresses


@internal
@pure
def _zero_amount():
    self._fail("zero amount")


@internal
@pure
def _too_large():
    self._fail("amount too large")


@internal
@pure
def _short_transfer():
    self._fail("transfer fell short")


@internal
@pure
def _bad_receiver():
    self._fail("bad receiver")


@internal
@pure
def _bad_token():
    self._fail("bad token")


@internal
@pure
def _bad_callback():
    self._fail("bad callback answer")


@internal
@pure
def _insufficient_balance():
    self._fail("insufficient balance")


@internal
@pure
def _insufficient_allowance():
    self._fail("insufficient allowance")


@internal
@pure
def _insufficient_cash():
    self._fail("insufficient cash")


@internal
@pure
def _insufficient_collateral():
    self._fail("insufficient collateral")


@internal
@pure
def _insufficient_gas():
    self._fail("insufficient gas")


# --- limits


@internal
@pure
def _supply_cap():
    self._fail("supply cap")


@internal
@pure
def _debt_cap():
    self._fail("debt cap")


@internal
@pure
def _collateral_cap():
    self._fail("collateral cap")


@internal
@pure
def _block_cap():
    self._fail("block cap")


@internal
@pure
def _dust():
    self._fail("below minimum debt")


# --- positions


@internal
@pure
def _unhealthy():
    self._fail("unhealthy position")


@internal
@pure
def _healthy():
    self._fail("healthy position")


@internal
@pure
def _no_debt():
    self._fail("no debt")


@internal
@pure
def _same_block():
    self._fail("opened in this block")


# --- swaps


@internal
@pure
def _unknown_swapper():
    self._fail("unknown swapper")


@internal
@pure
def _slippage():
    self._fail("slippage")
