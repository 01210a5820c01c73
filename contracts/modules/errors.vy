# pragma version 0.4.3
"""
@title Revert reasons of the pools and the factory
@license AGPL-3.0-only
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

# who may
NOT_OWNER: constant(String[32]) = "not owner"
NOT_GUARDIAN: constant(String[32]) = "not guardian"
NOT_AUTHORISED: constant(String[32]) = "not authorised"
BAD_SIGNATURE: constant(String[32]) = "bad signature"
EXPIRED: constant(String[32]) = "deadline passed"
PAUSED: constant(String[32]) = "paused"

# amounts
ZERO_AMOUNT: constant(String[32]) = "zero amount"
ZERO_ADDRESS: constant(String[32]) = "zero address"
BAD_RECEIVER: constant(String[32]) = "bad receiver"
TOO_LARGE: constant(String[32]) = "amount too large"
SHORT_TRANSFER: constant(String[32]) = "transfer fell short"
INSUFFICIENT_BALANCE: constant(String[32]) = "insufficient balance"
INSUFFICIENT_ALLOWANCE: constant(String[32]) = "insufficient allowance"
INSUFFICIENT_CASH: constant(String[32]) = "insufficient cash"
INSUFFICIENT_COLLATERAL: constant(String[32]) = "insufficient collateral"
INSUFFICIENT_GAS: constant(String[32]) = "insufficient gas"

# limits
SUPPLY_CAP: constant(String[32]) = "supply cap"
DEBT_CAP: constant(String[32]) = "debt cap"
COLLATERAL_CAP: constant(String[32]) = "collateral cap"
BLOCK_CAP: constant(String[32]) = "block cap"
DUST: constant(String[32]) = "below minimum debt"

# positions
UNHEALTHY: constant(String[32]) = "unhealthy position"
HEALTHY: constant(String[32]) = "healthy position"
NO_DEBT: constant(String[32]) = "no debt"
SAME_BLOCK: constant(String[32]) = "opened in this block"

# swaps
UNKNOWN_SWAPPER: constant(String[32]) = "unknown swapper"
SLIPPAGE: constant(String[32]) = "slippage"
BAD_SWAP: constant(String[32]) = "bad swap"

# owner
FEE_TOO_HIGH: constant(String[32]) = "fee too high"
UNKNOWN_HOOK: constant(String[32]) = "unknown hook"
RESERVE_LOCKED: constant(String[32]) = "reserve locked"
