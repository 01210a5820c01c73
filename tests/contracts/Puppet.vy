# pragma version 0.4.3
"""
@title Puppet
@license AGPL-3.0-only
@author Perpool
@notice Makes prepared calls: several in one transaction, and in the middle of whoever calls it back. It answers to
        liquidations, flash loans, transfer hooks, swaps and hooks of a pool, so it plays any contract an attacker can
        write, and swap adapters that misbehave.
@dev What is prepared for a moment happens once, the first time that it comes. Anyone may prepare and run.
"""


struct Step:
    target: address
    call_data: Bytes[1024]
    # whether its failure is everybody's
    must_succeed: bool


prepared: HashMap[String[16], DynArray[Step, 8]]

# of the steps since the last `run`, callbacks included
successes: DynArray[bool, 32]
answers: DynArray[Bytes[384], 32]


@external
def prepare(moment: String[16], steps: DynArray[Step, 8]):
    """
    @param moment Name of the callback.
    """
    self.prepared[moment] = steps


@external
def run(steps: DynArray[Step, 8]):
    """
    @notice Makes the calls in turn.
    """
    self.successes = []
    self.answers = []
    self._make(steps)


@external
@view
def outcome() -> (DynArray[bool, 32], DynArray[Bytes[384], 32]):
    """
    @notice Of each step that has come to its end, in that order: success, and what it returned.
    """
    return self.successes, self.answers


# --- callbacks


@external
def on_collateral(account: address, due: uint256, collateral_out: uint256, call_data: Bytes[1024]):
    """
    @notice See ICallbacks.
    """
    self._perform("on_collateral")


@external
def onFlashLoan(
    initiator: address, token: address, amount: uint256, fee: uint256, call_data: Bytes[1024]
) -> bytes32:
    """
    @notice See ERC-3156.
    """
    self._perform("onFlashLoan")
    return keccak256("ERC3156FlashBorrower.onFlashLoan")


@external
def before_transfer(owner: address, receiver: address, token_amount: uint256):
    """
    @notice Called by HookToken.
    """
    self._perform("before_transfer")


@external
def after_transfer(owner: address, receiver: address, token_amount: uint256):
    """
    @notice Called by HookToken.
    """
    self._perform("after_transfer")


@external
def on_change(account: address, side: uint256, shares: uint256):
    """
    @notice See IHook.
    """
    self._perform("on_change")


@external
def swap_exact_in(
    token_in: address, token_out: address, amount_in: uint256, route: Bytes[256]
) -> uint256:
    """
    @notice An adapter that does what was prepared, and claims the best.
    """
    self._perform("swap_exact_in")
    return max_value(uint256)


@external
def swap_exact_out(
    token_in: address,
    token_out: address,
    amount_out: uint256,
    amount_in_max: uint256,
    route: Bytes[256],
) -> uint256:
    """
    @notice An adapter that does what was prepared, and claims the best.
    """
    self._perform("swap_exact_out")
    return 0


# --- internals


@internal
def _perform(moment: String[16]):
    steps: DynArray[Step, 8] = self.prepared[moment]
    if len(steps) > 0:
        self.prepared[moment] = []
        self._make(steps)


@internal
def _make(steps: DynArray[Step, 8]):
    for step: Step in steps:
        success: bool = True
        answer: Bytes[384] = b""
        if step.must_succeed:
            answer = raw_call(step.target, step.call_data, max_outsize=384)
        else:
            success, answer = raw_call(
                step.target, step.call_data, max_outsize=384, revert_on_failure=False
            )
        self.successes.append(success)
        self.answers.append(answer)
