"""Attacks on the Uniswap v3 adapter, each repeated against copies that lack a defence.

Whoever writes a route chooses its tokens, and a token may call anything while it is moved. What is
there to take is the input of a running exact output that it will not need: the caller has allowed
for it, so the running call would not notice. Three defences stand before it:

- lock: the swap functions cannot be entered while one of them runs;
- venue: only the one pool that a running swap has called may call back, once;
- budget: payments and refund together never exceed what the running call was given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from eth_utils import to_canonical_address

from perpool import uniswap
from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Account, Contract, Evm, Reverted, reverts
from tests.uniswap import UniswapV3, V3Pool

SOURCE = "contracts/swappers/UniswapV3Swapper.vy"
AUTHENTICATION = "    assert msg.sender == self._venue, swap_errors.NOT_THE_POOL\n"

WITHOUT = {
    "lock": [("# pragma nonreentrancy on\n", "# pragma nonreentrancy off\n"), ("@reentrant\n", "")],
    "venue": [(AUTHENTICATION, "")],
    "budget": [
        ("    assert owed <= budget, swap_errors.EXCESSIVE_INPUT\n", ""),
        ("self._budget = budget - owed", "self._budget = unsafe_sub(budget, owed)"),
    ],
}

# Believes whoever says that the right factory made him, as several hacked adapters did.
BELIEVES_THE_SENDER = [
    (
        AUTHENTICATION,
        "    assert staticcall IUniswapV3Pool(msg.sender).factory() == factory\n",
    ),
    ("    def swap(\n", "    def factory() -> address: view\n    def swap(\n"),
]

TOKEN = 10**18
USDT = 10**6
WANTED = 1_000 * USDT  # about 100 tokens
GIVEN = 400 * TOKEN
LOOT = 200 * TOKEN


def weakened(*missing: str) -> Artifact:
    """The adapter without the named defences."""
    if not missing:
        return compile_contract("UniswapV3Swapper")
    edits = [edit for defence in missing for edit in WITHOUT[defence]]
    return compile_patched("UniswapV3Swapper", {SOURCE: edits})


@dataclass(frozen=True)
class Scene:
    """token -> hooked -> usdt, where the thief is called whenever the second pool gets `hooked`."""

    evm: Evm
    v3: UniswapV3
    token: Contract
    hooked: Contract
    usdt: Contract
    direct: V3Pool
    first: V3Pool
    second: V3Pool
    thief: Contract
    caller: Contract
    attacker: Account

    @property
    def route(self) -> bytes:
        tokens = [self.token.address, self.hooked.address, self.usdt.address]
        return uniswap.encode_v3_route(tokens, [self.first.fee, self.second.fee])

    @property
    def cost(self) -> int:
        return self.v3.quote_exact_out(self.route, WANTED)

    def adapter(self, artifact: Artifact) -> Contract:
        return self.evm.deploy(artifact, self.v3.factory)

    def buy(self, swapper: Contract) -> int:
        """The victim's call: an exact output with far more input than it needs."""
        return int(self.caller.buy(swapper, self.token, self.usdt, WANTED, GIVEN, self.route))

    def payload(self, swapper: Contract) -> bytes:
        """A callback that asks for LOOT tokens."""
        return swapper.uniswapV3SwapCallback.encode(
            LOOT, -1, to_canonical_address(self.token.address)
        )

    def arm(self, target: Contract, call_data: bytes) -> None:
        self.thief.arm(target, call_data, self.first, sender=self.attacker)


