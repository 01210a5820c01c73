"""Attacks on the liquidator, which calls pools, adapters and tokens of anybody's choosing.

Between calls there is nothing to take: it holds nothing, has no rights and leaves no allowance.
What there is to take is the profit of a running call, if its author asks for none, or the gas of
one that only looked as if it paid. Five defences stand before it:

- lock: no second liquidation begins while one runs;
- caller: only the pool that the running call is for may call back;
- once: and that one time only;
- one answer: the pool is asked for its tokens once, so that what is approved is what is cleared;
- strays: what lay there before a call is not of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Account, Contract, Evm, Reverted, reverts
from tests.market import MAX, Market, deploy_market

SOURCE = "contracts/Liquidator.vy"
WITHOUT = {
    "lock": [("# pragma nonreentrancy on\n", "# pragma nonreentrancy off\n"), ("@reentrant\n", "")],
    "caller": [("    assert msg.sender == self._pool, tool_errors.NOT_THE_POOL\n", "")],
    "once": [
        (
            "tool_errors.NOT_THE_POOL\n    self._pool = empty(address)\n",
            "tool_errors.NOT_THE_POOL\n",
        )
    ],
    "one answer": [
        (
            "asset: address = self._asset\n",
            "asset: address = (staticcall IPool(msg.sender).config()).asset\n",
        )
    ],
    "strays": [
        ("    self._stray_asset = tokens._balance(config.asset)\n", ""),
        ("    self._stray_collateral = tokens._balance(config.collateral)\n", ""),
    ],
}
USDT = 10**6
TOKEN = 10**18


def weakened(*missing: str) -> Artifact:
    """The liquidator without the named defences."""
    if not missing:
        return compile_contract("Liquidator")
    edits = [edit for defence in missing for edit in WITHOUT[defence]]
    return compile_patched("Liquidator", {SOURCE: edits})


@dataclass(frozen=True)
class Scene:
    """A short at 85 % of a token that calls the thief whenever Uniswap sends some of it."""

    market: Market
    thief: Contract
    rogue: Contract
    victim: Account
    attacker: Account

    @property
    def evm(self) -> Evm:
        return self.market.evm

    def liquidate(self, liquidator: Contract, **changes: Any) -> int:
        """The victim's call, careless about his profit unless told otherwise."""
        call = {
            "pool": self.market.forward,
            "borrower": self.evm.account("shorter"),
            "max_repay": MAX,
            "swapper": self.market.swapper,
            "route": self.market.buy_route,
            "min_profit": 0,
            "receiver": self.victim,
            "sender": self.victim,
        } | changes
        sender = call.pop("sender")
        return int(liquidator.liquidate(*call.values(), sender=sender))

    def rogue_call(self, liquidator: Contract, **changes: Any) -> int:
        """The attacker's call to his own pool, which gives him what it finds."""
        named = {"pool": self.rogue, "receiver": self.attacker, "sender": self.attacker}
        return self.liquidate(liquidator, **(named | changes))

    def honest_profit(self) -> int:
        with self.evm.anchor():
            return self.liquidate(self.evm.deploy("Liquidator"))

    def prepare(self, asset: Contract, collateral: Contract, *steps: Any, **changes: Any) -> None:
        """What the rogue pool says and does."""
        afterwards = changes.get("asset_afterwards", asset)
        self.rogue.prepare(asset, collateral, afterwards, steps, sender=self.attacker)


@pytest.fixture(scope="module")
def built(chain: Evm) -> Iterator[Scene]:
    with chain.anchor():
        market = deploy_market(chain, token=chain.deploy("HookToken", 18))
        market.lend(tokens=10_000 * TOKEN)
        market.short(margin=1_000 * USDT, tokens=100 * TOKEN)
        market.set_price(17)
        attacker = chain.account("attacker")
        thief = chain.deploy("Puppet", sender=attacker)
        market.token.set_hook_of(market.pool.address, thief, sender=attacker)
        rogue = chain.deploy("RoguePool", sender=attacker)
        yield Scene(market, thief, rogue, chain.account("victim"), attacker)


@pytest.fixture
def scene(evm: Evm, built: Scene) -> Scene:
    return built


def nothing_left(scene: Scene, liquidator: Contract) -> None:
    market = scene.market
    for token in (market.token, market.usdt):
        assert token.balanceOf(liquidator) == 0
        for spender in (market.forward, scene.rogue, scene.thief, market.swapper, scene.attacker):
            assert token.allowance(liquidator, spender) == 0


