# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What lenders own of a pool
@license AGPL-3.0-only
@notice All assets are the ledger's cash + debt. Of them the shares claim everything but the fee on interest that has not been
        charged yet; charging turns that fee into shares of the reserve. It happens where the reserve matters
        (`sync_funding`, a new fee, bad debt, taking reserve out), so borrowing and repaying touch no word of the lenders',
        and it never lowers the price of a share.
            uncharged fee = (cash + debt - charged assets) * fee
            share price = (cash + debt - uncharged fee + 1) / (shares + virtual shares)
        The reserve's shares are the pool's own, balanceOf(pool); the hook is not told of them.
@dev LIVENESS. Anyone may charge, by `sync_funding`. Nothing waits for it; until then the fee itself earns no interest.
@dev ROUNDING. Fee and its shares down, shares for assets in and assets for shares out down, shares for assets out and
     assets for shares in up.
"""
from ethereum.ercs import IERC20
from interfaces import IFundingOracle
from interfaces import IPool
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import wad_math

uses: accounts
uses: ledger
uses: market

MAX_UINT128: constant(uint256) = 2**128 - 1


# The ledger's totals, the supply word taken apart, and what follows from both.
struct Claims:
    totals: ledger.Totals
    charged: uint256  # assets on whose interest the fee has been charged
    shares: uint256  # all of them, the reserve's included
    assets: uint256  # what they claim
    fee: uint256  # uncharged


# charged assets | shares
supply_word: uint256


# --- external faces


@external
@view
@reentrant
def state() -> IPool.State:
    return self._state(self._claims_of(ledger._load()))


@external
@view
def accrued_state() -> IPool.State:
    return self._state(self._peek())


@external
def sync_funding() -> bool:
    """
    @notice Accrues at the old funding, charges the fee, then takes in the oracle's funding. False where the oracle has
            nothing newer.
    """
    funding_wad: int256 = 0
    observed_at: uint256 = 0
    funding_wad, observed_at = staticcall IFundingOracle(market.CONFIG.funding_oracle).funding(
        market.CONFIG.funding_token
    )
    claims: Claims = self._charge(self._accrue())
    clock: uint256 = claims.totals.clock
    # an observation of the future would keep its premium past max_age
    is_newer: bool = (
        observed_at > packing._clock_funding_time(clock) and observed_at <= block.timestamp
    )
    if is_newer:
        clock = packing._with_funding(clock, observed_at, funding_wad)
        claims.totals.clock = clock
        log IPool.FundingSynced(
            caller=msg.sender,
            funding_wad=packing._clock_funding(clock),
            observed_at=observed_at,
        )
    self._store(claims)
    return is_newer


# --- load, charge, store


@internal
@view
def _state(claims: Claims) -> IPool.State:
    totals: ledger.Totals = claims.totals
    return IPool.State(
        cash=totals.cash,
        debt_assets=totals.debt_assets,
        debt_shares=totals.debt_shares,
        charged_assets=claims.charged,
        supply_shares=claims.shares,
        reserve_shares=accounts.shares_of[self],
        updated_at=packing._clock_time(totals.clock),
        funding_time=packing._clock_funding_time(totals.clock),
        funding_wad=packing._clock_funding(totals.clock),
        flags=packing._clock_flags(totals.clock),
        supply_assets=claims.assets,
        borrow_rate=totals.borrow_rate,
        interest=totals.interest,
    )


@internal
@view
def _claims_of(totals: ledger.Totals) -> Claims:
    """
    @notice The lenders' side of the Totals.
    @dev What comes or goes for shares changes `charged` alike, and so does bad debt; only interest adds to the rest. So
         cash + debt is never below it, and fits 128 bits.
    """
    word: uint256 = self.supply_word
    charged: uint256 = word & MAX_UINT128
    assets: uint256 = unsafe_add(totals.cash, totals.debt_assets)
    fee: uint256 = packing._fee_of(totals.clock, unsafe_sub(assets, charged))
    return Claims(
        totals=totals, charged=charged, shares=word >> 128, assets=unsafe_sub(assets, fee), fee=fee
    )


@internal
@view
def _peek() -> Claims:
    return self._claims_of(ledger._peek())


@internal
def _accrue() -> Claims:
    return self._claims_of(ledger._accrue())


@internal
def _store(claims: Claims):
    ledger._store(claims.totals)
    self.supply_word = packing._pack_halves(claims.charged, claims.shares)


@internal
def _charge(claims: Claims) -> Claims:
    """
    @notice The fee becomes shares of the reserve, at the price that shares have without it.
    """
    changed: Claims = claims
    # claims and fee are cash and debt; shares have 128 bits, and get no more than there is room for
    changed.charged = unsafe_add(claims.assets, claims.fee)
    changed.assets = changed.charged
    changed.fee = 0
    shares: uint256 = min(
        self._to_shares_down(claims, claims.fee), unsafe_sub(MAX_UINT128, claims.shares)
    )
    if shares > 0:
        changed.shares = unsafe_add(claims.shares, shares)
        accounts.shares_of[self] += shares
        log IERC20.Transfer(sender=empty(address), receiver=self, value=shares)
    return changed


@internal
def _write_off(totals: ledger.Totals, borrower: address, shares: uint256) -> ledger.Totals:
    """
    @notice Realises debt that nothing backs any more: the reserve pays with shares worth it as far as it goes, the
            rest is borne by every share.
    @return The Totals without it, for the caller to store.
    """
    claims: Claims = self._charge(self._claims_of(totals))
    loss: uint256 = ledger._owed(shares, totals.debt_assets, totals.debt_shares)
    reserve: uint256 = accounts.shares_of[self]
    from_reserve: uint256 = min(loss, self._to_assets_down(claims, reserve))
    burnt: uint256 = min(self._to_shares_up(claims, from_reserve), reserve)
    # the loss is part of all debt and so of all assets, its shares of all debt shares, the burnt shares of the reserve's
    # and so of all
    claims.totals.debt_assets = unsafe_sub(totals.debt_assets, loss)
    claims.totals.debt_shares = unsafe_sub(totals.debt_shares, shares)
    claims.assets = unsafe_sub(claims.assets, loss)
    claims.charged = claims.assets
    claims.shares = unsafe_sub(claims.shares, burnt)
    self._store(claims)
    accounts.shares_of[self] = unsafe_sub(reserve, burnt)
    log IERC20.Transfer(sender=self, receiver=empty(address), value=burnt)
    log IPool.BadDebt(
        borrower=borrower,
        assets=loss,
        from_reserve=from_reserve,
        from_lenders=unsafe_sub(loss, from_reserve),
        total_assets=claims.assets,
    )
    return claims.totals


# --- shares


@internal
@view
def _to_shares_down(claims: Claims, assets: uint256) -> uint256:
    return wad_math._mul_div_down(
        assets, claims.shares + market.CONFIG.virtual_shares, claims.assets + 1
    )


@internal
@view
def _to_shares_up(claims: Claims, assets: uint256) -> uint256:
    return wad_math._mul_div_up(
        assets, claims.shares + market.CONFIG.virtual_shares, claims.assets + 1
    )


@internal
@view
def _to_assets_down(claims: Claims, shares: uint256) -> uint256:
    return wad_math._mul_div_down(
        shares, claims.assets + 1, claims.shares + market.CONFIG.virtual_shares
    )


@internal
@view
def _to_assets_up(claims: Claims, shares: uint256) -> uint256:
    return wad_math._mul_div_up(
        shares, claims.assets + 1, claims.shares + market.CONFIG.virtual_shares
    )


# --- limits


@internal
@view
def _room(claims: Claims) -> uint256:
    """
    @notice Assets that a deposit may still bring in.
    """
    if packing._clock_flags(claims.totals.clock) & packing.PAUSED_FLAG != 0:
        return 0
    limit: uint256 = ledger.HEADROOM - 1
    if ledger._is_capped(claims.totals.clock):
        limit = min(limit, ledger.caps_word & MAX_UINT128)
    # shares reach the headroom first where they are worth less than at the start
    share_room: uint256 = self._to_assets_down(
        claims, ledger.HEADROOM - 1 - min(claims.shares, ledger.HEADROOM - 1)
    )
    return min(limit - min(limit, claims.assets + claims.fee), share_room)


@internal
@view
def _check_limits(claims: Claims):
    """
    @notice For the totals with a deposit in them.
    """
    ledger._check_not_paused(claims.totals.clock)
    all_assets: uint256 = claims.totals.cash + claims.totals.debt_assets
    if (all_assets | claims.shares) >= ledger.HEADROOM:
        errors._too_large()
    if ledger._is_capped(claims.totals.clock) and all_assets > ledger.caps_word & MAX_UINT128:
        errors._supply_cap()
