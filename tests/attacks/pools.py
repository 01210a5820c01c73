"""What the attacks on the pools share: weakened copies, wealth, and the attacker's own venue.

`WITHOUT` is the one table of what is taken out of the contracts. Its texts are as short as they can
be and still occur in one file only of those that a pool is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Account, Contract, Evm
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP, Market, deploy_market
from tests.uniswap import V3Pool

ROOT = Path(__file__).parents[2]
FORWARD, REVERSE = "ForwardPool", "ReversePool"

LEDGER = "contracts/modules/ledger.vy"
SHORTING = "contracts/modules/forward/shorting.vy"
FORWARD_LIQUIDATING = "contracts/modules/forward/liquidating.vy"
BORROWING = "contracts/modules/reverse/borrowing.vy"
FLASH_LOANS = "contracts/modules/reverse/flash_loans.vy"
SHARES = "contracts/modules/share_token.vy"
SIGNATURES = "contracts/modules/signatures.vy"
SUPPLY = "contracts/modules/supply.vy"
MARKET = "contracts/modules/market.vy"
VAULT = "contracts/modules/vault.vy"

BURN = "    share_token._move(claims.totals.clock, holder, empty(address), shares)\n"

Edit = tuple[str, str, str]
"""File, text, and what stands there instead."""

WITHOUT: dict[str, list[Edit]] = {
    # shares start at a price that no donation moves much
    "virtual shares": [
        (
            SUPPLY,
            "claims.shares + market.CONFIG.virtual_shares, claims.assets + 1",
            "max(claims.shares, 1), max(claims.assets, 1)",
        ),
        (
            SUPPLY,
            "claims.assets + 1, claims.shares + market.CONFIG.virtual_shares",
            "max(claims.assets, 1), max(claims.shares, 1)",
        ),
    ],
    "virtual debt shares": [
        (LEDGER, "return assets * market.CONFIG.virtual_shares", "return assets"),
    ],
    # what a pool owns is what it has counted in, not what it finds on its account
    "internal accounting": [
        (
            SUPPLY,
            "    claims: Claims = self._charge(self._accrue())\n",
            "    claims: Claims = self._charge(self._accrue())\n"
            "    claims.totals.cash = staticcall IERC20(market.CONFIG.asset).balanceOf(self)\n"
            "    claims.charged = claims.totals.cash + claims.totals.debt_assets\n",
        ),
    ],
    "balance difference": [
        (
            "contracts/modules/tokens.vy",
            "return balance_after - balance_before, ",
            "return balance_after, ",
        ),
    ],
    "care in transfers to oneself": [
        (
            SHARES,
            "        received = accounts.shares_of[receiver]\n",
            "        received = accounts.shares_of[receiver]\n"
            "        if receiver == holder:\n"
            "            received = held\n",
        ),
    ],
    "nonce": [
        (SIGNATURES, "self.next_nonce[account] = nonce + 1", "self.next_nonce[account] = nonce")
    ],
    "verifying contract": [
        (SIGNATURES, "VERSION_HASH, chain.id, self", "VERSION_HASH, chain.id, empty(address)")
    ],
    "burning before paying": [
        (VAULT, BURN, ""),
        (
            VAULT,
            "    tokens._push(market.CONFIG.asset, receiver, assets)\n",
            f"    tokens._push(market.CONFIG.asset, receiver, assets)\n{BURN}",
        ),
    ],
    "pull of the loan": [(FLASH_LOANS, "    tokens._pull_from(token, receiver, amount)\n", "")],
    "indifference to the hook": [
        (
            "contracts/modules/accounts.vy",
            "    if not success:\n",
            "    assert success\n    if not success:\n",
        )
    ],
    "gas for the hook": [
        (
            "contracts/modules/accounts.vy",
            "NEEDED: constant(uint256) = 110_000",
            "NEEDED: constant(uint256) = 0",
        ),
        (
            "contracts/modules/accounts.vy",
            "HOOK_GAS: constant(uint256) = 100_000",
            "HOOK_GAS: constant(uint256) = 1_000_000",
        ),
    ],
    "oracle's bound on proceeds": [(SHORTING, "max(min_proceeds, least)", "min_proceeds")],
    "oracle's bound on a part": [
        (
            SHORTING,
            "if cost > wad_math._share_of_down(worth, WAD + market.CONFIG.leg.max_slippage):",
            "if cost > max_value(uint256) - worth:",
        )
    ],
    "health of the rest": [
        (SHORTING, "if debt_left * collateral > debt * (collateral - cost):", "if debt_left < 1:")
    ],
    "block of opening": [
        (
            FORWARD_LIQUIDATING,
            "if block.number <= packing._short_block(word):",
            "if block.number < packing._short_block(word):",
        )
    ],
    "taking the last collateral whole": [
        (FORWARD_LIQUIDATING, "if repaid < most or not exhausts:", "if repaid <= most:")
    ],
    "bonus within the cover": [
        (
            "contracts/modules/liquidation.vy",
            "return min(bonus, max(surplus, leg.bonus_base))",
            "return bonus",
        )
    ],
    "minimum debt": [
        (LEDGER, "debt > 0 and debt < market.CONFIG.leg.min_debt", "debt > 0 and debt < 1")
    ],
    "bound on what is taken out": [
        (
            BORROWING,
            "if value_out > wad_math._share_of_down(repaid, WAD + market.CONFIG.leg.max_slippage):",
            "if value_out > max_value(uint256) - repaid:",
        )
    ],
    "ltv that does not rise": [
        (
            BORROWING,
            "if debt_left * collateral > debt * (collateral - collateral_out):",
            "if debt < 1:",
        )
    ],
    "factory only": [(MARKET, "if msg.sender != FACTORY:", "if FACTORY == empty(address):")],
}

ORACLE = "contracts/PriceOracle.vy"
SPOT_ORACLE: list[tuple[str, str]] = [
    # the price of the pool at this moment, and nothing else
    (
        "    def observe(seconds_ago",
        "    def slot0() -> (uint160, int24, uint16, uint16, uint16, uint8, bool): view\n"
        "    def observe(seconds_ago",
    ),
    (
        "    return tick_math._price_e36(tick, _TOKEN_IS_TOKEN1)\n",
        "    tick = convert((staticcall IUniswapV3Pool(_POOL).slot0())[1], int256)\n"
        "    return tick_math._price_e36(tick, _TOKEN_IS_TOKEN1)\n",
    ),
    ("low = min(low, average)", "low = average"),
    ("high = max(high, average + 1)", "high = average + 1"),
    (
        "    price: uint256 = unsafe_mul(answer, _SCALE)\n",
        "    price: uint256 = self._average_price()\n",
    ),
]


@lru_cache
def weakened(contract: str, *missing: str) -> Artifact:
    """A pool or any other contract without the named defences; "lock" is the reentrancy lock."""
    patches: dict[str, list[tuple[str, str]]] = {}
    for defence in missing:
        edits = _lock(contract) if defence == "lock" else WITHOUT[defence]
        for file, old, new in edits:
            patches.setdefault(file, []).append((old, new))
    return compile_patched(contract, patches)


def _lock(contract: str) -> list[Edit]:
    """The pragma and its exceptions, in all that a pool is made of."""
    leg = {FORWARD: "forward", REVERSE: "reverse"}[contract]
    modules = ROOT / "contracts" / "modules"
    files = [
        ROOT / "contracts" / f"{contract}.vy",
        *(modules / leg).glob("*.vy"),
        *(modules / f"{name}.vy" for name in ("controls", "ledger", "market", "permits")),
        *(modules / f"{name}.vy" for name in ("share_token", "signatures", "supply", "vault")),
    ]
    texts = [("# pragma nonreentrancy on", "# pragma nonreentrancy off"), ("@reentrant\n", "")]
    return [
        (str(file.relative_to(ROOT)), old, new)
        for file in files
        for old, new in texts
        if old in file.read_text()
    ]


def market_without(evm: Evm, *missing: str, **changes: Any) -> Market:
    """A market whose pools lack these defences, wherever the text of one occurs."""
    if missing:
        for contract, argument in ((FORWARD, "forward_pool"), (REVERSE, "reverse_pool")):
            if _concerns(contract, missing):
                changes[argument] = weakened(contract, *missing)
    return deploy_market(evm, **changes)


def _concerns(contract: str, missing: Sequence[str]) -> bool:
    """Whether a pool has any of these defences; the forward one also stands for what both have."""
    files = [file for defence in missing if defence != "lock" for file, _, _ in WITHOUT[defence]]
    in_reverse = any("/reverse/" in file for file in files)
    return in_reverse == (contract == REVERSE)


# --- the attacker's means


def wealth(market: Market, account: Any, *venues: V3Pool, price: float = 10) -> float:
    """In USDT at a price: what an account holds, and what is in pools that only it has filled."""
    holders = [account, *(venue.address for venue in venues)]
    tokens = sum(market.token.balanceOf(holder) for holder in holders)
    usdt = sum(market.usdt.balanceOf(holder) for holder in holders)
    return float(tokens / market.tokens(1) * price + usdt / market.usd(1))


def own_venue(market: Market, owner: Account, price: float, *, usdt: float) -> V3Pool:
    """A Uniswap pool of the two tokens that nobody else has money in, this deep a side."""
    venue = market.uniswap.create_pool(
        market.token, market.usdt, fee=3_000, price=Decimal(str(price))
    )
    venue.add_liquidity(market.usd(usdt), provider=owner)
    return venue


def trade(market: Market, trader: Account, token: Contract, amount: int, venue: V3Pool) -> int:
    """Sell exactly so much of a token on Uniswap. Returns what it brought."""
    router, evm = market.uniswap.router, market.evm
    if token.allowance(trader, router) == 0:
        token.approve(router, MAX, sender=trader)
    other = market.usdt if token == market.token else market.token
    order = (token, other, venue.fee, trader, evm.timestamp + 3_600, amount, 0, 0)
    return int(router.exactInputSingle(order, sender=trader))


def trade_back(market: Market, trader: Account, token: Contract, amount: int, venue: V3Pool) -> int:
    """Buy exactly so much of a token on Uniswap. Returns what it cost."""
    router, evm = market.uniswap.router, market.evm
    other = market.usdt if token == market.token else market.token
    if other.allowance(trader, router) == 0:
        other.approve(router, MAX, sender=trader)
    order = (other, token, venue.fee, trader, evm.timestamp + 3_600, amount, MAX, 0)
    return int(router.exactOutputSingle(order, sender=trader))


def another_market(market: Market, **changes: Any) -> Market:
    """A second pair of pools from the same factory, with `oracle`, `token` or `symbol` changed."""
    oracle = changes.get("oracle", market.oracle)
    base, usdt, symbol, funding, _, hook, reverse_leg, forward_leg = market.parameters
    # another minimum debt, as the same parameters cannot be deployed twice
    reverse_leg = (*reverse_leg[:14], reverse_leg[14] + 1, *reverse_leg[15:])
    parameters = (base, usdt, symbol, funding, oracle, hook, reverse_leg, forward_leg)
    reverse, forward = market.factory.create_market(parameters, sender=market.owner)
    second = replace(
        market,
        oracle=oracle,
        parameters=parameters,
        reverse=market.evm.at(market.reverse.artifact or REVERSE, reverse),
        forward=market.evm.at(market.forward.artifact or FORWARD, forward),
    )
    factory, owner = market.factory, market.owner
    factory.set_caps(second.reverse, NO_CAP, NO_CAP, NO_CAP, sender=owner)
    factory.set_caps(second.forward, NO_CAP, NO_CAP, NO_BLOCK_CAP, sender=owner)
    factory.set_liquidation_swapper(second.forward, market.swapper, market.buy_route, sender=owner)
    return second


def oracle_with_twap(market: Market, *, spot: bool = False) -> Contract:
    """The market's oracle checked against half an hour of Uniswap, or one of its spot price."""
    artifact = compile_contract("PriceOracle")
    if spot:
        artifact = compile_patched("PriceOracle", {ORACLE: SPOT_ORACLE})
    source = tuple(market.oracle.primary())
    twap = (market.pool.address, 1_800, 10**18 // 20)
    return market.evm.deploy(
        artifact, market.token, market.usdt, source, ("0x" + 40 * "0", 0, 0, 0), twap
    )
