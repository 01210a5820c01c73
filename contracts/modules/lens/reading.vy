# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the lens reads
@license AGPL-3.0-only
@notice Pools, their accounts and their oracles. An oracle that reverts, answers too little or is not there at all is one
        that has no answer; nothing here reverts because of it.
"""
from ethereum.ercs import IERC20Detailed
from interfaces import IForwardPool
from interfaces import ILens
from interfaces import IPool
from interfaces import IReversePool
from contracts.modules import ledger


interface IShares:
    def symbol() -> String[32]: view


# What all positions of a pool are judged by, read once.
struct Context:
    pool: address
    is_reverse: bool
    config: IPool.Config
    state: IPool.State
    prices: ILens.Prices
    borrow_ltv: uint256


# An account's debt and collateral, to be judged.
struct Account:
    account: address
    collateral: uint256
    debt_shares: uint256
    debt: uint256


@internal
@view
def _context(pool: address) -> Context:
    config: IPool.Config = staticcall IPool(pool).config()
    is_reverse: bool = config.collateral == config.funding_token
    borrow_ltv: uint256 = config.leg.max_ltv
    if is_reverse:
        borrow_ltv = config.leg.stressed_ltv
        success: bool = False
        answer: Bytes[32] = b""
        success, answer = raw_call(
            pool,
            method_id("borrow_ltv()"),
            max_outsize=32,
            is_static_call=True,
            revert_on_failure=False,
        )
        if success and len(answer) == 32:
            borrow_ltv = convert(answer, uint256)
    return Context(
        pool=pool,
        is_reverse=is_reverse,
        config=config,
        state=staticcall IPool(pool).accrued_state(),
        prices=self._prices(config.price_oracle),
        borrow_ltv=borrow_ltv,
    )


@internal
@view
def _account(context: Context, account: address) -> Account:
    collateral: uint256 = 0
    debt_shares: uint256 = 0
    if context.is_reverse:
        collateral, debt_shares = staticcall IReversePool(context.pool).position(account)
    else:
        short: IForwardPool.ShortPosition = staticcall IForwardPool(context.pool).position(account)
        collateral = short.collateral
        debt_shares = short.debt_shares
    debt: uint256 = ledger._owed(debt_shares, context.state.debt_assets, context.state.debt_shares)
    return Account(account=account, collateral=collateral, debt_shares=debt_shares, debt=debt)


@internal
@view
def _prices(oracle: address) -> ILens.Prices:
    """
    @notice What the oracle answers; what it reverts on is missing.
    """
    found: ILens.Prices = empty(ILens.Prices)
    success: bool = False
    answer: Bytes[64] = b""
    success, answer = raw_call(
        oracle,
        method_id("liquidation_price()"),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    if success and len(answer) == 32:
        found.has_price = True
        found.price_e36 = extract32(answer, 0, output_type=uint256)
    success, answer = raw_call(
        oracle,
        method_id("price_bounds()"),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    if success and len(answer) == 64:
        found.has_bounds = True
        found.lower_e36 = extract32(answer, 0, output_type=uint256)
        found.upper_e36 = extract32(answer, 32, output_type=uint256)
    found.volatility = max_value(uint256)
    success, answer = raw_call(
        oracle,
        method_id("volatility()"),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    if success and len(answer) == 32:
        found.volatility = extract32(answer, 0, output_type=uint256)
    return found


@internal
@view
def _oracle_funding(config: IPool.Config) -> (int256, uint256):
    success: bool = False
    answer: Bytes[64] = b""
    success, answer = raw_call(
        config.funding_oracle,
        abi_encode(config.funding_token, method_id=method_id("funding(address)")),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(answer) != 64:
        return 0, 0
    return extract32(answer, 0, output_type=int256), extract32(answer, 32, output_type=uint256)


@internal
@view
def _decimals(token: address) -> uint256:
    return convert(staticcall IERC20Detailed(token).decimals(), uint256)


@internal
@view
def _symbol(pool: address) -> String[32]:
    return staticcall IShares(pool).symbol()
