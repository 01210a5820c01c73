# pragma version 0.4.3
# pragma nonreentrancy on
# pragma optimize codesize
"""
@title Carry vault of one market
@license AGPL-3.0-only
@author Perpool
@notice One deposit of the token that stands on the side funding favours. Here are its shares, what is asked of it and what
        may be claimed; what it has and does is its strategy's, which it deploys and alone commands.
@dev ASSUMPTIONS. As the strategy's and the pools'.
@dev LIVENESS. What happens next follows from what is held, and anyone may do it. Pausing stops deposits alone. A redemption
     needs a price observed after it and what the strategy says it needs.
@dev ROLES. Anyone: rebalancing, settling, bringing USDT. Controllers and their operators: requests, claims, cancelling. The factory's
     owner: limits, adapter, hook; its guardian: pausing deposits.
@dev ROUNDING. Against who comes or goes, for those who stay.
"""
from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed
from interfaces import ICarryVault
from interfaces import IERC7540
from contracts.modules import accounts
from contracts.modules import carry_errors
from contracts.modules import errors
from contracts.modules import signatures
from contracts.modules import wad_math
from contracts.modules.carry import claiming
from contracts.modules.carry import frame
from contracts.modules.carry import requests
from contracts.modules.carry import rules
from contracts.modules.carry import settling
from contracts.modules.carry import shares
from contracts.modules.carry import tips

implements: IERC20
implements: ICarryVault
implements: IERC7540

initializes: frame
initializes: accounts
initializes: signatures
initializes: shares[accounts := accounts, signatures := signatures]
initializes: requests[frame := frame, share_token := shares]
initializes: claiming[frame := frame, requests := requests, share_token := shares]
initializes: tips[share_token := shares]
initializes: settling[frame := frame, requests := requests, share_token := shares, tips := tips]

exports: (
    # ERC-20, ERC-2612
    shares.name,
    shares.symbol,
    shares.decimals,
    shares.totalSupply,
    shares.balanceOf,
    shares.allowance,
    shares.approve,
    shares.transfer,
    shares.transferFrom,
    shares.permit,
    shares.DOMAIN_SEPARATOR,
    signatures.nonces,
    # ERC-7540
    requests.isOperator,
    requests.setOperator,
    requests.cancel_deposit,
    # ERC-4626 after settlement
    claiming.deposit,
    claiming.mint,
    claiming.withdraw,
    claiming.redeem,
    claiming.maxDeposit,
    claiming.maxMint,
    claiming.maxWithdraw,
    claiming.maxRedeem,
    claiming.previewDeposit,
    claiming.previewMint,
    claiming.previewWithdraw,
    claiming.previewRedeem,
    claiming.claimableDepositRequest,
    claiming.claimableRedeemRequest,
    claiming.claimable_usdt,
    tips.tip,
)

# all assets, in tokens
cap: uint256
is_paused: public(bool)


@deploy
def __init__(
    strategy_blueprint: address,
    reverse_pool: address,
    forward_pool: address,
    venue: address,
    parameters: ICarryVault.Parameters,
    name: String[40],
    symbol: String[32],
):
    """
    @notice For the market of the two pools. It takes deposits once the owner has set limits.
    @param strategy_blueprint ERC-5202, of CarryStrategy.
    """
    rules._check_market(reverse_pool, forward_pool, venue, parameters)
    strategy: address = create_from_blueprint(
        strategy_blueprint, reverse_pool, forward_pool, venue, parameters
    )
    frame.__init__(strategy, reverse_pool)
    shares.__init__(
        name, symbol, convert(staticcall IERC20Detailed(frame.TOKEN).decimals(), uint256)
    )
    tips.__init__(parameters.tip_rate)


# --- anyone


@external
def rebalance() -> bool:
    """
    @notice Takes the next steps towards what the mode wants. A call that was due and moved something is tipped.
    @return False where nothing was due, nothing could be done, or an order is pending.
    """
    if not settling._sync():
        return False
    has_moved: bool = extcall frame.STRATEGY.rebalance()
    if has_moved:
        tips._pay()
    return has_moved


@external
def settle_deposit(controller: address) -> uint256:
    """
    @notice Rebalances first where that is due. Of a larger deposit, as much as one order may hedge; the rest waits for the next call.
    @return Shares, rounded down; 0 while an order is pending, and where what was due had to be ordered first.
    """
    return settling._settle_deposit(controller)


@external
def settle_redeem(controller: address) -> uint256:
    """
    @notice Rebalances first where that is due. Of more shares than the forward pool's cash allows, as many as it does.
    @return Tokens, rounded down; 0 while an order is pending, where one went out now or what was due had to be ordered first,
            and where this call has only set the shares' part apart.
    """
    return settling._settle_redeem(controller)


# --- holders


@external
def requestDeposit(assets: uint256, controller: address, owner: address) -> uint256:
    """
    @notice Takes tokens of `owner`, who is the caller or has him for an operator, as the controller is or has.
    @return The request's id, 0.
    """
    if self.is_paused:
        errors._paused()
    requests._request_deposit(assets, controller, owner)
    if staticcall frame.STRATEGY.total_assets() + requests.waiting > self.cap:
        errors._supply_cap()
    return 0


@external
def requestRedeem(shares_: uint256, controller: address, owner: address) -> uint256:
    """
    @notice Takes shares of `owner`, from whom the caller has an allowance or whose operator he is. The controller is the caller
            or has him for an operator.
    @return The request's id, 0.
    """
    requests._request_redeem(shares_, controller, owner, 0, 0)
    return 0


