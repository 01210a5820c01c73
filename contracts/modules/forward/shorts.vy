# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Positions of the forward pool
@license AGPL-3.0-only
@notice Two words an account: collateral in USDT, block of the last opening and debt shares (`packing` short); tokens sold and
        still owed with their proceeds (`packing` halves), which scale down with the debt shares.
"""
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import hooks
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import supply
from contracts.modules import wad_math
from interfaces import IForwardPool
from interfaces import IHook
from interfaces import IPriceOracle

uses: accounts
uses: hooks
uses: ledger
uses: market
uses: supply

PRICE_SCALE: constant(uint256) = 10**36

# tokens sold and still owed | their proceeds
sold_word: HashMap[address, uint256]


@external
@view
@reentrant
def position(account: address) -> IForwardPool.ShortPosition:
    word: uint256 = accounts.position_word[account]
    sold: uint256 = self.sold_word[account]
    return IForwardPool.ShortPosition(
        collateral=packing._short_collateral(word),
        debt_shares=word >> 128,
        opened_block=packing._short_block(word),
        sold=sold & packing.MAX_UINT128,
        proceeds=sold >> 128,
    )


@external
@view
@reentrant
def debt_shares_of(account: address) -> uint256:
    return accounts._debt_shares(account)


@external
@view
def debt_of(account: address) -> uint256:
    """
    @notice Tokens that the account owes as of now, rounded up.
    """
    totals: ledger.Totals = ledger._peek()
    return ledger._owed(accounts._debt_shares(account), totals.debt_assets, totals.debt_shares)


@internal
def _set_collateral(account: address, word: uint256, collateral: uint256):
    accounts.position_word[account] = packing._pack_short(
        collateral, packing._short_block(word), word >> 128
    )


@internal
def _settle(
    totals: ledger.Totals,
    account: address,
    collateral: uint256,
    opened_block: uint256,
    debt_shares: uint256,
):
    """
    @notice Stores the totals and a position whose debt changed, and tells the hook.
    """
    ledger._store(totals)
    accounts.position_word[account] = packing._pack_short(collateral, opened_block, debt_shares)
    if packing._clock_flags(totals.clock) & packing.HOOK_FLAG != 0:
        hooks._tell(totals.clock, account, IHook.Side.BORROWERS, debt_shares)


@internal
def _reduce(
    totals: ledger.Totals, account: address, repaid: uint256, shares: uint256, usdt_out: uint256
) -> (ledger.Totals, uint256):
    """
    @notice Takes a repayment and what pays for it out of a position, and writes off what no collateral backs.
    @return The Totals, and the proceeds of what is owed no more.
    """
    changed: ledger.Totals = ledger._take_back(totals, repaid, shares)
    word: uint256 = accounts.position_word[account]
    collateral: uint256 = packing._short_collateral(word) - usdt_out
    left: uint256 = (word >> 128) - shares
    if collateral == 0 and left > 0:
        changed = supply._write_off(changed, account, left)
        left = 0
    # what was sold, and its proceeds, scale with the debt shares
    sold: uint256 = self.sold_word[account]
    kept: uint256 = wad_math._mul_div_down(sold >> 128, left, word >> 128)
    self.sold_word[account] = packing._pack_halves(
        wad_math._mul_div_down(sold & packing.MAX_UINT128, left, word >> 128), kept
    )
    ledger._check_dust(ledger._owed(left, changed.debt_assets, changed.debt_shares))
    self._settle(changed, account, collateral, packing._short_block(word), left)
    return changed, (sold >> 128) - kept


@internal
@pure
def _shares_repaid(totals: ledger.Totals, repaid: uint256, debt_shares: uint256) -> uint256:
    debt: uint256 = ledger._owed(debt_shares, totals.debt_assets, totals.debt_shares)
    return ledger._shares_repaid(repaid, debt, debt_shares, totals.debt_assets, totals.debt_shares)


@internal
@view
def _check_safe(debt: uint256, collateral: uint256, price: uint256):
    value: uint256 = self._value_up(debt, price)
    if value > wad_math._share_of_down(collateral, market.CONFIG.leg.max_ltv):
        errors._unhealthy()


@internal
@view
def _liquidation_price() -> uint256:
    return staticcall IPriceOracle(market.CONFIG.price_oracle).liquidation_price()


@internal
@view
def _upper_price() -> uint256:
    lower: uint256 = 0
    upper: uint256 = 0
    lower, upper = staticcall IPriceOracle(market.CONFIG.price_oracle).price_bounds()
    return upper


@internal
@pure
def _value_down(token_amount: uint256, price: uint256) -> uint256:
    return wad_math._mul_div_down(token_amount, price, PRICE_SCALE)


@internal
@pure
def _value_up(token_amount: uint256, price: uint256) -> uint256:
    return wad_math._mul_div_up(token_amount, price, PRICE_SCALE)
