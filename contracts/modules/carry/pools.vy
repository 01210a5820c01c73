# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title A carry vault's moves in the two pools
@license AGPL-3.0-only
@notice Each does as much as the pool lets it now, and counts what moved.
"""
from ethereum.ercs import IERC20
from ethereum.ercs import IERC4626
from contracts.modules import tokens
from contracts.modules.carry import book
from contracts.modules.carry import targets
from contracts.modules.carry import terms
from contracts.modules.carry import trades

uses: book
uses: terms
uses: trades


@internal
@view
def _collateral_room() -> uint256:
    """
    @notice Tokens that the reverse pool still takes as collateral; none while a liquidation has left less than what is set
            apart: they would be the parts'.
    """
    if (staticcall terms.REVERSE.position(self))[0] < book.apart_collateral:
        return 0
    cap: uint256 = (staticcall terms.REVERSE_POOL.caps())[2]
    return cap - min(cap, staticcall IERC20(terms.TOKEN).balanceOf(terms.REVERSE.address))


@internal
@view
def _withdrawable() -> uint256:
    """
    @notice Of the vault's forward shares, those that the forward pool can pay now.
    """
    if book.forward_shares == 0:
        return 0
    return min(book.forward_shares, staticcall IERC4626(terms.FORWARD).maxRedeem(self))


@internal
@view
def _deployable() -> uint256:
    """
    @notice Tokens that `_deploy` would supply.
    """
    found: uint256 = book.idle
    shares: uint256 = self._withdrawable()
    if shares > 0:
        found += staticcall IERC4626(terms.FORWARD).convertToAssets(shares)
    return min(found, self._collateral_room())


@internal
@view
def _lendable() -> uint256:
    """
    @notice Idle tokens that the forward pool would take.
    """
    return min(book.idle, staticcall IERC4626(terms.FORWARD).maxDeposit(self))


@internal
def _deploy() -> bool:
    """
    @notice Lent and idle tokens become collateral. Whether there were any.
    """
    room: uint256 = self._collateral_room()
    shares: uint256 = self._withdrawable()
    if shares > 0 and room > book.idle:
        shares = min(shares, staticcall IERC4626(terms.FORWARD).convertToShares(room - book.idle))
        book.idle += self._take_back(shares)
    token_amount: uint256 = min(book.idle, room)
    if token_amount == 0:
        return False
    book.idle -= token_amount
    self._supply(token_amount)
    return True


@internal
def _take_back(shares: uint256) -> uint256:
    """
    @notice Redeems shares of the forward pool, for the caller to count the tokens.
    """
    # for too few to be worth a unit the pool reverts
    if staticcall IERC4626(terms.FORWARD).convertToAssets(shares) == 0:
        return 0
    book.forward_shares -= shares
    return extcall IERC4626(terms.FORWARD).redeem(shares, self, self)


@internal
def _supply(token_amount: uint256):
    tokens._approve(terms.TOKEN, terms.REVERSE.address, token_amount)
    extcall terms.REVERSE.supply_collateral(token_amount, self)


@internal
def _lend() -> bool:
    """
    @notice Idle tokens go to the forward pool. Whether there were any.
    """
    token_amount: uint256 = self._lendable()
    # so few that they are no share yet are left
    if token_amount == 0 or staticcall IERC4626(terms.FORWARD).convertToShares(token_amount) == 0:
        return False
    book.idle -= token_amount
    tokens._approve(terms.TOKEN, terms.FORWARD, token_amount)
    book.forward_shares += extcall IERC4626(terms.FORWARD).deposit(token_amount, self)
    return True


@internal
def _borrow(usdt_amount: uint256) -> bool:
    """
    @notice Whether the pool lent it.
    """
    held: uint256 = tokens._balance(terms.USDT)
    success: bool = raw_call(
        terms.REVERSE.address,
        abi_encode(usdt_amount, self, self, method_id=method_id("borrow(uint256,address,address)")),
        revert_on_failure=False,
    )
    book.cash += tokens._balance(terms.USDT) - held
    return success


@internal
def _repay() -> bool:
    """
    @notice Cash pays debt, down to the pool's smallest where not all can be paid. Whether it paid any.
    """
    usdt_amount: uint256 = min(book.cash, book._loan()[1])
    if usdt_amount == 0:
        return False
    usdt_amount = self._without_dust(usdt_amount)
    if usdt_amount == 0:
        return False
    book.cash -= usdt_amount
    self._pay(usdt_amount)
    return True


@internal
@view
def _without_dust(usdt_amount: uint256) -> uint256:
    """
    @notice The largest repayment up to this that does not leave a debt too small for the pool.
    """
    debt: uint256 = staticcall terms.REVERSE_POOL.debt_of(self)
    if usdt_amount >= debt or debt - usdt_amount >= terms.MIN_DEBT:
        return usdt_amount
    return debt - min(debt, terms.MIN_DEBT)


@internal
def _pay(usdt_amount: uint256):
    tokens._approve(terms.USDT, terms.REVERSE.address, usdt_amount)
    extcall terms.REVERSE_POOL.repay(usdt_amount, self)


@internal
def _sell(worth: uint256, price: uint256) -> bool:
    """
    @notice Sells collateral to pay so much of the debt, or as much as one trade may be. Whether that was done.
    """
    collateral: uint256 = 0
    debt: uint256 = 0
    collateral, debt = book._loan()
    usdt_amount: uint256 = self._without_dust(min(min(worth, debt), trades.max_trade))
    if usdt_amount == 0:
        return False
    collateral_out: uint256 = min(
        targets._most_tokens_for(usdt_amount, price, terms.PARAMETERS.max_slippage), collateral
    )
    success: bool = False
    spent: uint256 = 0
    success, spent = trades._sell_to_repay(collateral_out, usdt_amount, usdt_amount)
    if success and collateral_out > spent:
        # not counted yet, so not `_deploy`
        book.idle += collateral_out - spent
    return success


@internal
def _buy(price: uint256) -> bool:
    """
    @notice Cash buys tokens, as far as one trade goes. Whether it did.
    """
    usdt_amount: uint256 = min(book.cash, trades.max_trade)
    bought: uint256 = trades._buy(usdt_amount, price)
    if bought == 0:
        return False
    book.cash -= usdt_amount
    book.idle += bought
    return True


@internal
def _withdraw_collateral() -> bool:
    """
    @notice Collateral without debt becomes idle. Whether there was any.
    """
    collateral: uint256 = book._loan()[0]
    if collateral == 0:
        return False
    success: bool = raw_call(
        terms.REVERSE.address,
        abi_encode(
            collateral,
            self,
            self,
            method_id=method_id("withdraw_collateral(uint256,address,address)"),
        ),
        revert_on_failure=False,
    )
    if success:
        book.idle += collateral
    return success
