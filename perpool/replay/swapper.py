"""The model of the tests' FairSwapper: a venue at the oracle's price less a stated slippage.

A replay on a real exchange would need an arbitrageur to move its price before each swap; what is
asked of a swap here is only its cost. The adapter trades out of what it holds, rounding for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpool.reference.arithmetic import PRICE_SCALE, refuse
from perpool.reference.wad import WAD
from perpool.reference.world import Token

SWAPPER = "swapper"


@dataclass
class FairSwapper:
    """Price in 1e36, spread in WAD."""

    token: Token
    spread: int
    price: int = PRICE_SCALE

    def swap_exact_in(self, caller: str, token_in: Token, token_out: Token, amount_in: int) -> None:
        """All of the input, which has been sent already."""
        if token_in is self.token:
            amount_out = amount_in * self.price // PRICE_SCALE * (WAD - self.spread) // WAD
        else:
            amount_out = amount_in * WAD // (WAD + self.spread) * PRICE_SCALE // self.price
        token_out.move(SWAPPER, caller, amount_out)

    def swap_exact_out(
        self, caller: str, token_in: Token, token_out: Token, amount_out: int, amount_in_max: int
    ) -> None:
        """As much of the input as it takes; the rest goes back."""
        if token_out is self.token:
            value = amount_out * self.price // PRICE_SCALE + 1
        else:
            value = amount_out * PRICE_SCALE // self.price + 1
        cost = value * (WAD + self.spread) // WAD + 1
        if cost > amount_in_max:
            refuse("too expensive")
        token_out.move(SWAPPER, caller, amount_out)
        token_in.move(SWAPPER, caller, amount_in_max - cost)
