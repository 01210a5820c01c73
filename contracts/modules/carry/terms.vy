# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a carry strategy is about
@license AGPL-3.0-only
@notice Its vault, pools, oracles, venue and parameters; they never change.
"""
from interfaces import ICarryVault
from interfaces import IPerpVenue
from interfaces import IPool
from interfaces import IPriceOracle
from interfaces import IReversePool
from contracts.modules import carry_errors

VAULT: immutable(address)
FACTORY: immutable(address)
TOKEN: immutable(address)
USDT: immutable(address)
REVERSE: immutable(IReversePool)
REVERSE_POOL: immutable(IPool)
FORWARD: immutable(address)
VENUE: immutable(IPerpVenue)
PRICES: immutable(IPriceOracle)
FUNDING_ORACLE: immutable(address)
FUNDING_TOKEN: immutable(address)
FUNDING_MAX_AGE: immutable(uint256)
MIN_DEBT: immutable(uint256)
PARAMETERS: immutable(ICarryVault.Parameters)


@deploy
def __init__(
    reverse_pool: address,
    forward_pool: address,
    venue: address,
    parameters: ICarryVault.Parameters,
):
    """
    @notice What the vault that deploys it has checked.
    """
    reverse: IPool.Config = staticcall IPool(reverse_pool).config()
    VAULT = msg.sender
    FACTORY = staticcall IPool(reverse_pool).factory()
    TOKEN = reverse.collateral
    USDT = reverse.asset
    REVERSE = IReversePool(reverse_pool)
    REVERSE_POOL = IPool(reverse_pool)
    FORWARD = forward_pool
    VENUE = IPerpVenue(venue)
    PRICES = IPriceOracle(reverse.price_oracle)
    FUNDING_ORACLE = reverse.funding_oracle
    FUNDING_TOKEN = reverse.funding_token
    FUNDING_MAX_AGE = reverse.leg.funding_max_age
    MIN_DEBT = reverse.leg.min_debt
    PARAMETERS = parameters


@internal
@view
def _check_vault():
    if msg.sender != VAULT:
        carry_errors._not_vault()
