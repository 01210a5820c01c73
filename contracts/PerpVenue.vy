# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
"""
@title Perp venue
@license AGPL-3.0-only
@author Perpool
@notice One perpetual of a token, margined in USDT, against a liquidity pool that anybody may add to. It is for chains
        where there is no other venue: local ones and testnets. Trades fill at an oracle's price, so whoever knows the
        market's price before the oracle can trade on the difference, at the liquidity pool's cost. The fee, the worse
        of two prices and `delay_blocks`, with which a request fills only at a price observed after it, hold that down
        and do not end it.

@dev ASSUMPTIONS
     Price and funding oracle are Perpool's, or as honest. USDT does not rebase; a fee on its transfers costs whoever
     transfers. A price stays within a factor of a million of what it was when a position was opened.

     SOLVENCY
     The liquidity pool locks, for as long as a position is open, the most that it can gain: all that a short was sold
     for, and `largest_long_gain` of what a long was bought for, where its profit ends. Funding is locked as it accrues
     to who receives it. Both are never more than there is, so what is paid out never depends on who can pay in. A loss
     beyond a position's margin is the insurance fund's and then the liquidity pool's, which had locked for the other
     side: what is free never falls by it.

     LIVENESS
     Nothing can be paused or changed. Without a fresh price nothing is traded, taken out of a position, liquidated, and,
     while there are positions, neither added to the liquidity nor removed; adding margin, settling funding, failing
     what has timed out, and withdrawing credit go on. Opening also needs the oracle's bounds; closing never does, nor
     room. A position may be closed by others before its holder wants it, though healthy: see `auto_deleverage`.

     ROLES
     None. Anyone: settling requests and funding, liquidating, deleveraging, liquidity.

     ROUNDING
     Always for the liquidity pool.
"""

from interfaces import IPerpMarket
from interfaces import IPerpVenue
from contracts.modules.perp import books
from contracts.modules.perp import closing
from contracts.modules.perp import funding
from contracts.modules.perp import liquidity
from contracts.modules.perp import positions
from contracts.modules.perp import requests
from contracts.modules.perp import terms
from contracts.modules.perp import trading
from contracts.modules.perp import views

implements: IPerpVenue
implements: IPerpMarket

initializes: terms
initializes: books
initializes: positions[terms := terms]
initializes: funding[terms := terms]
initializes: liquidity[books := books, funding := funding, terms := terms]
initializes: trading[funding := funding, positions := positions, terms := terms]
initializes: requests[books := books, funding := funding, terms := terms, trading := trading]
initializes: closing[books := books, funding := funding, terms := terms]
initializes: views[books := books, funding := funding, requests := requests, terms := terms]

exports: (
    # the account's
    requests.request,
    requests.settle,
    requests.withdraw,
    requests.status,
    requests.last_cost,
    requests.last_request,
    # anyone's
    closing.settle_funding,
    closing.liquidate,
    closing.auto_deleverage,
    # liquidity
    liquidity.add_liquidity,
    liquidity.remove_liquidity,
    liquidity.shares_of,
    liquidity.liquidity_value,
    # what never changes, and the mark
    terms.token,
    terms.usdt,
    terms.price_oracle,
    terms.funding_oracle,
    terms.parameters,
    terms.initial_margin,
    terms.maintenance_margin,
    terms.fee,
    terms.mark_price,
    # views
    views.funding_rate,
    views.state,
    views.accrued_state,
    views.free_liquidity,
    views.position,
    views.equity,
    views.pnl,
    views.largest_gain,
    views.liquidation_price,
    views.room,
)


@deploy
def __init__(
    token: address,
    usdt: address,
    price_oracle: address,
    funding_oracle: address,
    parameters: IPerpMarket.Parameters,
):
    """
    @param funding_oracle Its last median, for as long as the parameters allow, is the rate.
    """
    terms.__init__(token, usdt, price_oracle, funding_oracle, parameters)
    liquidity.__init__()