@pytest.fixture(scope="module")
def scene(chain: Evm) -> Iterator[Scene]:
    with chain.anchor():
        v3 = UniswapV3(chain)
        token = chain.deploy("TestToken", "Token", "TKN", 18)
        hooked = chain.deploy("HookToken", 18)
        usdt = chain.deploy("UsdtLike", 6)
        direct = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
        first = v3.create_pool(token, hooked, fee=3_000, price=Decimal(10))
        second = v3.create_pool(hooked, usdt, fee=500, price=Decimal(1))
        direct.add_liquidity(10**6 * USDT)
        first.add_liquidity(10**6 * TOKEN)
        second.add_liquidity(10**6 * USDT)

        attacker = chain.account("attacker")
        thief = chain.deploy("SwapThief", sender=attacker)
        hooked.set_hook_of(second, thief, sender=attacker)
        caller = chain.deploy("SwapCaller")
        token.mint(caller, 10**4 * TOKEN)
        yield Scene(chain, v3, token, hooked, usdt, direct, first, second, thief, caller, attacker)


# -- a stranger calls the callback --


@pytest.mark.parametrize(
    ("missing", "reason"),
    [((), "not the pool"), (("budget",), "not the pool"), (("venue",), "excessive input")],
    ids=str,
)
def test_callback_by_a_stranger(
    scene: Scene, evm: Evm, missing: tuple[str, ...], reason: str
) -> None:
    swapper = scene.adapter(weakened(*missing))
    scene.token.mint(swapper, LOOT)  # left there by mistake
    with reverts(reason):
        evm.transact(swapper, scene.payload(swapper), sender=scene.attacker)
    assert scene.token.balanceOf(scene.attacker) == 0


def test_callback_by_a_stranger__without_venue_and_budget(scene: Scene, evm: Evm) -> None:
    swapper = scene.adapter(weakened("venue", "budget"))
    scene.token.mint(swapper, LOOT)
    evm.transact(swapper, scene.payload(swapper), sender=scene.attacker)
    assert scene.token.balanceOf(scene.attacker) == LOOT


# -- a fake pool, in the middle of a swap --


@pytest.mark.parametrize("missing", [(), ("lock",), ("budget",), ("lock", "budget")], ids=str)
def test_fake_pool_calls_back_during_a_swap(
    scene: Scene, evm: Evm, missing: tuple[str, ...]
) -> None:
    swapper = scene.adapter(weakened(*missing))
    cost = scene.cost
    scene.arm(swapper, scene.payload(swapper))
    assert scene.buy(swapper) == cost
    assert (scene.thief.attempts(), scene.thief.successes()) == (1, 0)
    assert scene.token.balanceOf(scene.thief) == 0
    assert scene.token.balanceOf(scene.caller) == 10**4 * TOKEN - cost


@pytest.mark.parametrize("edits", [WITHOUT["venue"], BELIEVES_THE_SENDER], ids=["none", "believed"])
def test_fake_pool_calls_back_during_a_swap__weakened(
    scene: Scene, evm: Evm, edits: list[tuple[str, str]]
) -> None:
    swapper = scene.adapter(compile_patched("UniswapV3Swapper", {SOURCE: edits}))
    cost = scene.cost
    scene.arm(swapper, scene.payload(swapper))
    assert scene.buy(swapper) == cost + LOOT
    assert scene.token.balanceOf(scene.thief) == LOOT
    assert scene.usdt.balanceOf(scene.caller) == WANTED


def test_fake_pool_in_the_route(scene: Scene, evm: Evm) -> None:
    """A route names tokens and a fee, so that there is no place for a pool of one's own."""
    own = UniswapV3(evm)
    pool = own.create_pool(scene.token, scene.usdt, fee=500, price=Decimal("0.000001"))
    pool.add_liquidity(1_000, provider=scene.attacker)
    amount, route = 100 * TOKEN, pool.route(scene.token)

    with reverts("no such pool"):
        scene.caller.sell(scene.adapter(weakened()), scene.token, scene.usdt, amount, route)

    edits = [("convert(factory, bytes20)", f"convert({own.factory.address}, bytes20)")]
    swapper = scene.adapter(compile_patched("UniswapV3Swapper", {SOURCE: edits}))
    scene.caller.sell(swapper, scene.token, scene.usdt, amount, route)
    assert scene.token.balanceOf(pool) > amount
    assert scene.usdt.balanceOf(scene.caller) < 1_000


# -- a token re-enters in the middle of a swap --


