# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Several calls in one
@license AGPL-3.0-only
@author Perpool
@notice `aggregate3` of Multicall3, for chains on which that is not deployed. Smaller: at most 24 calls of 2,048 bytes,
        of whose answers the first 1,024 bytes are returned.
@dev ASSUMPTIONS. Whoever is called sees this contract as its caller, and so should give it no rights: anybody may call
     through it. No ether: what is sent along is refused.
@dev LIVENESS. A call that uses up all the gas it gets leaves a 64th for the rest.
@dev ROLES. None. ROUNDING. None.
"""
from interfaces import IMulticall
from contracts.modules import tool_errors

implements: IMulticall

MAX_CALLS: constant(uint256) = 24
MAX_ANSWER: constant(uint256) = 1024


@external
@payable
def aggregate3(
    calls: DynArray[IMulticall.Call, MAX_CALLS]
) -> DynArray[IMulticall.Result, MAX_CALLS]:
    """
    @notice Makes the calls in turn. As in Multicall3, a call to an address without code succeeds and returns nothing.
    @return Whether each succeeded, and what it returned, or its reason to revert.
    """
    assert msg.value == 0, tool_errors.NO_ETHER
    results: DynArray[IMulticall.Result, MAX_CALLS] = []
    for call: IMulticall.Call in calls:
        success: bool = False
        answer: Bytes[MAX_ANSWER] = b""
        success, answer = raw_call(
            call.target, call.callData, max_outsize=MAX_ANSWER, revert_on_failure=False
        )
        assert success or call.allowFailure, tool_errors.CALL_FAILED
        results.append(IMulticall.Result(success=success, returnData=answer))
    return results
