# pragma version 0.4.3
"""
@title Revert reasons of the oracles
@license AGPL-3.0-only
@author Perpool
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

# reporters
REPORTERS_NOT_ASCENDING: constant(String[32]) = "reporters not ascending"
QUORUM_TOO_SMALL: constant(String[32]) = "quorum too small"
QUORUM_TOO_LARGE: constant(String[32]) = "quorum too large"
BAD_REPORT_AGE: constant(String[32]) = "report age out of bounds"

# reports
FROM_THE_FUTURE: constant(String[32]) = "report from the future"
TOO_OLD: constant(String[32]) = "report too old"
WRONG_LENGTH: constant(String[32]) = "wrong number of values"
UNKNOWN_SIGNER: constant(String[32]) = "unknown or repeated signer"
BELOW_QUORUM: constant(String[32]) = "below quorum"

# funding
BAD_RATE_BOUNDS: constant(String[32]) = "bad rate bounds"
BAD_TAU: constant(String[32]) = "tau out of bounds"

# price feed
NO_ROUND: constant(String[32]) = "no such round"
TOO_SOON: constant(String[32]) = "round too soon"
BAD_SPACING: constant(String[32]) = "spacing out of bounds"
BAD_MAX_MOVE: constant(String[32]) = "max move out of bounds"

# price oracle
STALE_PRICE: constant(String[32]) = "stale price"
PRICE_OUT_OF_RANGE: constant(String[32]) = "price out of range"
PRICE_CATCHING_UP: constant(String[32]) = "price is catching up"
PRICES_DISAGREE: constant(String[32]) = "prices disagree"

# price oracle, set-up
MISSING_ADDRESS: constant(String[32]) = "zero address"
EQUAL_TOKENS: constant(String[32]) = "equal tokens"
BAD_DECIMALS: constant(String[32]) = "decimals out of bounds"
BAD_MAX_AGE: constant(String[32]) = "max age out of bounds"
BAD_RANGE: constant(String[32]) = "bad price range"
WRONG_POOL: constant(String[32]) = "wrong pool"
BAD_WINDOW: constant(String[32]) = "window out of bounds"
BAD_TOLERANCE: constant(String[32]) = "tolerance out of bounds"
BAD_TICK: constant(String[32]) = "tick out of bounds"