def reenter(scene: Scene, swapper: Contract) -> None:
    """Have the thief buy for next to nothing, and be refunded what the running call has here."""
    scene.arm(
        swapper,
        swapper.swap_exact_out.encode(
            scene.token, scene.usdt, USDT, LOOT, scene.direct.route(scene.token)
        ),
    )


@pytest.mark.parametrize("missing", [(), ("venue",), ("budget",), ("venue", "budget")], ids=str)
def test_token_reenters_a_swap(scene: Scene, evm: Evm, missing: tuple[str, ...]) -> None:
    swapper = scene.adapter(weakened(*missing))
    cost = scene.cost
    reenter(scene, swapper)
    assert scene.buy(swapper) == cost
    assert (scene.thief.attempts(), scene.thief.successes()) == (1, 0)
    assert scene.token.balanceOf(scene.thief) == 0
    assert scene.token.balanceOf(swapper) == 0


@pytest.mark.parametrize("missing", [("lock",), ("lock", "budget")], ids=str)
def test_token_reenters_a_swap__without_lock(
    scene: Scene, evm: Evm, missing: tuple[str, ...]
) -> None:
    """The second call has used up the one callback, so the running one fails as a whole."""
    swapper = scene.adapter(weakened(*missing))
    reenter(scene, swapper)
    with reverts("not the pool"):
        scene.buy(swapper)
    assert scene.token.balanceOf(scene.thief) == 0


def test_token_reenters_a_swap__without_lock_and_venue(scene: Scene, evm: Evm) -> None:
    swapper = scene.adapter(weakened("lock", "venue"))
    cost = scene.cost
    reenter(scene, swapper)
    scene.buy(swapper)
    stolen = scene.token.balanceOf(scene.thief)
    assert LOOT * 99 // 100 < stolen < LOOT
    assert scene.usdt.balanceOf(scene.caller) == WANTED
    assert scene.token.balanceOf(scene.caller) < 10**4 * TOKEN - cost - LOOT


@pytest.mark.parametrize(
    "missing", [(), ("lock",), ("venue",), ("lock", "venue"), ("lock", "venue", "budget")], ids=str
)
def test_token_reenters_an_exact_input(scene: Scene, evm: Evm, missing: tuple[str, ...]) -> None:
    """An exact input has nothing to spare: who takes of it makes the swap fail, defences or not."""
    swapper = scene.adapter(weakened(*missing))
    scene.hooked.set_hook_of(swapper, scene.thief, sender=scene.attacker)
    scene.arm(
        swapper,
        swapper.swap_exact_in.encode(
            scene.token, scene.usdt, 50 * TOKEN, scene.direct.route(scene.token)
        ),
    )
    try:
        scene.caller.sell(swapper, scene.token, scene.usdt, 100 * TOKEN, scene.route)
    except Reverted:
        assert "lock" in missing
    else:
        assert "lock" not in missing
        assert (scene.thief.attempts(), scene.thief.successes()) == (1, 0)
    assert scene.usdt.balanceOf(scene.thief) == 0


# -- tokens left by mistake --


@pytest.mark.parametrize("function", ["swap_exact_in", "swap_exact_out"])
def test_what_is_left_here_belongs_to_the_next_caller(
    scene: Scene, evm: Evm, function: str
) -> None:
    """No defence, and none is claimed: never send tokens here except to swap them at once."""
    swapper = scene.adapter(weakened())
    scene.token.mint(swapper, LOOT)
    route = scene.direct.route(scene.token)
    if function == "swap_exact_in":
        swapper.swap_exact_in(scene.token, scene.usdt, LOOT, route, sender=scene.attacker)
        assert scene.usdt.balanceOf(scene.attacker) > 1_900 * USDT
    else:
        swapper.swap_exact_out(scene.token, scene.usdt, 1, LOOT, route, sender=scene.attacker)
        assert scene.token.balanceOf(scene.attacker) > LOOT * 99 // 100
    assert scene.token.balanceOf(swapper) == 0
