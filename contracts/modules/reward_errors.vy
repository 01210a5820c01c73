# pragma version 0.4.3
"""
@title Revert reasons of RewardStream
@license AGPL-3.0-only
@author Perpool
@notice Short, stable and lower-case: the SDK and the tests match on them.
"""

NOT_OWNER: constant(String[32]) = "not owner"
NOT_PROJECT: constant(String[32]) = "not the project"
NOT_AUTHORISED: constant(String[32]) = "not authorised"
NO_ADDRESS: constant(String[32]) = "zero address"
BAD_RECEIVER: constant(String[32]) = "bad receiver"
BAD_SIDE: constant(String[32]) = "holders or borrowers"
BAD_DECIMALS: constant(String[32]) = "decimals above 36"
TOO_MANY_PROGRAMMES: constant(String[32]) = "too many programmes"
BAD_DURATION: constant(String[32]) = "duration out of range"
RATE_TOO_LOW: constant(String[32]) = "rate too low"
TOO_LARGE: constant(String[32]) = "amount too large"
