# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Flash loans of the pool's cash (ERC-3156)
@license AGPL-3.0-only
@notice Free. The pool is locked while one runs, so what is lent cannot be deposited into it.
"""
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import tokens
from interfaces import IReversePool

uses: ledger
uses: market


interface IERC3156Borrower:
    def onFlashLoan(
        initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[1024]
    ) -> bytes32: nonpayable


FLASH_LOAN_MAGIC: constant(bytes32) = keccak256("ERC3156FlashBorrower.onFlashLoan")


@external
@view
def maxFlashLoan(token: address) -> uint256:
    """
    @notice The pool's cash; nothing while paused or for any other token.
    """
    totals: ledger.Totals = ledger._load()
    if (
        token != market.CONFIG.asset
        or packing._clock_flags(totals.clock) & packing.PAUSED_FLAG != 0
    ):
        return 0
    return totals.cash


@external
@view
def flashFee(token: address, amount: uint256) -> uint256:
    """
    @notice Free; reverts for any other token than USDT.
    """
    if token != market.CONFIG.asset:
        errors._bad_token()
    return 0


@external
def flashLoan(receiver: address, token: address, amount: uint256, data: Bytes[1024]) -> bool:
    """
    @notice Lends cash within the call. The pool is locked meanwhile, so what is lent cannot be deposited into it.
    """
    if token != market.CONFIG.asset:
        errors._bad_token()
    totals: ledger.Totals = ledger._load()
    ledger._check_not_paused(totals.clock)
    ledger._check_cash(totals, amount)
    balance_before: uint256 = tokens._balance(token)
    log IReversePool.FlashLoan(caller=msg.sender, receiver=receiver, assets=amount)
    tokens._push(token, receiver, amount)
    answer: bytes32 = extcall IERC3156Borrower(receiver).onFlashLoan(
        msg.sender, token, amount, 0, data
    )
    if answer != FLASH_LOAN_MAGIC:
        errors._bad_callback()
    tokens._pull_from(token, receiver, amount)
    if tokens._balance(token) < balance_before:
        errors._short_transfer()
    return True
