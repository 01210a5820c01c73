"""Attacks on reward streams: what others earned, what others funded, and weight without shares.

What protects is taken out of a weakened copy in turn, and the attack then pays:

- lock: no stream, stop or claim begins while one of them runs;
- no lock on the hook: what happens while a token is being claimed is heard of;
- first the time: a stop returns nothing of what has been streamed by then;
- attached: while the source does not tell, no weight grows;
- settled: new shares earn from now on.
"""

from __future__ import annotations

from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, WAD, ZERO_ADDRESS
from tests.rewards import BORROWERS, DAY, HOLDERS, MONTH, Rewards

SOURCE = "contracts/RewardStream.vy"
WORDS = "contracts/modules/reward_words.vy"
WITHOUT = {
    "lock": {SOURCE: [("@external\ndef stream(", "@external\n@reentrant\ndef stream(")]},
    "no lock on the hook": {
        SOURCE: [("@external\n@reentrant\ndef on_change(", "@external\ndef on_change(")]
    },
    "first the time": {
        SOURCE: [
            (
                "errors.BAD_RECEIVER\n    word: uint256 = "
                "words._advance(self.programmes[id], block.timestamp)\n",
                "errors.BAD_RECEIVER\n    word: uint256 = self.programmes[id]\n",
            )
        ]
    },
    "attached": {
        SOURCE: [
            ("attached: bool = staticcall Source(source).hook() == self", "attached: bool = True")
        ]
    },
    "settled": {WORDS: [("(since << 168) | (earned << 72)", "earned << 72")]},
}


def weakened(missing: str | None = None) -> Artifact:
    """The stream without the named defence."""
    if missing is None:
        return compile_contract("RewardStream")
    return compile_patched("RewardStream", WITHOUT[missing])


def deploy(evm: Evm, missing: str | None = None) -> Rewards:
    return Rewards.deploy(evm, artifact=weakened(missing))


def step(
    target: Contract, call_data: bytes, *, must_succeed: bool = True
) -> tuple[str, bytes, bool]:
    """For a Puppet."""
    return target.address, call_data, must_succeed


# --- a deposit for a moment


def sandwich(rewards: Rewards) -> tuple[int, int]:
    """(what a whale claims that lends for one block, what the lender beside it has earned)"""
    evm, market = rewards.evm, rewards.market
    programme = rewards.add(market.reverse)
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 30 * WAD)
    evm.warp(10 * DAY)
    whale = market.give(evm.account("whale"), usdt=market.usd(10**9))
    with evm.same_block():
        market.reverse.deposit(market.usd(10**9), whale, sender=whale)
        rewards.claim(programme, whale)
        rewards.leave(whale)
        rewards.claim(programme, whale)
    return rewards.token.balanceOf(whale), rewards.stream.earned(programme, lender)


def test_deposit_for_a_block(evm: Evm) -> None:
    taken, left = sandwich(deploy(evm))
    assert taken == 0
    assert abs(left - 10 * WAD) < WAD // 1_000


def test_deposit_for_a_block__weakened(evm: Evm) -> None:
    with reverts(""):
        # it would be paid a million times what was funded
        sandwich(deploy(evm, "settled"))


def test_stream_and_stop_in_a_block(evm: Evm) -> None:
    """A project gets back what it put in, to the unit, and pays nobody."""
    rewards = deploy(evm)
    programme = rewards.add(rewards.market.reverse)
    lender = rewards.lend("lender", 1_000)
    with evm.same_block():
        rewards.fund(programme, 12_345_678_901)
        assert rewards.claim(programme, lender) == 0
        returned = rewards.stream.stop(programme, rewards.project, sender=rewards.project)
    assert returned == 12_345_678_901
    evm.warp(MONTH)
    assert rewards.claim(programme, lender) == 0


# --- the project against those who earned


def late_stop(rewards: Rewards) -> tuple[int, int]:
    """(what the project gets back at the end of its stream, what the lender then claims)"""
    programme = rewards.add(rewards.market.reverse)
    other = rewards.add(rewards.market.reverse)
    lender = rewards.lend("lender", 1_000)
    rewards.fund(other, 30 * WAD)
    ends_at = rewards.fund(programme, 30 * WAD)
    rewards.evm.warp(ends_at - rewards.evm.timestamp)
    back = rewards.stream.stop(programme, rewards.project, sender=rewards.project)
    return back, rewards.stream.earned(programme, lender)


