# pragma version 0.4.3
"""
@title Flash borrower for tests
@license AGPL-3.0-only
@author Perpool
@notice An ERC-3156 borrower that logs what it is told, may make a prepared call, and gives the answer it was set to.
"""
from ethereum.ercs import IERC20


interface Lender:
    def flashLoan(
        receiver: address, token: address, amount: uint256, data: Bytes[1024]
    ) -> bool: nonpayable


event Borrowed:
    lender: address
    initiator: address
    token: address
    amount: uint256
    fee: uint256
    balance: uint256
    data: Bytes[1024]


event Called:
    success: bool


answer: bytes32
repays: bool
target: address
call_data: Bytes[1024]


@deploy
def __init__():
    self.answer = keccak256("ERC3156FlashBorrower.onFlashLoan")
    self.repays = True


@external
def set_answer(answer: bytes32):
    """
    @notice What `onFlashLoan` returns from now on.
    """
    self.answer = answer


@external
def set_repays(repays: bool):
    """
    @notice Whether the lender is given an allowance for the repayment.
    """
    self.repays = repays


@external
def prepare_call(target: address, call_data: Bytes[1024]):
    """
    @notice Make this call within the next loans, and log whether it went through.
    """
    self.target = target
    self.call_data = call_data


@external
def approve(token: address, spender: address, amount: uint256):
    """
    @notice Let `spender` take tokens of this contract.
    """
    extcall IERC20(token).approve(spender, amount, default_return_value=True)


@external
def borrow(lender: address, token: address, amount: uint256, data: Bytes[1024]) -> bool:
    """
    @notice Take a flash loan as the initiator.
    """
    return extcall Lender(lender).flashLoan(self, token, amount, data)


@external
def onFlashLoan(
    initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[1024]
) -> bytes32:
    """
    @notice See ERC-3156.
    """
    log Borrowed(
        lender=msg.sender,
        initiator=initiator,
        token=token,
        amount=amount,
        fee=fee,
        balance=staticcall IERC20(token).balanceOf(self),
        data=data,
    )
    if self.target != empty(address):
        log Called(success=raw_call(self.target, self.call_data, revert_on_failure=False))
    if self.repays:
        extcall IERC20(token).approve(msg.sender, amount + fee, default_return_value=True)
    return self.answer