# --- the callback


@pytest.mark.parametrize("missing", [(), ("lock",), ("once",)], ids=str)
def test_stranger_calls_back_in_the_middle(scene: Scene, missing: tuple[str, ...]) -> None:
    """The thief wants the proceeds of the sale approved to himself."""
    liquidator = scene.evm.deploy(weakened(*missing))
    expected = scene.honest_profit()
    steal_proceeds(scene, liquidator, expected)
    assert scene.liquidate(liquidator) == expected
    assert scene.thief.outcome()[0] == [False, False]
    assert scene.market.token.balanceOf(scene.thief) == 0
    nothing_left(scene, liquidator)


def test_stranger_calls_back_in_the_middle__weakened(scene: Scene) -> None:
    liquidator = scene.evm.deploy(weakened("caller"))
    expected = scene.honest_profit()
    steal_proceeds(scene, liquidator, expected)
    assert scene.liquidate(liquidator) == 0
    assert scene.market.token.balanceOf(scene.thief) == expected
    # who asks for his profit is not robbed of it
    steal_proceeds(scene, liquidator, expected)
    with reverts():
        scene.liquidate(liquidator, min_profit=1)


def steal_proceeds(scene: Scene, liquidator: Contract, amount: int) -> None:
    """Called back by a thief, the liquidator would let him pull what it has just bought."""
    token = scene.market.token
    scene.thief.prepare(
        "after_transfer",
        [
            (liquidator, liquidator.on_collateral.encode(scene.victim, 1, 1, b"sell"), False),
            (token, token.transferFrom.encode(liquidator, scene.thief, amount), False),
        ],
        sender=scene.attacker,
    )


@pytest.mark.parametrize("missing", [(), ("once",)], ids=str)
def test_rogue_pool_calls_back_twice(scene: Scene, missing: tuple[str, ...]) -> None:
    """Even where it could, there is nothing in it for the pool."""
    liquidator = scene.evm.deploy(weakened(*missing))
    callback = (liquidator, liquidator.on_collateral.encode(scene.victim, 1, 1, b""), False)
    scene.prepare(scene.market.token, scene.market.usdt, callback, callback)
    scene.rogue_call(liquidator)
    assert scene.rogue.outcome() == [True, bool(missing)]
    nothing_left(scene, liquidator)


@pytest.mark.parametrize("left_open", [False, True])
def test_rogue_pool_calls_back_later(scene: Scene, left_open: bool) -> None:
    """In the same transaction, but after the call that it did not call back in."""
    artifact = weakened()
    if left_open:
        closing = "    self._pool = empty(address)\n    tokens._approve(config.asset, pool, 0)\n"
        kept = closing.partition("\n")[2]
        artifact = compile_patched("Liquidator", {SOURCE: [(closing, kept)]})
    liquidator, rogue = scene.evm.deploy(artifact), scene.rogue
    token, usdt = scene.market.token, scene.market.usdt
    scene.prepare(token, usdt)
    callback = (liquidator, liquidator.on_collateral.encode(scene.victim, 1, 1, b""), False)
    own = (rogue, scene.victim, 0, rogue, b"", 0, scene.attacker)
    scene.thief.run(
        [
            (liquidator, liquidator.liquidate.encode(*own), True),
            (rogue, rogue.prepare.encode(token, usdt, token, [callback]), True),
            (rogue, rogue.liquidate.encode(scene.victim, 0, rogue, b""), True),
        ]
    )
    assert rogue.outcome() == [left_open]
    nothing_left(scene, liquidator)


# --- a second call within one


def take_all_but(scene: Scene, liquidator: Contract, due: int) -> None:
    """The thief has the liquidator pay itself out, and gives it back what its pool is due."""
    token = scene.market.token
    scene.prepare(token, scene.market.usdt)
    inner = liquidator.liquidate.encode(
        scene.rogue, scene.victim, 0, scene.rogue, b"", 0, scene.thief
    )
    scene.thief.prepare(
        "after_transfer",
        [
            (liquidator, inner, False),
            (token, token.transfer.encode(liquidator, due), False),
        ],
        sender=scene.attacker,
    )