def test_late_stop(evm: Evm) -> None:
    back, earned = late_stop(deploy(evm))
    assert back < 30 * WAD // MONTH
    assert abs(earned + back - 30 * WAD) < WAD // 10**6


def test_late_stop__weakened(evm: Evm) -> None:
    back, _ = late_stop(deploy(evm, "first the time"))
    assert back == 30 * WAD


# --- a hostile reward token


def double_count(rewards: Rewards) -> int:
    """Tokens that a project takes out beyond its own, by a stream within its own transfer.

    Another project's programme is of the same token, which calls back.
    """
    evm, stream = rewards.evm, rewards.stream
    token, puppet = evm.deploy("HookToken", 18), evm.deploy("Puppet")
    honest = rewards.add(rewards.market.reverse, token=token)
    rewards.fund(honest, 100 * WAD, token=token)
    thief = stream.add_programme(
        rewards.market.reverse, 1, token, puppet, sender=rewards.market.owner
    )
    token.mint(puppet, 2 * WAD)
    token.set_hook_of(puppet, puppet)
    fund = stream.stream.encode(thief, WAD, MONTH)
    puppet.prepare("before_transfer", [step(stream, fund, must_succeed=False)])
    puppet.run([step(token, token.approve.encode(stream, MAX)), step(stream, fund)])
    # it would be called for what comes back too
    token.set_hook_of(puppet, ZERO_ADDRESS)
    puppet.run([step(stream, stream.stop.encode(thief, puppet))])
    return int(token.balanceOf(puppet)) - 2 * WAD


def test_double_count(evm: Evm) -> None:
    rewards = deploy(evm)
    assert double_count(rewards) <= 0
    honest, _ = rewards.stream.programmes_of(rewards.market.reverse)
    assert rewards.stream.programme(honest).held == 100 * WAD


def test_double_count__weakened(evm: Evm) -> None:
    assert double_count(deploy(evm, "lock")) == WAD


def leave_unheard(rewards: Rewards) -> tuple[Contract, int]:
    """(a lender that leaves while it is being paid, the programme that pays it)"""
    evm, market, stream = rewards.evm, rewards.market, rewards.stream
    token, puppet = evm.deploy("HookToken", 18), evm.deploy("Puppet")
    programme = rewards.add(market.reverse, token=token)
    rewards.lend("lender", 1_000)
    market.give(Account("giver"), usdt=market.usd(1_000))
    market.reverse.deposit(market.usd(1_000), puppet, sender=Account("giver"))
    rewards.fund(programme, 30 * WAD, token=token)
    evm.warp(DAY)
    token.set_hook_of(puppet, puppet)
    shares = market.reverse.balanceOf(puppet)
    puppet.prepare(
        "before_transfer",
        [step(market.reverse, market.reverse.redeem.encode(shares, puppet, puppet))],
    )
    puppet.run([step(stream, stream.claim.encode([programme], puppet, puppet))])
    assert market.reverse.balanceOf(puppet) == 0
    return puppet, programme


def test_leave_unheard(evm: Evm) -> None:
    rewards = deploy(evm)
    puppet, programme = leave_unheard(rewards)
    assert rewards.stream.weight_of(programme, puppet) == 0
    evm.warp(DAY)
    assert rewards.stream.earned(programme, puppet) == 0


def test_leave_unheard__weakened(evm: Evm) -> None:
    rewards = deploy(evm, "no lock on the hook")
    puppet, programme = leave_unheard(rewards)
    assert evm.last.events("HookFailed")
    evm.warp(DAY)
    assert rewards.stream.earned(programme, puppet) > WAD // 3


