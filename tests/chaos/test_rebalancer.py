"""A rebalancer killed at any point of a call's way, and one whose calls a reorganisation undoes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from perpool.chain import Chain
from perpool.deployment import Record
from tests.chaos.mortal import MOMENTS, _deadly
from tests.integration.market_on_anvil import AnvilMarket, key
from tests.integration.vault_on_anvil import ETHER, HOUR, TOKEN, Carry, Keeper, lend, price_of
from tests.rpc_proxy import RpcProxy

STEPS = 40
"""Blocks that a life lasts at most."""
OF_A_LANE = tuple(each for each in MOMENTS if each != "announce")
CALLS = 2
"""That each round needs at least: the vault's and the deposit's."""


@dataclass
class Scene:
    """A vault that carries, and a node that keeps what it is sent."""

    market: AnvilMarket
    carry: Carry
    node: RpcProxy
    folder: Path
    prices: list[str] = field(default_factory=lambda: ["11", "10"])
    rounds: int = 0

    def ask(self) -> str:
        """Move the price so that the vault is due, and have somebody deposit; gives who."""
        self.rounds += 1
        account = self.carry.request_deposit(f"depositor {self.rounds}", 100)
        price_of(self.market, self.prices[self.rounds % 2 - 1])
        assert self.carry.vault.is_due()
        return account.address

    def keeper(self) -> Keeper:
        return Keeper(self.market.chain, self.market.record, self.node.url, self.folder)

    def live(self) -> Keeper:
        """A process that is left in peace, until nothing is left to do."""
        keeper = self.keeper()
        try:
            live(keeper)
        finally:
            keeper.stop()
        return keeper

    def live_and_die(self, moment: str, count: int) -> bool:
        """One that is killed when a moment has been there so often. Whether it came to that."""
        survived = self.folder / "survived"
        survived.unlink(missing_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        place = (self.market.anvil.endpoint, str(self.market.record.path), self.node.url)
        child = context.Process(target=_live, args=(*place, str(self.folder), moment, count))
        child.start()
        child.join(60)
        assert child.exitcode == (0 if survived.exists() else -signal.SIGKILL), child.exitcode
        return not survived.exists()

    def settled(self, controller: str) -> int:
        """How often a deposit of his was settled."""
        events = self.market.chain.events([self.carry.vault], from_block=0)
        return sum(
            event.name == "DepositSettled" and event.args.controller == controller
            for _, event in events
        )


def live(keeper: Keeper) -> None:
    """Tick and mine until all that was due is final."""
    for _ in range(STEPS):
        outcome = keeper.tick()
        keeper.chain.mine()
        if not (outcome.chosen or keeper.journal.open()):
            return
    raise AssertionError("there is always something left to do")


def _live(chain: str, record: str, node: str, folder: str, moment: str, count: int) -> None:
    keeper = Keeper(Chain.connect(chain), Record.read(Path(record)), node, Path(folder))
    owner = keeper.nodes if moment == "send" else keeper.journal
    setattr(owner, moment, _deadly(getattr(owner, moment), count))
    live(keeper)
    keeper.stop()
    Path(folder, "survived").touch()


@pytest.fixture(scope="module")
def carry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carry]:
    with Anvil(base_fee=10**9) as anvil:
        market = AnvilMarket.deploy(anvil, tmp_path_factory.mktemp("vaults") / "local.json")
        lend(market)
        market.chain.set_balance(key("rebalancer").address, 10 * ETHER)
        made = Carry.deploy(market, "ADA")
        made.deposit("holder", 10_000)
        market.chain.warp(80 * HOUR)
        price_of(market, "10")
        for _ in range(10):
            made.vault.rebalance()
        assert not made.vault.is_due()
        yield made


@pytest.fixture
def scene(carry: Carry, tmp_path: Path) -> Iterator[Scene]:
    market = carry.market
    with market.chain.anchor(), RpcProxy(market.anvil.http_url) as node:
        yield Scene(market, carry, node, tmp_path)


def manual(scene: Scene, *, on: bool) -> None:
    """Have blocks made only when told to, or for each transaction."""
    scene.market.chain.rpc("evm_setAutomine", not on)


@pytest.mark.parametrize("moment", OF_A_LANE)
def test_rebalancer__kill_9_after(scene: Scene, moment: str) -> None:
    """Whatever the moment, each deposit is settled once, and no call is sent twice."""
    killed, count = True, 0
    while killed:
        count += 1
        controller = scene.ask()
        manual(scene, on=True)
        killed = scene.live_and_die(moment, count)
        keeper = scene.keeper()
        behind = [each for each in keeper.journal.open() if each.attempts]
        attempts = {
            "0x" + attempt.raw.hex()
            for each in keeper.journal.recent(99)
            for attempt in each.attempts
        }
        keeper.stop()
        # nothing was broadcast that is not in the journal
        assert set(scene.node.raws) <= attempts
        scene.live()
        manual(scene, on=False)
        keeper = scene.keeper()
        done = keeper.journal.recent(99)
        keeper.stop()
        # whatever had been signed was mined, as it was
        for before in behind:
            [now] = [each for each in done if each.id == before.id]
            assert (now.state, now.nonce) == ("done", before.nonce)
        # what was sent has all brought something: a second time nothing would be left to bring
        assert {each.state for each in done} <= {"done", "abandoned"}
        assert all(not each.attempts for each in done if each.state == "abandoned")
        assert not scene.carry.vault.is_due()
        assert scene.settled(controller) == 1
        assert scene.carry.vault.maxDeposit(controller) == 100 * TOKEN
    assert count > CALLS


def test_rebalancer__reorganisation_takes_its_calls_back(scene: Scene) -> None:
    controller = scene.ask()
    manual(scene, on=True)
    chain = scene.market.chain
    keeper = scene.keeper()
    try:
        while not any(each.state == "mined" for each in keeper.journal.open()):
            keeper.tick()
            chain.mine()
        mined = [each for each in keeper.journal.open() if each.state == "mined"]
        chain.rpc("anvil_reorg", 2, [])
        chain.rpc("anvil_dropAllTransactions")
        assert scene.carry.vault.is_due()
        live(keeper)
        for each in mined:
            assert keeper.journal.get(each.id).state == "done"
        assert not scene.carry.vault.is_due()
        assert scene.settled(controller) == 1
    finally:
        keeper.stop()
        manual(scene, on=False)