@external
def request_redeem(
    shares_: uint256, controller: address, owner: address, usdt_amount: uint256, min_tokens: uint256
) -> uint256:
    """
    @param usdt_amount Brought by the caller for the debt; what is not needed comes back with the claim.
    @param min_tokens That the shares have to bring. Where the venue takes its time they are held to what is expected when the
           order goes out; once that is confirmed the controller may settle for fewer, and after an hour anybody for him.
    @return The request's id, 0.
    """
    requests._request_redeem(shares_, controller, owner, usdt_amount, min_tokens)
    return 0


@external
def bring_usdt(controller: address, usdt_amount: uint256):
    """
    @notice More of the caller's USDT for the debt of a redemption that has been requested and is not settled. What is not
            needed comes back with the controller's claim.
    """
    settling._bring(controller, usdt_amount)


@external
def cancel_redeem(controller: address, receiver: address) -> uint256:
    """
    @notice Takes back what has not been settled for a day, and the USDT brought; not while an order for it is at the
            venue, nor what has been set apart. Returns shares.
    """
    return settling._cancel_redeem(controller, receiver)


# --- the factory's owner and guardian


@external
def set_limits(cap: uint256, max_trade: uint256):
    """
    @param cap On all assets and what waits to be, in tokens.
    @param max_trade USDT that an order or a swap of one call may be worth; redemptions are not held to it.
    """
    frame._check_owner()
    self.cap = cap
    extcall frame.STRATEGY.set_max_trade(max_trade)
    log ICarryVault.LimitsSet(cap=cap, max_trade=max_trade)


@external
def set_swapper(swapper: address, sell_route: Bytes[256], buy_route: Bytes[256]):
    """
    @notice An adapter of the factory's list, which is asked again at every trade.
    """
    frame._check_owner()
    extcall frame.STRATEGY.set_swapper(swapper, sell_route, buy_route)
    log ICarryVault.SwapperSet(swapper=swapper, sell_route=sell_route, buy_route=buy_route)


@external
def set_hook(hook: address):
    """
    @notice A hook of the factory's list, or the zero address for none.
    """
    frame._check_owner()
    if hook != empty(address) and not staticcall frame.FACTORY.is_hook(hook):
        carry_errors._unknown_hook()
    accounts.hook = hook
    log ICarryVault.HookSet(hook=hook)


@external
def set_paused(paused: bool):
    """
    @notice Owner and guardian. New deposit requests only.
    """
    if msg.sender != staticcall frame.FACTORY.guardian():
        frame._check_owner()
    self.is_paused = paused
    log ICarryVault.PausedSet(caller=msg.sender, paused=paused)


# --- views


@external
@view
@reentrant
def hook() -> address:
    return accounts.hook


@external
@view
@reentrant
def strategy() -> address:
    return frame.STRATEGY.address


@external
@view
def parameters() -> ICarryVault.Parameters:
    return staticcall frame.STRATEGY.parameters()


@external
@view
def mode() -> ICarryVault.Mode:
    return staticcall frame.STRATEGY.mode()


@external
@view
def holdings() -> ICarryVault.Holdings:
    return staticcall frame.STRATEGY.holdings()


@external
@view
def is_due() -> bool:
    return staticcall frame.STRATEGY.is_due()


@external
@view
def net_carry() -> int256:
    return staticcall frame.STRATEGY.net_carry()


@external
@view
def limits() -> (uint256, uint256):
    """
    @notice (cap on all assets in tokens, largest trade in USDT)
    """
    return self.cap, staticcall frame.STRATEGY.max_trade()


@external
@view
@reentrant
def asset() -> address:
    return frame.TOKEN


@external
@view
@reentrant
def share() -> address:
    return self


@external
@view
def totalAssets() -> uint256:
    """
    @notice What everything is worth in tokens at the oracle's price, without requests that have not been settled.
    """
    return staticcall frame.STRATEGY.total_assets()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice At the oracle's price, rounded down. What is settled gets less: it pays for its own hedge.
    """
    return wad_math._mul_div_down(
        assets, shares.total + shares.VIRTUAL_SHARES, staticcall frame.STRATEGY.total_assets() + 1
    )


@external
@view
def convertToAssets(shares_: uint256) -> uint256:
    """
    @notice At the oracle's price, rounded down. What is settled gets less: it pays for unwinding its part.
    """
    return wad_math._mul_div_down(
        shares_, staticcall frame.STRATEGY.total_assets() + 1, shares.total + shares.VIRTUAL_SHARES
    )


@external
@view
def pendingDepositRequest(requestId: uint256, controller: address) -> uint256:
    return requests.deposits[controller].assets


@external
@view
def pendingRedeemRequest(requestId: uint256, controller: address) -> uint256:
    """
    @notice With those whose order is confirmed and that are not paid out yet.
    """
    return requests.redeems[controller].shares + settling.parts[controller].shares


@external
@view
def redemption(controller: address) -> ICarryVault.Redemption:
    """
    @notice What a controller waits for: what is requested still, and what is set apart and can be paid out.
    """
    request: requests.RedeemRequest = requests.redeems[controller]
    part: settling.Part = settling.parts[controller]
    return ICarryVault.Redemption(
        shares=request.shares,
        requested_at=request.requested_at,
        usdt=request.usdt,
        min_tokens=request.min_tokens,
        apart_shares=part.shares,
        apart_at=part.apart_at,
        apart_usdt=part.usdt,
        apart_min_tokens=part.min_tokens,
    )


@external
@pure
def supportsInterface(interface_id: bytes4) -> bool:
    """
    @notice ERC-165, ERC-7540 (operators, asynchronous deposits and redemptions), ERC-7575.
    """
    return interface_id in [0x01FFC9A7, 0xE3BC4E65, 0xCE3BBE50, 0x620EE8E4, 0x2F0A18C5]
