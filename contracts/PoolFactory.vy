# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Pool factory: markets, their registry, and the roles of all pools
@license AGPL-3.0-only
@author Perpool
@notice Deploys a reverse and a forward pool for (token, USDT) from ERC-5202 blueprints. The salt is the hash of all
        parameters, so an address says what its pool is; the same parameters cannot be deployed twice.
@dev ASSUMPTIONS. The blueprints are this repository's pools. Oracles and tokens of a market are the owner's choice,
     and a market's choice is final: another risk is another market.
@dev LIVENESS. Nothing here is on a lender's or borrower's way out. Pools ask for the swap adapters here, so taking one
     off the list stops swaps through it, and neither repaying nor liquidating by delivery.
@dev ROLES. Owner (two steps; a timelock in production): markets, caps, fees, hooks, adapters, the reserve above its
     floor. Guardian: pause, no more. Pools start with all caps at zero.
@dev ROUNDING. Salt and addresses only; the reserve's floor is rounded up.
"""
from ethereum.ercs import IERC20Detailed
from interfaces import IPool
from interfaces import IPoolFactory
from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.utils import create2
from contracts.modules import factory_errors as errors
from contracts.modules import market_rules
from contracts.modules import packing
from contracts.modules import reserve_requests

implements: IPoolFactory

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: reserve_requests

exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    reserve_requests.reserve_request,
)

MAX_FEE_PERMILLE: constant(uint256) = 250
# Virtual shares are 10**min(6, 24 - decimals) an asset: inflating the price of an empty pool's shares costs this many times
# what it can take, and no token of up to 24 decimals overflows 128 bits.
MAX_OFFSET: constant(uint256) = 6

REVERSE_BLUEPRINT: immutable(address)
FORWARD_BLUEPRINT: immutable(address)
# keccak256 of the pools' init code, by which their addresses are predicted
REVERSE_HASH: immutable(bytes32)
FORWARD_HASH: immutable(bytes32)
OPERATORS: immutable(address)


struct LiquidationSwapper:
    swapper: address
    route: Bytes[256]


guardian: public(address)
is_hook: public(HashMap[address, bool])
is_swapper: public(HashMap[address, bool])
is_pool: public(HashMap[address, bool])

market_count: public(uint256)
markets: HashMap[uint256, IPoolFactory.Market]

liquidation_swappers: HashMap[address, LiquidationSwapper]

# what a pool's constructor reads, only while one is being created
pending_config: transient (IPool.Config)
pending_symbol: transient (String[32])


@deploy
def __init__(
    reverse_blueprint: address,
    forward_blueprint: address,
    reverse_hash: bytes32,
    forward_hash: bytes32,
    operators: address,
):
    """
    @param reverse_hash keccak256 of the reverse pool's init code, the blueprint's code after its first 3 bytes.
    """
    ownable.__init__()
    ownable_2step.__init__()
    assert reverse_blueprint.is_contract and forward_blueprint.is_contract, errors.NO_BLUEPRINT
    assert operators != empty(address), errors.NO_ADDRESS
    REVERSE_BLUEPRINT = reverse_blueprint
    FORWARD_BLUEPRINT = forward_blueprint
    REVERSE_HASH = reverse_hash
    FORWARD_HASH = forward_hash
    OPERATORS = operators


# --- markets


@external
def create_market(parameters: IPoolFactory.MarketParameters) -> (address, address):
    """
    @notice Deploys a pair of pools. Reverts with the reason when the parameters are unsafe.
    @return (reverse pool, forward pool)
    """
    ownable._check_owner()
    market_rules._check(parameters)
    self._check_hook(parameters.standard_hook)
    reverse_pool: address = empty(address)
    forward_pool: address = empty(address)
    reverse_pool, forward_pool = self._predict(parameters)
    assert not reverse_pool.is_contract, errors.MARKET_EXISTS
    salt: bytes32 = keccak256(abi_encode(parameters))
    self.pending_config = self._config(
        parameters, parameters.usdt, parameters.token, parameters.reverse
    )
    self.pending_symbol = concat("ppUSDT-", parameters.symbol)
    assert (
        create_from_blueprint(REVERSE_BLUEPRINT, salt=salt) == reverse_pool
    ), errors.WRONG_BLUEPRINT
    self.pending_config = self._config(
        parameters, parameters.token, parameters.usdt, parameters.forward
    )
    self.pending_symbol = concat("pp", parameters.symbol)
    assert (
        create_from_blueprint(FORWARD_BLUEPRINT, salt=salt) == forward_pool
    ), errors.WRONG_BLUEPRINT
    self.pending_config = empty(IPool.Config)
    self.is_pool[reverse_pool] = True
    self.is_pool[forward_pool] = True
    index: uint256 = self.market_count
    self.markets[index] = IPoolFactory.Market(
        token=parameters.token,
        usdt=parameters.usdt,
        reverse_pool=reverse_pool,
        forward_pool=forward_pool,
    )
    self.market_count = index + 1
    log IPoolFactory.MarketCreated(
        index=index,
        token=parameters.token,
        reverse_pool=reverse_pool,
        forward_pool=forward_pool,
        salt=salt,
    )
    return reverse_pool, forward_pool


@external
@view
def predict_market(parameters: IPoolFactory.MarketParameters) -> (address, address):
    """
    @notice (reverse, forward) addresses that `create_market` gives for these parameters, deployed or not.
    """
    return self._predict(parameters)


@external
@view
def market(index: uint256) -> IPoolFactory.Market:
    """
    @notice Empty past the last one.
    """
    return self.markets[index]


@external
@view
@reentrant
def pool_config() -> (IPool.Config, String[32]):
    """
    @notice What a pool's constructor reads, (config, share symbol); only while one is being created.
    """
    assert self.pending_config.asset != empty(address), errors.NOT_CREATING
    return self.pending_config, self.pending_symbol


@external
@view
@reentrant
def blueprints() -> (address, address):
    """
    @notice (reverse, forward)
    """
    return REVERSE_BLUEPRINT, FORWARD_BLUEPRINT


@external
@view
@reentrant
def operators() -> address:
    return OPERATORS


# --- pools


@external
def set_caps(pool: address, supply_cap: uint256, debt_cap: uint256, leg_cap: uint256):
    """
    @notice Caps on all assets lent, on all debt, and the leg's own: on all collateral of a reverse pool, on the tokens
            sold in a block by a forward pool. From 2**128 - 1 on (2**112 - 1 a block) a cap is none.
    """
    self._check_owner_of(pool)
    extcall IPool(pool).set_caps(
        min(supply_cap, packing.MAX_UINT128), min(debt_cap, packing.MAX_UINT128), leg_cap
    )
    log IPoolFactory.CapsSet(pool=pool, supply_cap=supply_cap, debt_cap=debt_cap, leg_cap=leg_cap)


@external
def set_fee(pool: address, fee_permille: uint256):
    """
    @notice The reserve's share of interest, in thousandths. What has accrued is charged at the old fee.
    """
    self._check_owner_of(pool)
    assert fee_permille <= MAX_FEE_PERMILLE, errors.FEE_TOO_HIGH
    flags: uint256 = (self._flags(pool) & packing.SWITCHES) | (fee_permille << 8)
    extcall IPool(pool).set_controls(flags, staticcall IPool(pool).hook())
    log IPoolFactory.FeeSet(pool=pool, fee_permille=fee_permille)


@external
def set_hook(pool: address, hook: address):
    """
    @param hook From the list of allowed hooks; the zero address for none.
    """
    self._check_owner_of(pool)
    self._check_hook(hook)
    flags: uint256 = self._flags(pool) & ~(packing.HOOK_FLAG | packing.STANDARD_HOOK_FLAG)
    if hook != empty(address):
        flags |= packing.HOOK_FLAG
        if hook == (staticcall IPool(pool).config()).standard_hook:
            flags |= packing.STANDARD_HOOK_FLAG
    extcall IPool(pool).set_controls(flags, hook)
    log IPoolFactory.HookSet(pool=pool, hook=hook)


@external
def set_paused(pool: address, paused: bool):
    """
    @notice Stops new risk: deposits, borrowing, shorting, flash loans, taking collateral out from under a debt. The
            guardian may stop it, only the owner lets it go on.
    """
    assert self.is_pool[pool], errors.UNKNOWN_POOL
    by_guardian: bool = paused and msg.sender == self.guardian
    assert by_guardian or msg.sender == ownable.owner, errors.NOT_OWNER_OR_GUARDIAN
    flags: uint256 = self._flags(pool) & ~packing.PAUSED_FLAG
    if paused:
        flags |= packing.PAUSED_FLAG
    extcall IPool(pool).set_controls(flags, staticcall IPool(pool).hook())
    log IPoolFactory.PausedSet(pool=pool, caller=msg.sender, paused=paused)


@external
def set_liquidation_swapper(pool: address, swapper: address, route: Bytes[256]):
    """
    @notice What a forward pool's `liquidate_by_purchase` buys through.
    @param swapper From the list of allowed adapters.
    @param route The adapter's route from USDT to token.
    """
    self._check_owner_of(pool)
    assert self.is_swapper[swapper], errors.UNKNOWN_SWAPPER
    self.liquidation_swappers[pool] = LiquidationSwapper(swapper=swapper, route=route)
    log IPoolFactory.LiquidationSwapperSet(pool=pool, swapper=swapper, route=route)


@external
@view
@reentrant
def liquidation_swapper(pool: address) -> (address, Bytes[256]):
    """
    @notice (adapter, route USDT -> token)
    """
    return self.liquidation_swappers[pool].swapper, self.liquidation_swappers[pool].route


@external
def request_reserve_withdrawal(pool: address, shares: uint256):
    """
    @notice Announces that up to `shares` of a pool's reserve will be taken; replaces an earlier request.
    """
    self._check_owner_of(pool)
    reserve_requests._request(pool, shares)


@external
def withdraw_reserve(pool: address, receiver: address) -> uint256:
    """
    @notice Pays out what was announced, within a week after the delay, if the reserve keeps its floor. The reserve
            loses first, so it may have become less: what is asked for is at most all of it.
    @return Assets, rounded down.
    """
    self._check_owner_of(pool)
    return reserve_requests._withdraw(pool, receiver)


# --- roles and lists


@external
def set_guardian(new_guardian: address):
    """
    @param new_guardian The zero address for none.
    """
    ownable._check_owner()
    self.guardian = new_guardian
    log IPoolFactory.GuardianSet(guardian=new_guardian)


@external
def allow_hook(hook: address, allowed: bool):
    """
    @notice A hook taken off the list stays attached where it is, until `set_hook`.
    """
    ownable._check_owner()
    assert hook != empty(address), errors.NO_ADDRESS
    self.is_hook[hook] = allowed
    log IPoolFactory.HookAllowed(hook=hook, allowed=allowed)


@external
def allow_swapper(swapper: address, allowed: bool):
    """
    @notice An adapter taken off the list stops at once everywhere.
    """
    ownable._check_owner()
    assert swapper != empty(address), errors.NO_ADDRESS
    self.is_swapper[swapper] = allowed
    log IPoolFactory.SwapperAllowed(swapper=swapper, allowed=allowed)


# --- internals


@internal
def _check_owner_of(pool: address):
    ownable._check_owner()
    assert self.is_pool[pool], errors.UNKNOWN_POOL


@internal
@view
def _check_hook(hook: address):
    assert hook == empty(address) or self.is_hook[hook], errors.UNKNOWN_HOOK


@internal
@view
def _flags(pool: address) -> uint256:
    return (staticcall IPool(pool).state()).flags


@internal
@view
def _config(
    parameters: IPoolFactory.MarketParameters,
    asset: address,
    collateral: address,
    leg: IPool.LegParameters,
) -> IPool.Config:
    decimals: uint256 = convert(staticcall IERC20Detailed(asset).decimals(), uint256)
    offset: uint256 = min(MAX_OFFSET, market_rules.MAX_DECIMALS - decimals)
    return IPool.Config(
        asset=asset,
        collateral=collateral,
        funding_token=parameters.token,
        funding_oracle=parameters.funding_oracle,
        price_oracle=parameters.price_oracle,
        operators=OPERATORS,
        standard_hook=parameters.standard_hook,
        share_decimals=decimals + offset,
        virtual_shares=10**offset,
        leg=leg,
    )


@internal
@view
def _predict(parameters: IPoolFactory.MarketParameters) -> (address, address):
    salt: bytes32 = keccak256(abi_encode(parameters))
    return (
        create2._compute_create2_address_self(salt, REVERSE_HASH),
        create2._compute_create2_address_self(salt, FORWARD_HASH),
    )
