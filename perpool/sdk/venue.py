"""What real Uniswap v3 pools would give for a swap, by simulation: no quoter has to be deployed.

A call is made in the name of an address that has, for that call alone, ten bytes of code: it
answers a pool's demand for payment by reverting with the amounts. The pool passes the revert on, so
that nothing is paid and the amounts come back exactly as the swap would have them, fees and all
ticks included.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpool.chain import Chain, ChainError
from perpool.evm import Reverted
from perpool.evm.codec import FunctionAbi
from perpool.sdk.errors import ActionError
from perpool.uniswap import MAX_SQRT_PRICE_X96, MIN_SQRT_PRICE_X96, v3_pool_address

# PUSH1 64, PUSH1 4, PUSH0, CALLDATACOPY, PUSH1 64, PUSH0, REVERT: the first two arguments come back
_ASKER_CODE = "0x604060045f3760405ffd"
_ASKER = "0x00000000000000000000000000000000706f6f6c"

_SWAP = FunctionAbi(
    {
        "name": "swap",
        "inputs": [
            {"name": "recipient", "type": "address"},
            {"name": "zeroForOne", "type": "bool"},
            {"name": "amountSpecified", "type": "int256"},
            {"name": "sqrtPriceLimitX96", "type": "uint160"},
            {"name": "data", "type": "bytes"},
        ],
        "outputs": [],
        "stateMutability": "nonpayable",
    }
)
_FACTORY = FunctionAbi(
    {
        "name": "factory",
        "inputs": [],
        "outputs": [{"name": "", "type": "address"}],
        "stateMutability": "view",
    }
)

Route = tuple[str | int, ...]
"""Token, fee in millionths, token, ... from input to output."""


@dataclass(frozen=True)
class UniswapV3:
    """Quotes of a factory's pools, which a swap adapter goes through."""

    chain: Chain
    factory: str

    @classmethod
    def of_swapper(cls, chain: Chain, swapper: str) -> UniswapV3:
        """The factory that a `UniswapV3Swapper` uses."""
        answer = chain.rpc(
            "eth_call", {"to": swapper, "data": "0x" + _FACTORY.selector.hex()}, "latest"
        )
        return cls(chain, str(_FACTORY.decode(bytes.fromhex(answer[2:]))))

    def quote_exact_in(self, route: Route, amount_in: int) -> int:
        """What an input would bring. Raises ActionError where the pools have not enough."""
        amount = amount_in
        for token_in, fee, token_out in _hops(route):
            spent, amount_out = self._swap(token_in, fee, token_out, amount)
            if spent < amount:
                raise ActionError("quote", "input not all spent")
            amount = amount_out
        return amount

    def quote_exact_out(self, route: Route, amount_out: int) -> int:
        """What an output would cost. Raises ActionError where the pools have not enough."""
        amount = amount_out
        for token_in, fee, token_out in reversed(_hops(route)):
            cost, received = self._swap(token_in, fee, token_out, -amount)
            if received < amount:
                raise ActionError("quote", "insufficient output")
            amount = cost
        return amount

    def _swap(self, token_in: str, fee: int, token_out: str, amount: int) -> tuple[int, int]:
        """(input, output) of a swap in one pool; a negative amount is an exact output."""
        pool = v3_pool_address(self.factory, token_in, token_out, fee)
        zero_for_one = int(token_in, 16) < int(token_out, 16)
        limit = MIN_SQRT_PRICE_X96 + 1 if zero_for_one else MAX_SQRT_PRICE_X96 - 1
        data = _SWAP.encode((_ASKER, zero_for_one, amount, limit, b""))
        message = {"from": _ASKER, "to": pool, "data": "0x" + data.hex(), "gasPrice": "0x0"}
        try:
            self.chain.rpc("eth_call", message, "latest", {_ASKER: {"code": _ASKER_CODE}})
        except Reverted as error:
            if len(error.data) == 64:
                first = int.from_bytes(error.data[:32], "big", signed=True)
                second = int.from_bytes(error.data[32:], "big", signed=True)
                paid, received = (first, second) if zero_for_one else (second, first)
                return paid, -received
            raise ActionError("quote", error.reason or "no such pool") from error
        except ChainError as error:
            raise ActionError("quote", f"the node simulates no swap ({error})") from error
        # a call to an address without code succeeds
        raise ActionError("quote", "no such pool")


def _hops(route: Route) -> list[tuple[str, int, str]]:
    hops = []
    for index in range(0, len(route) - 2, 2):
        token_in, fee, token_out = route[index : index + 3]
        hops.append((str(token_in), int(fee), str(token_out)))
    return hops
