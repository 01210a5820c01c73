# pragma version 0.4.3
"""
@title Revert reasons of the carry vault
@license AGPL-3.0-only
@notice Short, stable and lower-case: the SDK and the tests match on them. Those that the pools use too are in `errors`.
"""
from contracts.modules import errors


# --- set-up


@internal
@pure
def _wrong_market():
    errors._fail("wrong market")


@internal
@pure
def _bad_parameters():
    errors._fail("bad parameters")


# --- who may


@internal
@pure
def _not_owner():
    errors._fail("not owner")


@internal
@pure
def _not_vault():
    errors._fail("not vault")


@internal
@pure
def _not_self():
    errors._fail("not self")


@internal
@pure
def _unknown_hook():
    errors._fail("unknown hook")


# --- requests


@internal
@pure
def _asynchronous():
    errors._fail("asynchronous")


@internal
@pure
def _no_request():
    errors._fail("no request")


@internal
@pure
def _too_soon():
    errors._fail("too soon")


@internal
@pure
def _order_pending():
    errors._fail("order pending")


@internal
@pure
def _order_refused():
    errors._fail("order refused")


@internal
@pure
def _too_few_tokens():
    errors._fail("too few tokens")


@internal
@pure
def _insolvent():
    errors._fail("insolvent")


@internal
@pure
def _not_claimable():
    errors._fail("not claimable")
