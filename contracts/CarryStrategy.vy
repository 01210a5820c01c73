# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
"""
@title Carry strategy: what a carry vault has, and what it does with it
@license AGPL-3.0-only
@author Perpool
@notice In CARRY the vault's tokens are collateral in the reverse pool, and USDT borrowed on them is the margin of a short at a
        perp venue; in LEND they are lent in the forward pool. Profit moves between loan and short, so that neither is liquidated.
@dev ASSUMPTIONS. As the pools': neither token rebases, the price oracle reverts rather than lie. The venue keeps to
     `IPerpVenue`; it may refuse, stall and fail, but what it says of a position, and of what its last order cost, is believed: the
     second tells a redeemer's part from the rest. All that is there is at risk to it. All values are at the oracle's price; the
     venue's own mark only tells what an order will be filled at.
@dev LIVENESS. While an order is pending nothing else is done; it fails by itself when its time is up. With debt left behind a
     redemption needs the reverse pool's leave to take collateral out, which its guardian can pause.
@dev ROLES. The vault that made it, for everything; who may tell the vault what is said there.
@dev ROUNDING. Against who comes or goes, for those who stay.
"""
from interfaces import ICallbacks
from interfaces import ICarryStrategy
from interfaces import ICarryVault
from interfaces import IPoolFactory
from contracts.modules import errors
from contracts.modules.carry import book
from contracts.modules.carry import entries
from contracts.modules.carry import exits
from contracts.modules.carry import hedging
from contracts.modules.carry import modes
from contracts.modules.carry import orders
from contracts.modules.carry import pools
from contracts.modules.carry import rebalancing
from contracts.modules.carry import terms
from contracts.modules.carry import trades

implements: ICallbacks
implements: ICarryStrategy

initializes: terms
initializes: book[terms := terms]
initializes: trades[book := book, terms := terms]
initializes: pools[book := book, terms := terms, trades := trades]
initializes: orders[book := book, terms := terms]
initializes: hedging[
    book := book, orders := orders, pools := pools, terms := terms, trades := trades
]
initializes: modes[terms := terms]
initializes: exits[book := book, orders := orders, pools := pools, terms := terms, trades := trades]
initializes: entries[
    book := book, modes := modes, orders := orders, pools := pools, terms := terms, trades := trades
]
initializes: rebalancing[
    book := book, hedging := hedging, modes := modes, pools := pools, terms := terms
]

exports: (
    # called back
    trades.on_collateral,
    trades.buy_tokens,
)


@deploy
def __init__(
    reverse_pool: address, forward_pool: address, venue: address, parameters: ICarryVault.Parameters
):
    """
    @notice For the vault that deploys it.
    """
    terms.__init__(reverse_pool, forward_pool, venue, parameters)
    modes.__init__()


# --- the vault's


@external
def sync() -> (bool, bool):
    """
    @notice Has a pending order settled where that can be told, and takes in what came of it.
    @return Whether no order is pending, and whether the redemption whose order was is set apart by this.
    """
    terms._check_vault()
    return exits._sync()


@external
def rebalance() -> bool:
    """
    @notice The next steps towards what the mode wants, after `sync`.
    @return False where nothing was due or nothing could be done.
    """
    terms._check_vault()
    return rebalancing._rebalance()


@external
def enter(assets: uint256) -> (uint256, uint256, uint256):
    """
    @notice After `sync` with no order pending.
    @return Tokens taken, what they count for, and what there was before, in tokens.
    """
    terms._check_vault()
    return entries._enter(assets)


@external
def begin_exit(controller: address, shares: uint256, total: uint256) -> (uint256, bool, uint256):
    """
    @notice After `sync` with no order pending; one part a controller.
    @return Shares that it is for, whether they are set apart already, and USDT that the order should bring where not.
    """
    terms._check_vault()
    return exits._begin(controller, shares, total)


@external
def finish_exit(controller: address, usdt_brought: uint256) -> (uint256, uint256, uint256):
    """
    @return Tokens and USDT sent, USDT pulled.
    """
    terms._check_vault()
    return exits._finish(controller, usdt_brought)


@external
def set_max_trade(usdt_amount: uint256):
    """
    @param usdt_amount That an order or a swap of one call may be worth; redemptions are not held to it.
    """
    terms._check_vault()
    trades.max_trade = usdt_amount


@external
def set_swapper(swapper: address, sell_route: Bytes[256], buy_route: Bytes[256]):
    """
    @notice An adapter of the factory's list, which is asked again at every trade.
    """
    terms._check_vault()
    if not staticcall IPoolFactory(terms.FACTORY).is_swapper(swapper):
        errors._unknown_swapper()
    trades.swapper = swapper
    trades.sell_route = sell_route
    trades.buy_route = buy_route


# --- views


@external
@view
@reentrant
def vault() -> address:
    return terms.VAULT


@external
@view
@reentrant
def legs() -> (address, address, address):
    """
    @notice (reverse pool, forward pool, venue)
    """
    return terms.REVERSE.address, terms.FORWARD, terms.VENUE.address


@external
@view
@reentrant
def parameters() -> ICarryVault.Parameters:
    return terms.PARAMETERS


@external
@view
def mode() -> ICarryVault.Mode:
    return modes.current


@external
@view
def holdings() -> ICarryVault.Holdings:
    return book._holdings()


@external
@view
def total_assets() -> uint256:
    """
    @notice At the oracle's price.
    """
    return book._nav(book._read())


@external
@view
def is_due() -> bool:
    """
    @notice False while an order is pending.
    """
    held: book.Book = book._read()
    return held.pending == 0 and rebalancing._is_due(held, modes._wanted(held)[0])


@external
@view
def net_carry() -> int256:
    """
    @notice 0 where funding is stale.
    """
    return modes._wanted(book._read())[2]


@external
@view
def max_trade() -> uint256:
    return trades.max_trade


@external
@view
def swapper() -> (address, Bytes[256], Bytes[256]):
    """
    @notice (adapter, route token -> USDT, route USDT -> token)
    """
    return trades.swapper, trades.sell_route, trades.buy_route


@external
@view
def set_apart() -> (uint256, uint256):
    return book.apart_collateral, book.apart_debt_shares
