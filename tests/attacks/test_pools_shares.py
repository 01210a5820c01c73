"""Attacks on the shares of a pool, of its supply and of its debt, and on what is credited."""

from __future__ import annotations

import pytest
from eth_account import Account as EthAccount
from eth_utils import keccak

from perpool.evm import Account, Contract, Evm, reverts
from tests.attacks.pools import another_market, market_without
from tests.market import MAX, Market

# --- inflation of an empty vault


def inflate(market: Market) -> tuple[int, int]:
    """Attacker and victim into an empty pool; (gain of the attacker, loss of the victim).

    The attacker puts in one unit and gives 1,000 tokens on top; the victim's 1,990 buy him less
    than two of the attacker's shares, which a vault without virtual shares rounds down to one.
    """
    evm, forward = market.evm, market.forward
    gift, stake = market.tokens(1_000), market.tokens(1_990)
    attacker = market.give(evm.account("attacker"), tokens=gift + 1)
    victim = market.give(evm.account("victim"), tokens=stake)
    forward.deposit(1, attacker, sender=attacker)
    market.token.transfer(forward, gift, sender=attacker)
    forward.sync_funding()
    forward.deposit(stake, victim, sender=victim)
    for account in (attacker, victim):
        # the last one out finds what the pool believes it has
        shares = min(forward.balanceOf(account), forward.maxRedeem(account))
        if forward.previewRedeem(shares) > 0:
            forward.redeem(shares, account, account, sender=account)
    gain = market.token.balanceOf(attacker) - gift - 1
    return gain, stake - market.token.balanceOf(victim)


@pytest.mark.parametrize("decimals", [6, 18, 24])
def test_inflation(evm: Evm, decimals: int) -> None:
    """What is given is gone: the pool does not even look at it."""
    market = market_without(evm, token_decimals=decimals)
    gain, loss = inflate(market)
    assert gain <= -market.tokens(1_000)
    assert loss == 0


def test_inflation__donations_counted(evm: Evm) -> None:
    """Virtual shares alone hold too: of a gift the giver gets one part in a million back."""
    market = market_without(evm, "internal accounting")
    gain, loss = inflate(market)
    assert gain < -market.tokens(499)
    assert loss < market.tokens("0.01")


def test_inflation__weakened(evm: Evm) -> None:
    market = market_without(evm, "internal accounting", "virtual shares")
    gain, loss = inflate(market)
    assert gain == loss
    assert market.tokens(494) < gain < market.tokens(496)


# --- donation


def take_the_donation(market: Market) -> int:
    """A stranger puts in one unit of USDT and takes out whatever he is credited."""
    market.lend(tokens=market.tokens(10_000))
    victim = market.short("victim", margin=market.usd(1_000), tokens=market.tokens(100))
    # a donation, as somebody may send it by mistake
    market.give(victim, usdt=market.usd(500))
    market.usdt.transfer(market.forward, market.usd(500), sender=victim)
    attacker = market.give(market.evm.account("attacker"), usdt=1)
    market.forward.add_margin(1, attacker, sender=attacker)
    market.forward.remove_margin(MAX, attacker, attacker, sender=attacker)
    return int(market.usdt.balanceOf(attacker)) - 1


def test_donated_collateral(evm: Evm) -> None:
    """It is nobody's collateral, and backs nobody's debt."""
    market = market_without(evm)
    assert take_the_donation(market) == 0

    borrower = market.give(evm.account("borrower"), tokens=market.tokens(1_000))
    market.lend("usdt lender", usdt=market.usd(100_000))
    market.token.transfer(market.reverse, market.tokens(1_000), sender=borrower)
    with reverts("unhealthy position"):
        market.reverse.borrow(market.usd(10), borrower, borrower, sender=borrower)


def test_donated_collateral__weakened(evm: Evm) -> None:
    """The donation, and everybody's collateral besides."""
    market = market_without(evm, "balance difference")
    assert take_the_donation(market) > market.usd(2_490)


# --- transfer to oneself


def double_by_transfer(market: Market) -> int:
    """Gain of a lender of 100 tokens who sends all his shares to himself."""
    market.lend("victim", tokens=market.tokens(1_000))
    attacker = market.lend("attacker", tokens=market.tokens(100))
    shares = market.forward.balanceOf(attacker)
    market.forward.transfer(attacker, shares, sender=attacker)
    market.forward.redeem(market.forward.balanceOf(attacker), attacker, attacker, sender=attacker)
    return int(market.token.balanceOf(attacker)) - market.tokens(100)


def test_self_transfer(evm: Evm) -> None:
    assert double_by_transfer(market_without(evm)) == 0


def test_self_transfer__by_allowance(evm: Evm) -> None:
    market = market_without(evm)
    attacker = market.lend("attacker", tokens=market.tokens(100))
    shares = market.forward.balanceOf(attacker)
    market.forward.transferFrom(attacker, attacker, shares, sender=attacker)
    assert market.forward.balanceOf(attacker) == market.forward.totalSupply() == shares


