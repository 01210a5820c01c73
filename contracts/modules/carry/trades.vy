# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a carry vault trades on the spot market
@license AGPL-3.0-only
@notice It sells collateral to pay debt, inside the reverse pool's deleverage, and buys tokens with USDT that is left. Both are
        held to the oracle by `max_slippage` and believed only as far as the vault's own balances show.
@dev Each trade is one call that goes through or changes nothing, so that a market too thin for one does not stop the rest.
"""
from interfaces import ICarryStrategy
from interfaces import IPoolFactory
from interfaces import ISwapper
from contracts.modules import carry_errors
from contracts.modules import errors
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.carry import book
from contracts.modules.carry import targets
from contracts.modules.carry import terms

uses: book
uses: terms

WAD: constant(uint256) = 10**18

swapper: address
sell_route: Bytes[256]
buy_route: Bytes[256]
# USDT that an order or a swap of one call may be worth
max_trade: uint256

# of the deleverage under way
_is_selling: transient (bool)
_wanted: transient (uint256)
_spent: transient (uint256)


@external
@reentrant
def on_collateral(account: address, due: uint256, collateral_out: uint256, data: Bytes[1024]):
    """
    @notice Sells what the pool has just sent for as much USDT as was wanted, and lets the pool pull what it is due.
    @dev Reentrant because it is called while the lock is held.
    """
    if msg.sender != terms.REVERSE.address or not self._is_selling:
        carry_errors._not_self()
    self._is_selling = False
    wanted: uint256 = self._wanted
    spent: uint256 = 0
    got: uint256 = 0
    spent, got = self._swap(terms.TOKEN, terms.USDT, collateral_out, wanted, self.sell_route)
    if got < wanted:
        errors._slippage()
    self._spent = spent
    # with what an adapter sent beyond it
    book.cash += got - wanted
    tokens._approve(terms.USDT, msg.sender, due)


@external
@reentrant
def buy_tokens(usdt_amount: uint256, price_e36: uint256) -> uint256:
    """
    @notice The vault's own call to itself.
    @return Tokens bought.
    """
    if msg.sender != self:
        carry_errors._not_self()
    got: uint256 = self._swap(terms.USDT, terms.TOKEN, usdt_amount, 0, self.buy_route)[1]
    if got < wad_math._share_of_up(
        targets._tokens_up(usdt_amount, price_e36), WAD - terms.PARAMETERS.max_slippage
    ):
        errors._slippage()
    log ICarryStrategy.Traded(tokens_sold=0, tokens_bought=got, usdt_amount=usdt_amount)
    return got


@internal
def _buy(usdt_amount: uint256, price: uint256) -> uint256:
    """
    @return Tokens bought, for the caller to count as he counts the USDT; 0 where that could not be done.
    """
    if usdt_amount == 0:
        return 0
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        self,
        abi_encode(usdt_amount, price, method_id=method_id("buy_tokens(uint256,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    if not success:
        return 0
    return convert(answer, uint256)


@internal
def _sell_to_repay(
    collateral_out: uint256, usdt_amount: uint256, repaid: uint256
) -> (bool, uint256):
    """
    @notice Takes `collateral_out` from the loan, sells what it takes of it for `usdt_amount`, and repays `repaid`. The
            tokens that are left stay in the vault's hands, for the caller to count, and so does the USDT that `repaid` is more.
    @return Whether it went through, and the tokens spent.
    """
    self._is_selling = True
    self._wanted = usdt_amount
    success: bool = raw_call(
        terms.REVERSE.address,
        abi_encode(
            collateral_out,
            repaid,
            self,
            self,
            b"sell",
            method_id=method_id("deleverage(uint256,uint256,address,address,bytes)"),
        ),
        revert_on_failure=False,
    )
    self._is_selling = False
    if not success:
        return False, 0
    spent: uint256 = self._spent
    log ICarryStrategy.Traded(tokens_sold=spent, tokens_bought=0, usdt_amount=usdt_amount)
    return True, spent


@internal
def _swap(
    token_in: address,
    token_out: address,
    amount_in: uint256,
    amount_out: uint256,
    route: Bytes[256],
) -> (uint256, uint256):
    """
    @notice Has the adapter trade all of `amount_in`, or at most that for `amount_out` where it is above zero.
    @return What went out and what came in, by the vault's own balances.
    """
    if not staticcall IPoolFactory(terms.FACTORY).is_swapper(self.swapper):
        errors._unknown_swapper()
    adapter: ISwapper = ISwapper(self.swapper)
    in_before: uint256 = tokens._balance(token_in)
    out_before: uint256 = tokens._balance(token_out)
    tokens._push(token_in, adapter.address, amount_in)
    if amount_out == 0:
        extcall adapter.swap_exact_in(token_in, token_out, amount_in, route)
    else:
        extcall adapter.swap_exact_out(token_in, token_out, amount_out, amount_in, route)
    return (
        in_before - tokens._balance(token_in),
        tokens._balance(token_out) - out_before,
    )
