"""Perpool from Python: markets, positions, quotes, transactions.

    perpool = Perpool.connect("local")
    market = perpool.markets["ADA"]
    market.reverse.status().rates.borrow               # Decimal("0.0521...")
    quote = market.quote_borrow("250", collateral="1000")
    if quote.is_possible:
        market.reverse.supply_and_borrow("1000", "250", account=key.address).send(key)
    market.vaults["keep"].request_deposit("1000", account=key.address).send(key)
    perpool.rewards.of(key.address)

Amounts go in as Decimal, int or text and come out as Decimal, in whole tokens; times are timedelta.
Errors say what to do.
"""

from perpool.sdk.actions import Action, Step
from perpool.sdk.client import Market, Markets, Perpool
from perpool.sdk.context import Token
from perpool.sdk.errors import (
    ActionError,
    AmountError,
    PerpoolError,
    UnknownMarketError,
    UnknownVaultError,
)
from perpool.sdk.model import (
    BorrowQuote,
    PoolStatus,
    Position,
    Prices,
    Problem,
    Rates,
    ShortQuote,
)
from perpool.sdk.perp import PerpVenue, VenuePosition, VenueStatus
from perpool.sdk.pools import ForwardPool, Pool, ReversePool
from perpool.sdk.rewards import Programme, Reward, Rewards
from perpool.sdk.vaults import (
    CarryVault,
    Holdings,
    Redemption,
    SetApart,
    Standing,
    VaultPosition,
    VaultStatus,
)

__all__ = [
    "Action",
    "ActionError",
    "AmountError",
    "BorrowQuote",
    "CarryVault",
    "ForwardPool",
    "Holdings",
    "Market",
    "Markets",
    "PerpVenue",
    "Perpool",
    "PerpoolError",
    "Pool",
    "PoolStatus",
    "Position",
    "Prices",
    "Problem",
    "Programme",
    "Rates",
    "Redemption",
    "ReversePool",
    "Reward",
    "Rewards",
    "SetApart",
    "ShortQuote",
    "Standing",
    "Step",
    "Token",
    "UnknownMarketError",
    "UnknownVaultError",
    "VaultPosition",
    "VaultStatus",
    "VenuePosition",
    "VenueStatus",
]
