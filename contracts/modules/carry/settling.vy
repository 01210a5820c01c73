# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Settling the requests to a carry vault
@license AGPL-3.0-only
@notice By anyone, at a price observed after the request. What comes of it waits for its controller to claim.
@dev What is due is done first. Else somebody could keep a venue that takes its time busy with the orders of small requests, one
     after the other, and the strategy from ever moving. At such a venue they take turns, so that neither waits for ever.
     Shares are burnt at the moment the strategy sets their part apart, so that they and what they are for leave together.
"""
from interfaces import ICarryVault
from contracts.modules import carry_errors
from contracts.modules import errors
from contracts.modules import tokens
from contracts.modules import wad_math
from contracts.modules.carry import frame
from contracts.modules.carry import requests
from contracts.modules.carry import shares as share_token
from contracts.modules.carry import targets
from contracts.modules.carry import tips

uses: frame
uses: requests
uses: share_token
uses: tips


# A redemption between its halves.
struct Part:
    shares: uint256
    usdt: uint256  # brought
    min_tokens: uint256
    apart_at: uint256


# seconds after which anybody may finish a redemption with fewer tokens than its least
GRACE: constant(uint256) = 3600

parts: HashMap[address, Part]
# of `requests.ordering`, what its order is for
ordered: uint256
# what was due had to be ordered before a request was settled
is_requests_turn: bool


@internal
def _sync() -> bool:
    """
    @notice Has the strategy take in what the venue has done. Every call that changes anything there begins with it.
    @return Whether no order is pending.
    """
    is_idle: bool = False
    is_apart: bool = False
    is_idle, is_apart = extcall frame.STRATEGY.sync()
    if is_idle and requests.ordering != empty(address):
        if is_apart:
            self._burn(requests.ordering, self.ordered)
        requests.ordering = empty(address)
    return is_idle


@internal
def _rebalance_first() -> bool:
    """
    @notice Where that is due and had not been the last to order. It may fail without being in the way.
    @return Whether no order is pending then either.
    """
    if self.is_requests_turn:
        self.is_requests_turn = False
        return True
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        frame.STRATEGY.address, method_id("rebalance()"), max_outsize=32, revert_on_failure=False
    )
    if not success or convert(answer, uint256) == 0:
        return True
    tips._pay()
    self.is_requests_turn = not self._sync()
    return not self.is_requests_turn


@internal
def _settle_deposit(controller: address) -> uint256:
    is_idle: bool = self._sync()
    request: requests.DepositRequest = requests.deposits[controller]
    requests._check_settleable(request.assets, request.requested_at)
    if not is_idle or not self._rebalance_first():
        return 0
    total: uint256 = share_token.total
    taken: uint256 = 0
    gained: uint256 = 0
    worth: uint256 = 0
    tokens._approve(frame.TOKEN, frame.STRATEGY.address, request.assets)
    taken, gained, worth = extcall frame.STRATEGY.enter(request.assets)
    tokens._approve(frame.TOKEN, frame.STRATEGY.address, 0)
    if worth == 0 and total > 0:
        carry_errors._insolvent()
    shares: uint256 = wad_math._mul_div_down(gained, total + share_token.VIRTUAL_SHARES, worth + 1)
    if shares == 0:
        errors._zero_amount()

    requests.deposits[controller].assets = request.assets - taken
    requests.waiting -= taken
    requests.claims[controller].assets_in += taken
    requests.claims[controller].shares_out += shares
    log ICarryVault.DepositSettled(
        controller=controller,
        assets=taken,
        shares=shares,
        total_assets=worth + gained,
        total_supply=total + shares,
    )
    tips._count()
    share_token._move(empty(address), self, shares)
    return shares


@internal
def _settle_redeem(controller: address) -> uint256:
    is_idle: bool = self._sync()
    part: Part = self.parts[controller]
    if part.shares > 0:
        if (
            part.apart_at == block.timestamp
            and part.min_tokens > 0
            and not self._is_his(controller)
        ):
            # were it too few tokens now, it would not even be set apart, and no hour would begin
            return 0
        return self._finish(controller, False)
    if not is_idle:
        return 0
    request: requests.RedeemRequest = requests.redeems[controller]
    requests._check_settleable(request.shares, request.requested_at)
    if not self._rebalance_first():
        return 0
    held: ICarryVault.Holdings = empty(ICarryVault.Holdings)
    if request.min_tokens > 0:
        held = staticcall frame.STRATEGY.holdings()
    taken: uint256 = 0
    is_apart: bool = False
    usdt: uint256 = 0
    taken, is_apart, usdt = extcall frame.STRATEGY.begin_exit(
        controller, request.shares, share_token.total
    )
    if is_apart:
        self._burn(controller, taken)
        return self._finish(controller, True)
    if request.min_tokens > 0:
        usdt += wad_math._mul_div_down(held.cash, taken, share_token.total)
        if self._expected(held, request, taken, usdt) < self._least(request, taken):
            carry_errors._too_few_tokens()
    requests.ordering = controller
    self.ordered = taken
    return 0


@internal
@view
def _expected(
    held: ICarryVault.Holdings, request: requests.RedeemRequest, shares: uint256, usdt: uint256
) -> uint256:
    """
    @notice Tokens that shares should bring whose order is out: at the price, less slippage.
    @param held Before the order.
    @param usdt Of position and cash.
    """
    total: uint256 = share_token.total
    slippage: uint256 = (staticcall frame.STRATEGY.parameters()).max_slippage
    owed: uint256 = wad_math._mul_div_up(held.debt, shares, total)
    expected: uint256 = wad_math._mul_div_down(
        held.idle + held.lent + held.collateral, shares, total
    )
    if usdt > owed:
        bought: uint256 = targets._tokens_down(usdt - owed, held.price_e36)
        return expected + wad_math._share_of_down(bought, wad_math.WAD - slippage)
    brought: uint256 = wad_math._mul_div_down(request.usdt, shares, request.shares)
    sold: uint256 = targets._most_tokens_for(
        owed - min(owed, usdt + brought), held.price_e36, slippage
    )
    return expected - min(expected, sold)


@internal
@pure
def _least(request: requests.RedeemRequest, shares: uint256) -> uint256:
    return wad_math._mul_div_up(request.min_tokens, shares, request.shares)


@internal
def _burn(controller: address, shares: uint256):
    """
    @notice What the shares were for has been set apart.
    """
    request: requests.RedeemRequest = requests.redeems[controller]
    part: Part = Part(
        shares=shares,
        usdt=wad_math._mul_div_down(request.usdt, shares, request.shares),
        min_tokens=self._least(request, shares),
        apart_at=block.timestamp,
    )
    self.parts[controller] = part
    requests.redeems[controller] = requests.RedeemRequest(
        shares=request.shares - shares,
        requested_at=request.requested_at,
        usdt=request.usdt - part.usdt,
        min_tokens=request.min_tokens - part.min_tokens,
    )
    tips._count_burnt(shares)
    share_token._move(self, empty(address), shares)


@internal
def _bring(controller: address, usdt_amount: uint256):
    """
    @notice Adds the caller's USDT to what a redemption's debt is paid from, in either half.
    """
    if self.parts[controller].shares == 0 and requests.redeems[controller].shares == 0:
        carry_errors._no_request()
    brought: uint256 = tokens._pull(frame.USDT, usdt_amount)[0]
    if self.parts[controller].shares > 0:
        self.parts[controller].usdt += brought
    else:
        requests.redeems[controller].usdt += brought
    log ICarryVault.UsdtBrought(caller=msg.sender, controller=controller, usdt_amount=brought)


@internal
def _cancel_redeem(controller: address, receiver: address) -> uint256:
    """
    @notice After what the venue has done, so that an order that has failed is in nobody's way.
    """
    requests._check_operator(controller)
    share_token._check_receiver(receiver)
    self._sync()
    request: requests.RedeemRequest = requests.redeems[controller]
    requests._check_patience(request.shares, request.requested_at)
    if requests.ordering == controller:
        carry_errors._order_pending()
    requests.redeems[controller] = empty(requests.RedeemRequest)
    log ICarryVault.RequestCancelled(controller=controller, assets=0, shares=request.shares)
    share_token._move(self, receiver, request.shares)
    tokens._push(frame.USDT, receiver, request.usdt)
    return request.shares


@internal
@view
def _is_his(controller: address) -> bool:
    return msg.sender == controller or requests.operators[controller][msg.sender]


@internal
def _finish(controller: address, is_whole: bool) -> uint256:
    """
    @notice A part that has been set apart may not stay so for ever: what it owes is the whole loan's risk. So nobody but its
            controller has to be content with too few tokens at first, and everybody later.
    @param is_whole Whether both halves are one call, so that nothing has been set apart if this reverts.
    """
    part: Part = self.parts[controller]
    self.parts[controller] = empty(Part)
    assets: uint256 = 0
    usdt_out: uint256 = 0
    usdt_in: uint256 = 0
    tokens._approve(frame.USDT, frame.STRATEGY.address, part.usdt)
    assets, usdt_out, usdt_in = extcall frame.STRATEGY.finish_exit(controller, part.usdt)
    tokens._approve(frame.USDT, frame.STRATEGY.address, 0)
    if is_whole and assets + usdt_out == 0:
        carry_errors._insolvent()
    if assets < part.min_tokens and (
        is_whole or (block.timestamp < part.apart_at + GRACE and not self._is_his(controller))
    ):
        carry_errors._too_few_tokens()
    requests.claims[controller].shares_in += part.shares
    requests.claims[controller].assets_out += assets
    requests.claims[controller].usdt_out += part.usdt + usdt_out - usdt_in
    log ICarryVault.RedeemSettled(
        controller=controller,
        shares=part.shares,
        assets=assets,
        usdt_in=usdt_in,
        total_supply=share_token.total,
    )
    return assets