def due_of(scene: Scene) -> int:
    rich = scene.market.give(scene.evm.account("rich"), tokens=10_000 * TOKEN)
    shorter = scene.evm.account("shorter")
    return int(scene.market.forward.liquidate.call(shorter, MAX, rich, b"", sender=rich)[0])


@pytest.mark.parametrize("missing", [(), ("caller",), ("once",)], ids=str)
def test_token_reenters(scene: Scene, missing: tuple[str, ...]) -> None:
    liquidator = scene.evm.deploy(weakened(*missing))
    expected = scene.honest_profit()
    take_all_but(scene, liquidator, due_of(scene))
    assert scene.liquidate(liquidator) == pytest.approx(expected, rel=1e-6)
    assert scene.thief.outcome()[0] == [False, False]
    assert scene.market.token.balanceOf(scene.thief) == 0
    nothing_left(scene, liquidator)


def test_token_reenters__without_lock(scene: Scene) -> None:
    """What the inner call finds would be a stray to it, so that defence goes too."""
    liquidator = scene.evm.deploy(weakened("lock", "strays"))
    expected = scene.honest_profit()
    take_all_but(scene, liquidator, due_of(scene) * 1_000_001 // 1_000_000)
    assert scene.liquidate(liquidator) < expected // 1_000
    assert scene.thief.outcome()[0] == [True, True]
    assert scene.market.token.balanceOf(scene.thief) > expected * 999 // 1_000


def test_rogue_adapter_reenters(scene: Scene) -> None:
    """And delivers nothing, so that the pool cannot be paid."""
    liquidator, market = scene.evm.deploy("Liquidator"), scene.market
    scene.prepare(market.token, market.usdt)
    inner = liquidator.liquidate.encode(
        scene.rogue, scene.victim, 0, scene.rogue, b"", 0, scene.attacker
    )
    scene.thief.prepare("swap_exact_in", [(liquidator, inner, True)], sender=scene.attacker)
    with reverts(""):
        scene.liquidate(liquidator, swapper=scene.thief)
    scene.thief.prepare("swap_exact_in", [(liquidator, inner, False)], sender=scene.attacker)
    with reverts("insufficient allowance"):
        scene.liquidate(liquidator, swapper=scene.thief)


# --- adapters that keep, and give back


def test_rogue_adapter_keeps_the_profit(scene: Scene) -> None:
    """It delivers what is due and not a unit more: the profit asked for protects the caller."""
    liquidator, market = scene.evm.deploy("Liquidator"), scene.market
    with scene.evm.same_block():
        due = due_of(scene)
        market.token.mint(scene.thief, due)
        pay = (market.token, market.token.transfer.encode(liquidator, due), True)
        for least in (1, 0):
            scene.thief.prepare("swap_exact_in", [pay], sender=scene.attacker)
            if least:
                with reverts("profit too small"):
                    scene.liquidate(liquidator, swapper=scene.thief, min_profit=least)
            else:
                assert scene.liquidate(liquidator, swapper=scene.thief) == 0
    nothing_left(scene, liquidator)


def test_adapter_gives_collateral_back(scene: Scene) -> None:
    """What is not spent goes to the receiver as it is."""
    liquidator, market = scene.evm.deploy("Liquidator"), scene.market
    with scene.evm.same_block():
        due = due_of(scene)
        market.token.mint(scene.thief, due + 5)
        steps = [
            (market.token, market.token.transfer.encode(liquidator, due + 5), True),
            (market.usdt, market.usdt.transfer.encode(liquidator, 7 * USDT), True),
        ]
        scene.thief.prepare("swap_exact_in", steps, sender=scene.attacker)
        assert scene.liquidate(liquidator, swapper=scene.thief) == 5
    assert market.token.balanceOf(scene.victim) == 5
    assert market.usdt.balanceOf(scene.victim) == 7 * USDT
    nothing_left(scene, liquidator)


# --- allowances


def leave_an_allowance(scene: Scene, liquidator: Contract) -> None:
    """The rogue pool is approved for one token, and has another one cleared."""
    market = scene.market
    market.token.mint(scene.rogue, TOKEN)
    scene.prepare(
        market.usdt,
        market.usdt,
        (market.token, market.token.transfer.encode(liquidator, TOKEN), True),
        (liquidator, liquidator.on_collateral.encode(scene.victim, 1, 1, b""), True),
        asset_afterwards=market.token,
    )
    scene.rogue_call(liquidator)


def test_rogue_pool_changes_its_mind(scene: Scene) -> None:
    liquidator = scene.evm.deploy("Liquidator")
    leave_an_allowance(scene, liquidator)
    assert scene.market.token.allowance(liquidator, scene.rogue) == 0


def test_rogue_pool_changes_its_mind__weakened(scene: Scene) -> None:
    """With what is left it could take of the proceeds of any call that it is called in."""
    liquidator = scene.evm.deploy(weakened("one answer"))
    leave_an_allowance(scene, liquidator)
    assert scene.market.token.allowance(liquidator, scene.rogue) == TOKEN


def test_allowance_to_the_liquidator_is_safe(scene: Scene) -> None:
    """Nobody needs to give it one; to who does so by mistake, nothing happens.

    This is what a swap target called from the contract that held the allowances once cost.
    """
    liquidator, market = scene.evm.deploy("Liquidator"), scene.market
    market.give(scene.victim, usdt=1_000 * USDT, tokens=100 * TOKEN)
    for token in (market.usdt, market.token):
        token.approve(liquidator, MAX, sender=scene.victim)
        pull = token.transferFrom.encode(scene.victim, scene.attacker, 1)
        for changes in (
            {"swapper": token, "route": pull},
            {"swapper": scene.victim},
            {"borrower": scene.victim, "max_repay": 1},
            {"pool": token},
        ):
            callback = liquidator.on_collateral.encode(scene.victim, 1, 1, pull)
            scene.prepare(token, token, (liquidator, callback, False), (token, pull, False))
            try:
                scene.rogue_call(liquidator, **changes)
            except Reverted:
                assert "pool" in changes
            else:
                assert scene.rogue.outcome()[1] is False
    assert market.usdt.balanceOf(scene.victim) == 1_000 * USDT
    assert market.token.balanceOf(scene.victim) == 100 * TOKEN


# --- stray tokens


@pytest.mark.parametrize("missing", [(), ("strays",)], ids=str)
@pytest.mark.parametrize("kind", ["asset", "collateral"])
def test_rogue_pool_takes_stray_tokens(scene: Scene, kind: str, missing: tuple[str, ...]) -> None:
    """Neither as a profit nor as a pool that is paid: who could, would lend them to a trial."""
    liquidator, market = scene.evm.deploy(weakened(*missing)), scene.market
    token = market.token
    token.mint(liquidator, 2 * TOKEN)
    asset, collateral = token, market.usdt
    if kind == "collateral":
        asset, collateral = collateral, asset
    callback = (liquidator, liquidator.on_collateral.encode(scene.victim, 1, 1, b""), False)
    pull = (token, token.transferFrom.encode(liquidator, scene.attacker, TOKEN), False)
    scene.prepare(asset, collateral, callback, pull)
    scene.thief.prepare("swap_exact_in", [], sender=scene.attacker)
    scene.rogue_call(liquidator, swapper=scene.thief)
    assert scene.rogue.outcome() == [True, bool(missing) and kind == "asset"]
    taken = token.balanceOf(scene.attacker) + token.balanceOf(scene.thief)
    assert (taken, token.balanceOf(liquidator)) == ((2 * TOKEN, 0) if missing else (0, 2 * TOKEN))
    assert token.allowance(liquidator, scene.rogue) == 0


@pytest.mark.parametrize("missing", [(), ("strays",)], ids=str)
def test_stray_tokens_are_no_profit(scene: Scene, missing: tuple[str, ...]) -> None:
    """And in nobody's way: no call fails because something was sent ahead of it."""
    liquidator, market = scene.evm.deploy(weakened(*missing)), scene.market
    strays = TOKEN, 100 * USDT
    with scene.evm.same_block():
        expected = scene.honest_profit()
        market.token.mint(liquidator, strays[0])
        market.usdt.mint(liquidator, strays[1])
        if missing:
            assert scene.liquidate(liquidator, min_profit=expected + TOKEN) > expected + TOKEN
            return
        with reverts("profit too small"):
            scene.liquidate(liquidator, min_profit=expected + 1)
        assert scene.liquidate(liquidator, min_profit=expected) == expected
    assert market.token.balanceOf(scene.victim) == expected
    assert (market.token.balanceOf(liquidator), market.usdt.balanceOf(liquidator)) == strays
