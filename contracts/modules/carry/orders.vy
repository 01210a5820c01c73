# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title A carry vault's orders at its venue
@license AGPL-3.0-only
@notice One at a time. While one is pending nothing else is ordered; what comes of it is seen by the next call.
@dev Whatever the venue does not do leaves the vault as it was. What it pays or takes is measured here, so its word counts for
     what is there, and for one thing that moved: `last_cost`, which tells what a redeemer's order cost from what the rest has.
"""
from interfaces import ICarryStrategy
from interfaces import IPerpVenue
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.carry import book
from contracts.modules.carry import terms

uses: book
uses: terms

WAD: constant(uint256) = 10**18
# seconds an order may wait: longer than an hour, after which price feeds report at the latest
ORDER_LIFE: constant(uint256) = 5400


@internal
def _settle() -> bool:
    """
    @notice Has a pending order settled where that is possible, and takes the credit in.
    @return Whether nothing is pending any more.
    """
    position: IPerpVenue.Position = staticcall terms.VENUE.position(self)
    if position.pending != 0:
        # a venue that fails here is one that has not settled
        self._ask(abi_encode(position.pending, method_id=method_id("settle(uint256)")))
        position = staticcall terms.VENUE.position(self)
        if position.pending != 0:
            return False
    self._take_credit(position.credit)
    return True


@internal
def _take_credit(credit: uint256):
    """
    @notice Counts what arrives. Where the venue pays nothing it stays credit.
    """
    if credit == 0:
        return
    held: uint256 = tokens._balance(terms.USDT)
    self._ask(abi_encode(self, method_id=method_id("withdraw(address)")))
    book.cash += tokens._balance(terms.USDT) - held


@internal
def _order(size_delta: int256, margin_delta: int256, price: uint256) -> uint256:
    """
    @notice One order, filled at the oracle's price less `max_slippage` or not at all. Margin comes out of cash.
    @return Its id; 0 where the venue did not take it.
    """
    limit: uint256 = price
    slippage: uint256 = terms.PARAMETERS.max_slippage
    if size_delta < 0:
        limit = wad_math._share_of_up(price, WAD - slippage)
    elif size_delta > 0:
        limit = wad_math._share_of_down(price, WAD + slippage)
    if margin_delta > 0:
        tokens._approve(terms.USDT, terms.VENUE.address, convert(margin_delta, uint256))
    held: uint256 = tokens._balance(terms.USDT)
    id: uint256 = self._ask(
        abi_encode(
            size_delta,
            margin_delta,
            limit,
            block.timestamp + ORDER_LIFE,
            method_id=method_id("request(int256,int256,uint256,uint256)"),
        )
    )
    if margin_delta > 0:
        tokens._approve(terms.USDT, terms.VENUE.address, 0)
        book.cash -= held - tokens._balance(terms.USDT)
    if id == 0:
        return 0
    log ICarryStrategy.Ordered(
        id=id,
        size_delta=size_delta,
        margin_delta=margin_delta,
        confirmed=(staticcall terms.VENUE.position(self)).pending == 0,
    )
    return id


@internal
def _ask(data: Bytes[132]) -> uint256:
    """
    @notice A call of the venue that may fail.
    @return Its answer; 0 where it failed or gave none.
    """
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(terms.VENUE.address, data, max_outsize=32, revert_on_failure=False)
    if not success:
        return 0
    return convert(answer, uint256)
