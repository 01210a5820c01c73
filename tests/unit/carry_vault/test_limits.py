"""The owner's and the guardian's: `set_limits`, `set_swapper`, `set_hook`, `set_paused`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, reverts
from tests.market import WAD, ZERO_ADDRESS
from tests.rewards import Rewards
from tests.vaults import Vault

DAY = 86_400


@pytest.fixture
def stranger(plain: Vault) -> Account:
    return plain.evm.account("stranger")


def test_set_limits__not_owner(plain: Vault, stranger: Account) -> None:
    for sender in (stranger, plain.market.guardian):
        with reverts("not owner"):
            plain.contract.set_limits(1, 1, sender=sender)


def test_set_limits(plain: Vault) -> None:
    plain.contract.set_limits(7, 8, sender=plain.owner)
    assert plain.contract.limits() == (7, 8)
    assert plain.strategy.max_trade() == 8
    (event,) = plain.evm.last.events("LimitsSet", plain.contract)
    assert tuple(event.args) == (7, 8)


def test_set_limits__a_cap_below_what_there_is_stops_no_exit(plain: Vault, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(10))
    plain.contract.set_limits(0, 0, sender=plain.owner)
    assert plain.redeem(alice, plain.contract.balanceOf(alice)) > 0


def test_set_swapper__not_owner(plain: Vault, stranger: Account) -> None:
    with reverts("not owner"):
        plain.contract.set_swapper(plain.market.swapper, b"", b"", sender=stranger)


def test_set_swapper__not_of_the_list(plain: Vault, stranger: Account) -> None:
    with reverts("unknown swapper"):
        plain.contract.set_swapper(stranger, b"", b"", sender=plain.owner)


def test_set_swapper__another_adapter(neutral: Vault, alice: Account) -> None:
    """It is the one that sells from then on."""
    market = neutral.market
    fair = neutral.evm.deploy("FairSwapper", market.token)
    market.factory.allow_swapper(fair, True, sender=market.owner)
    neutral.contract.set_swapper(fair, b"sell", b"buy", sender=neutral.owner)
    (event,) = neutral.evm.last.events("SwapperSet", neutral.contract)
    assert tuple(event.args) == (fair.address, b"sell", b"buy")
    market.usdt.mint(fair, neutral.usd(10**6), sender=alice)
    neutral.deposit(alice, neutral.tokens(1_000))
    neutral.carry()
    assert neutral.strategy.swapper() == (fair.address, b"sell", b"buy")
    neutral.set_price("11.5", move_uniswap=False)
    fair.set_terms(market.price_e36(), 0, 0)
    neutral.rebalance()
    (sold,) = neutral.evm.last.events("Traded", neutral.strategy)
    assert market.token.balanceOf(fair) == sold.args.tokens_sold > 0


def test_set_hook__not_owner(plain: Vault, stranger: Account) -> None:
    with reverts("not owner"):
        plain.contract.set_hook(ZERO_ADDRESS, sender=stranger)


def test_set_hook__not_of_the_list(plain: Vault, stranger: Account) -> None:
    with reverts("unknown hook"):
        plain.contract.set_hook(stranger, sender=plain.owner)


def test_set_hook__a_reward_stream(plain: Vault, alice: Account, bob: Account) -> None:
    """It pays holders by what they hold, and the vault nothing for what waits in it."""
    contract, market, evm = plain.contract, plain.market, plain.evm
    stream = evm.deploy("RewardStream", market.factory, market.operators)
    reward = evm.deploy("UsdtLike", 18)
    rewards = Rewards(market, stream, reward, evm.account("project"))
    market.factory.allow_hook(stream, True, sender=market.owner)
    contract.set_hook(stream, sender=plain.owner)
    (event,) = evm.last.events("HookSet", contract)
    assert tuple(event.args) == (stream.address,)
    assert contract.hook() == stream.address
    programme = rewards.add(contract)
    rewards.fund(programme, 30 * WAD)
    plain.deposit(alice, plain.tokens(30))
    contract.transfer(bob, contract.balanceOf(alice) // 3, sender=alice)
    evm.warp(DAY)
    assert stream.earned(programme, alice) == pytest.approx(WAD * 2 / 3, rel=1e-3)
    assert stream.earned(programme, bob) == pytest.approx(WAD / 3, rel=1e-3)
    # what waits for redemption earns nothing
    plain.request_redeem(alice, contract.balanceOf(alice))
    earned = stream.earned(programme, alice)
    evm.warp(DAY)
    assert stream.earned(programme, alice) == pytest.approx(earned, rel=1e-6)
    assert stream.earned(programme, bob) == pytest.approx(WAD * 4 / 3, rel=1e-3)


def test_set_hook__one_that_fails_stops_nothing(plain: Vault, alice: Account, bob: Account) -> None:
    contract, market = plain.contract, plain.market
    hook = plain.evm.deploy("TestHook")
    hook.fail()
    market.factory.allow_hook(hook, True, sender=market.owner)
    contract.set_hook(hook, sender=plain.owner)
    plain.deposit(alice, plain.tokens(10))
    (failed,) = plain.evm.last.events("HookFailed", contract)
    assert tuple(failed.args) == (hook.address, alice.address)
    contract.transfer(bob, 7, sender=alice)
    assert contract.balanceOf(bob) == 7
    contract.set_hook(ZERO_ADDRESS, sender=plain.owner)
    contract.transfer(bob, 1, sender=alice)
    assert not plain.evm.last.events("HookFailed", contract)


def test_set_paused__neither_owner_nor_guardian(plain: Vault, stranger: Account) -> None:
    with reverts("not owner"):
        plain.contract.set_paused(True, sender=stranger)


def test_set_paused(plain: Vault, alice: Account, bob: Account) -> None:
    """Deposits asked for before are settled, and everybody may leave."""
    contract = plain.contract
    plain.deposit(alice, plain.tokens(10))
    plain.request_deposit(bob, plain.tokens(10))
    for sender in (plain.market.guardian, plain.owner):
        contract.set_paused(True, sender=sender)
        assert contract.is_paused()
        (event,) = plain.evm.last.events("PausedSet", contract)
        assert tuple(event.args) == (sender.address, True)
        with reverts("paused"):
            plain.request_deposit(bob, 1)
        contract.set_paused(False, sender=sender)
    contract.set_paused(True, sender=plain.market.guardian)
    plain.observe()
    assert contract.settle_deposit(bob) > 0
    plain.set_funding(50)
    assert plain.rebalance()
    assert plain.redeem(alice, contract.balanceOf(alice)) > 0
