# pragma version 0.4.3
"""
@title Revert reasons of the perp venue, and why its requests fail
@license AGPL-3.0-only
@author Perpool
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

# set-up
MISSING_ADDRESS: constant(String[32]) = "zero address"
EQUAL_TOKENS: constant(String[32]) = "equal tokens"
WRONG_ORACLE: constant(String[32]) = "wrong oracle"
BAD_MARGINS: constant(String[32]) = "margins out of bounds"
BAD_FEE: constant(String[32]) = "fee out of bounds"
BAD_PENALTY: constant(String[32]) = "penalty out of bounds"
BAD_GAIN: constant(String[32]) = "largest gain out of bounds"
BAD_CAP: constant(String[32]) = "exposure cap out of bounds"
BAD_MAX_AGE: constant(String[32]) = "max age out of bounds"
BAD_HORIZON: constant(String[32]) = "horizon out of bounds"
BAD_DELAY: constant(String[32]) = "delay out of bounds"

# amounts and addresses
ZERO_AMOUNT: constant(String[32]) = "zero amount"
TOO_LARGE: constant(String[32]) = "amount too large"
BAD_RECEIVER: constant(String[32]) = "bad receiver"

# requests
REQUEST_PENDING: constant(String[32]) = "request pending"
EXPIRED: constant(String[32]) = "deadline passed"
NO_POSITION: constant(String[32]) = "no position"
SIDE_WOULD_FLIP: constant(String[32]) = "side would flip"
LIMIT_PRICE: constant(String[32]) = "beyond limit price"
INSUFFICIENT_MARGIN: constant(String[32]) = "insufficient margin"
EXPOSURE_CAP: constant(String[32]) = "exposure cap"
NO_ROOM: constant(String[32]) = "insufficient liquidity"

# liquidity
INSUFFICIENT_SHARES: constant(String[32]) = "insufficient balance"

# closing by others
HEALTHY: constant(String[32]) = "healthy position"
UNHEALTHY: constant(String[32]) = "unhealthy position"
HORIZON_INTACT: constant(String[32]) = "horizon intact"
WRONG_SIDE: constant(String[32]) = "wrong side"