def test_token_that_reverts_stops_nobody_else(evm: Evm) -> None:
    """Nor the hook, which never calls it, nor claims of other programmes."""
    rewards = deploy(evm)
    token = evm.deploy("UsdtLike", 18)
    bad, good = (
        rewards.add(rewards.market.reverse, token=token),
        rewards.add(rewards.market.reverse),
    )
    for programme, each in ((bad, token), (good, rewards.token)):
        rewards.fund(programme, 30 * WAD, token=each)
    lender = rewards.lend("lender", 1_000)
    evm.set_code(token, b"\xfe")
    evm.warp(DAY)
    other = rewards.lend("other", 1_000)
    assert not evm.last.events("HookFailed")
    assert rewards.stream.weight_of(bad, other) == rewards.stream.weight_of(good, other) > 0
    with reverts(""):
        rewards.claim(bad, lender)
    assert rewards.claim(good, lender) > WAD // 2


# --- weight without shares


def borrowed_weight(rewards: Rewards) -> int:
    """What an attacker earns in a month who was there for one block, before the hook was."""
    evm, market = rewards.evm, rewards.market
    rewards.attach(hook=ZERO_ADDRESS)
    programme = rewards.add(market.reverse)
    rewards.fund(programme, 30 * WAD)
    attacker = market.give(evm.account("attacker"), usdt=market.usd(10**6))
    with evm.same_block():
        market.reverse.deposit(market.usd(10**6), attacker, sender=attacker)
        rewards.stream.sync(market.reverse, [attacker], sender=attacker)
        rewards.leave(attacker)
    rewards.attach()
    rewards.lend("lender", 1_000)
    evm.warp(MONTH)
    return int(rewards.stream.earned(programme, attacker))


def test_borrowed_weight(evm: Evm) -> None:
    assert borrowed_weight(deploy(evm)) == 0


def test_borrowed_weight__weakened(evm: Evm) -> None:
    assert borrowed_weight(deploy(evm, "attached")) > 29 * WAD


def test_detached_for_a_while(evm: Evm) -> None:
    """Come, gone, passed on and come back unheard, twice: no more is earned than was streamed."""
    rewards = deploy(evm)
    market = rewards.market
    programme, other = rewards.add(market.reverse), rewards.add(market.reverse)
    accounts = [rewards.lend(name, 1_000) for name in ("ann", "ben", "cat")]
    ann, ben, cat = accounts
    for each in (programme, other):
        rewards.fund(each, 30 * WAD)
    for _ in range(2):
        evm.warp(DAY)
        rewards.attach(hook=ZERO_ADDRESS)
        market.reverse.transfer(ben, market.reverse.balanceOf(ann), sender=ann)
        evm.warp(DAY)
        rewards.attach()
        # ben passes on, heard, what came unheard; cat comes with more
        market.reverse.transfer(cat, market.reverse.balanceOf(ben) // 2, sender=ben)
        rewards.lend("cat", 50_000)
        evm.warp(DAY)
        market.reverse.transfer(ann, market.reverse.balanceOf(cat) // 2, sender=cat)
        rewards.stream.sync(market.reverse, accounts, sender=cat)
    evm.warp(2 * MONTH)
    state = rewards.stream.programme(programme)
    earned = [rewards.stream.earned(programme, account) for account in accounts]
    assert sum(earned) <= state.held - state.unstreamed
    assert sum(earned) > 29 * WAD
    for account in accounts:
        rewards.claim(programme, account)
    assert rewards.stream.programme(other).held == 30 * WAD
    assert rewards.token.balanceOf(rewards.stream) >= 30 * WAD


def test_source_that_lies(evm: Evm) -> None:
    """It can pay its programme to whom it likes, and touches no other of the same token."""
    rewards = deploy(evm)
    market, vault = rewards.market, evm.deploy("UsdtLike", 6)
    liar = evm.account("liar")
    honest, lying = rewards.add(market.reverse), rewards.add(vault)
    lender = rewards.lend("lender", 1_000)
    for programme in (honest, lying):
        rewards.fund(programme, 30 * WAD)
    for shares in (10**6, 2**80, 0, 2**200, MAX):
        evm.warp(5 * DAY)
        for side in (0, HOLDERS, BORROWERS, HOLDERS | BORROWERS):
            rewards.stream.on_change(liar, side, shares, sender=vault)
            rewards.stream.on_change(rewards.project, side, MAX - shares, sender=vault)
    evm.warp(2 * MONTH)
    assert rewards.claim(lying, liar) <= 30 * WAD
    assert rewards.claim(honest, lender) > 29 * WAD
