# pragma version 0.4.3
"""
@title Revert reasons of the factory
@license AGPL-3.0-only
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

NOT_OWNER_OR_GUARDIAN: constant(String[32]) = "not owner or guardian"
NO_BLUEPRINT: constant(String[32]) = "no blueprint"
WRONG_BLUEPRINT: constant(String[32]) = "blueprint hash mismatch"
MARKET_EXISTS: constant(String[32]) = "market exists"
NOT_CREATING: constant(String[32]) = "no pool is being created"
UNKNOWN_POOL: constant(String[32]) = "unknown pool"
UNKNOWN_HOOK: constant(String[32]) = "unknown hook"
UNKNOWN_SWAPPER: constant(String[32]) = "unknown swapper"
FEE_TOO_HIGH: constant(String[32]) = "fee too high"
NOTHING_REQUESTED: constant(String[32]) = "nothing requested"
RESERVE_LOCKED: constant(String[32]) = "reserve locked"
REQUEST_EXPIRED: constant(String[32]) = "request expired"
BAD_RECEIVER: constant(String[32]) = "bad receiver"

# unsafe parameters
NO_ADDRESS: constant(String[32]) = "zero address"
SAME_TOKEN: constant(String[32]) = "token is usdt"
BAD_DECIMALS: constant(String[32]) = "decimals not 6 to 24"
BAD_ORACLE: constant(String[32]) = "oracle of another market"
BAD_KINK: constant(String[32]) = "kink out of range"
BAD_RATE_CAP: constant(String[32]) = "rate cap out of range"
BAD_PASS_THROUGH: constant(String[32]) = "pass-through too high"
BAD_MAX_AGE: constant(String[32]) = "max age out of range"
BAD_LTV: constant(String[32]) = "ltv out of order"
BAD_BONUS: constant(String[32]) = "bonus out of range"
BAD_SLIPPAGE: constant(String[32]) = "slippage out of range"
BAD_MIN_DEBT: constant(String[32]) = "minimum debt too low"
BAD_RESERVE_FLOOR: constant(String[32]) = "reserve floor out of range"
