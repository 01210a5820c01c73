# pragma version 0.4.3
"""
@title Revert reasons of Liquidator and Multicall
@license AGPL-3.0-only
@author Perpool
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

# Liquidator
BAD_RECEIVER: constant(String[32]) = "bad receiver"
NOT_THE_POOL: constant(String[32]) = "not the pool"
UNPROFITABLE: constant(String[32]) = "profit too small"

# Multicall
NO_ETHER: constant(String[32]) = "no ether"
CALL_FAILED: constant(String[32]) = "call failed"
