# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Requests to a carry vault
@license AGPL-3.0-only
@notice What a controller has asked for and what has been settled of it (ERC-7540, all requests have id 0). Tokens, USDT and
        shares in here are in the vault's hands and in nobody's account of what it has.
@dev A request is settled at a price observed after it, so it is made by its controller or his operator alone: nobody puts
     another's off by adding to it.
"""
from interfaces import IAggregatorV3
from interfaces import ICarryVault
from interfaces import IERC7540
from contracts.modules import carry_errors
from contracts.modules import errors
from contracts.modules import tokens
from contracts.modules.carry import frame
from contracts.modules.carry import shares as share_token

uses: share_token
uses: frame

# after which a request that could not be settled may be taken back
PATIENCE: constant(uint256) = 86400
# that a request may ask for
MOST_TOKENS: constant(uint256) = 2**112


struct DepositRequest:
    assets: uint256
    requested_at: uint256  # the newest part of it


struct RedeemRequest:
    shares: uint256
    requested_at: uint256
    usdt: uint256  # brought for the debt
    min_tokens: uint256


# What a controller may claim.
struct Claims:
    assets_in: uint256
    shares_out: uint256
    shares_in: uint256
    assets_out: uint256
    usdt_out: uint256


deposits: HashMap[address, DepositRequest]
redeems: HashMap[address, RedeemRequest]
claims: HashMap[address, Claims]
operators: HashMap[address, HashMap[address, bool]]
# tokens of all deposit requests
waiting: uint256
# whose order is at the venue
ordering: address


# --- operators


@external
@view
@reentrant
def isOperator(controller: address, operator: address) -> bool:
    return self.operators[controller][operator]


@external
def setOperator(operator: address, approved: bool) -> bool:
    """
    @notice Lets `operator` request and claim for the caller, or no longer.
    """
    self.operators[msg.sender][operator] = approved
    log IERC7540.OperatorSet(controller=msg.sender, operator=operator, approved=approved)
    return True


@internal
@view
def _check_operator(account: address):
    if msg.sender != account and not self.operators[account][msg.sender]:
        errors._not_authorised()


# --- asking


@internal
def _request_deposit(assets: uint256, controller: address, owner: address) -> uint256:
    """
    @return What arrived.
    """
    self._check_operator(owner)
    self._check_operator(controller)
    held: uint256 = tokens._balance(frame.TOKEN)
    tokens._pull_from(frame.TOKEN, owner, assets)
    arrived: uint256 = tokens._balance(frame.TOKEN) - held
    if arrived == 0:
        errors._zero_amount()
    request: DepositRequest = self.deposits[controller]
    self.deposits[controller] = DepositRequest(
        assets=request.assets + arrived, requested_at=block.timestamp
    )
    self.waiting += arrived
    log IERC7540.DepositRequest(
        controller=controller, owner=owner, requestId=0, sender=msg.sender, assets=arrived
    )
    return arrived


@internal
def _request_redeem(
    shares: uint256, controller: address, owner: address, usdt_amount: uint256, min_tokens: uint256
):
    self._check_operator(controller)
    if self.ordering == controller:
        # what is added then would have to be told from what the order is for
        carry_errors._order_pending()
    if min_tokens > MOST_TOKENS:
        errors._too_large()
    if not self.operators[owner][msg.sender]:
        share_token._spend_allowance(owner, shares)
    if shares == 0:
        errors._zero_amount()
    brought: uint256 = 0
    if usdt_amount > 0:
        brought = tokens._pull(frame.USDT, usdt_amount)[0]
    request: RedeemRequest = self.redeems[controller]
    self.redeems[controller] = RedeemRequest(
        shares=request.shares + shares,
        requested_at=block.timestamp,
        usdt=request.usdt + brought,
        min_tokens=request.min_tokens + min_tokens,
    )
    log IERC7540.RedeemRequest(
        controller=controller, owner=owner, requestId=0, sender=msg.sender, shares=shares
    )
    share_token._move(owner, self, shares)


@internal
@view
def _check_settleable(amount: uint256, requested_at: uint256):
    """
    @notice There is something, and the price was observed after it was asked for.
    """
    if amount == 0:
        carry_errors._no_request()
    observed_at: uint256 = (staticcall IAggregatorV3(frame.PRICE_FEED).latestRoundData())[3]
    if observed_at <= requested_at:
        carry_errors._too_soon()


# --- taking back


@external
def cancel_deposit(controller: address, receiver: address) -> uint256:
    """
    @notice Takes back what has not been settled for a day. Returns tokens.
    """
    self._check_operator(controller)
    share_token._check_receiver(receiver)
    request: DepositRequest = self.deposits[controller]
    self._check_patience(request.assets, request.requested_at)
    self.deposits[controller] = empty(DepositRequest)
    self.waiting -= request.assets
    log ICarryVault.RequestCancelled(controller=controller, assets=request.assets, shares=0)
    tokens._push(frame.TOKEN, receiver, request.assets)
    return request.assets


@internal
@view
def _check_patience(amount: uint256, requested_at: uint256):
    if amount == 0:
        carry_errors._no_request()
    if block.timestamp < requested_at + PATIENCE:
        carry_errors._too_soon()