def test_self_transfer__weakened(evm: Evm) -> None:
    market = market_without(evm, "care in transfers to oneself")
    assert double_by_transfer(market) == market.tokens(100)


# --- the price of a debt share


def raise_the_debt_share(market: Market) -> tuple[int, int]:
    """(what the attacker's debt falls by, what the victim owes too much) when the victim shorts.

    Interest is rounded up, by the second if anybody asks for it, so a debt of one unit doubles in a
    moment. One debt share is soon worth hundreds of units, and who borrows a unit more than one is
    worth is charged for two.
    """
    market.lend(tokens=market.tokens(1_000))
    forward = market.forward
    with market.evm.same_block():
        attacker = market.short("attacker", margin=market.usd(10), tokens=100)
        market.give(attacker, tokens=99)
        forward.repay(99, attacker, sender=attacker)
    for _ in range(300):
        forward.sync_funding()
    before = forward.debt_of(attacker)
    amount = before + 2
    with market.evm.same_block():
        victim = market.short("victim", margin=market.usd(100), tokens=amount)
        return before - forward.debt_of(attacker), forward.debt_of(victim) - amount


def test_debt_share_price(evm: Evm) -> None:
    """A debt is worth so many shares, and a share so little, that rounding is a unit at most."""
    market = market_without(evm, token_decimals=6, price=10_000)
    with reverts("below minimum debt"):
        raise_the_debt_share(market)
    market.set_price(10_000)
    forward = market.forward
    least = market.forward_leg.min_debt
    attacker = market.short("large attacker", margin=market.usd(10**5), tokens=least)
    for _ in range(300):
        forward.sync_funding()
    before = forward.debt_of(attacker)
    with evm.same_block():
        victim = market.short("large victim", margin=market.usd(10**5), tokens=before + 1)
        assert before - 1 <= forward.debt_of(attacker) <= before + 1
        assert before + 1 <= forward.debt_of(victim) <= before + 2


def test_debt_share_price__weakened(evm: Evm) -> None:
    market = market_without(
        evm, "virtual debt shares", "minimum debt", token_decimals=6, price=10_000
    )
    gain, loss = raise_the_debt_share(market)
    assert gain == pytest.approx(loss, abs=2)
    assert 95 < loss < 105


# --- permits


PERMIT = keccak(
    text="Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)


def permit_of(
    pool: Contract, holder: Account, spender: Account, shares: int
) -> tuple[int, int, int]:
    """(v, r, s) of a permit without an end, for the holder's next nonce in that pool."""
    words = [
        PERMIT,
        *(bytes.fromhex(each.address[2:]).rjust(32, b"\0") for each in (holder, spender)),
        *(number.to_bytes(32, "big") for number in (shares, pool.nonces(holder), MAX)),
    ]
    digest = keccak(b"\x19\x01" + pool.DOMAIN_SEPARATOR() + keccak(b"".join(words)))
    signed = EthAccount.unsafe_sign_hash(digest, holder.key.key)
    return signed.v, signed.r, signed.s


def use_permit(
    pool: Contract, holder: Account, spender: Account, shares: int, signed: tuple[int, int, int]
) -> None:
    v, r, s = signed
    words = (r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    pool.permit(holder, spender, shares, MAX, v, *words, sender=spender)


def take_twice(market: Market) -> int:
    """Shares that an attacker takes with the same permit a second time."""
    victim = market.lend("victim", tokens=market.tokens(1_000))
    attacker, forward = market.evm.account("attacker"), market.forward
    shares = forward.balanceOf(victim) // 4
    signed = permit_of(forward, victim, attacker, shares)
    use_permit(forward, victim, attacker, shares, signed)
    forward.transferFrom(victim, attacker, shares, sender=attacker)
    use_permit(forward, victim, attacker, shares, signed)
    forward.transferFrom(victim, attacker, shares, sender=attacker)
    return int(forward.balanceOf(attacker)) - shares


def test_replayed_permit(evm: Evm) -> None:
    with reverts("bad signature"):
        take_twice(market_without(evm))


def test_replayed_permit__weakened(evm: Evm) -> None:
    market = market_without(evm, "nonce")
    assert market.forward.convertToAssets(take_twice(market)) == market.tokens(250)


def take_elsewhere(market: Market) -> int:
    """Shares that an attacker takes in a second market of the token with the first one's permit."""
    second = another_market(market)
    assert second.forward.name() == market.forward.name()
    victim = second.lend("victim", tokens=market.tokens(1_000))
    attacker = market.evm.account("attacker")
    shares = second.forward.balanceOf(victim)
    signed = permit_of(market.forward, victim, attacker, shares)
    use_permit(second.forward, victim, attacker, shares, signed)
    second.forward.transferFrom(victim, attacker, shares, sender=attacker)
    return int(second.forward.balanceOf(attacker))


def test_permit_in_another_pool(evm: Evm) -> None:
    with reverts("bad signature"):
        take_elsewhere(market_without(evm))


def test_permit_in_another_pool__weakened(evm: Evm) -> None:
    market = market_without(evm, "verifying contract")
    assert market.forward.convertToAssets(take_elsewhere(market)) == market.tokens(1_000)
