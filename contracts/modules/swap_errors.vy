# pragma version 0.4.3
"""
@title Revert reasons of the swap adapters
@license AGPL-3.0-only
@author Perpool
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

# set-up
NO_FACTORY: constant(String[32]) = "zero factory"

# route
BAD_ROUTE: constant(String[32]) = "bad route"
WRONG_TOKENS: constant(String[32]) = "wrong tokens in route"
NO_POOL: constant(String[32]) = "no such pool"

# amounts
PARTIAL_FILL: constant(String[32]) = "input not all spent"
EXCESSIVE_INPUT: constant(String[32]) = "excessive input"
INSUFFICIENT_OUTPUT: constant(String[32]) = "insufficient output"

# who may
NOT_THE_POOL: constant(String[32]) = "not the pool"
