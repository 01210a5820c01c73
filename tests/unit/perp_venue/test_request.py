"""`request` where it is confirmed at once."""

from __future__ import annotations

from perpool.evm import Account, Evm, reverts
from tests.market import wad
from tests.uniswap import UniswapV3
from tests.unit.perp_venue.conftest import (
    CONFIRMED,
    E36,
    MARGIN,
    SHORTED,
    accrued,
    changes,
    check_books,
    check_state_event,
    confirmed,
    divide_up,
    event,
    fee_of,
    insured,
    share_up,
)
from tests.venues import DAY, MAX_AGE, Parameters, Venue, deploy_venue

# --- reverts


def test_request__nothing(plain: Venue) -> None:
    with reverts("zero amount"):
        plain.request(plain.give("shorter"), 0)


def test_request__a_size_beyond_all(plain: Venue) -> None:
    trader = plain.give("trader")
    for size in (2**126 + 1, -(2**126) - 1):
        with reverts("amount too large"):
            plain.request(trader, size)


def test_request__too_late(plain: Venue) -> None:
    trader = plain.give("trader", plain.usd(100))
    with plain.evm.same_block(), reverts("deadline passed"):
        plain.request(trader, -plain.tokens(1), 1, expires_at=plain.evm.timestamp - 1)
    with plain.evm.same_block():
        plain.request(trader, -plain.tokens(1), plain.usd(10), expires_at=plain.evm.timestamp)


def test_request__while_one_is_pending(delayed: Venue) -> None:
    trader = delayed.trade("trader", -delayed.tokens(1), delayed.usd(10))
    with reverts("request pending"):
        delayed.request(trader, -delayed.tokens(1))


def test_request__more_than_the_account_has(plain: Venue) -> None:
    with reverts("insufficient balance"):
        plain.request(plain.give("shorter"), -plain.tokens(1), 1)


def test_request__a_margin_beyond_all(plain: Venue) -> None:
    trader = plain.give("trader", 2**113)
    with reverts("amount too large"):
        plain.request(trader, -plain.tokens(1), 2**112 + 1)


def test_request__without_a_price(plain: Venue) -> None:
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(500))
    plain.evm.warp(MAX_AGE + 1)
    for size, margin in ((-1, 0), (plain.tokens(1), 0), (0, -1)):
        with reverts("stale price"):
            plain.request(trader, size, margin)


def test_request__without_bounds_only_smaller(evm: Evm) -> None:
    """With USDT's own price too old the mark still stands: it is enough to get out."""
    venue = deploy_venue(evm, usdt_usd=True)
    venue.lend(venue.usd(1_000))
    trader = venue.trade("trader", -venue.tokens(10), venue.usd(50))
    assert venue.usdt_feed is not None
    evm.warp(12)
    venue.usdt_feed.set_at(10**8, evm.timestamp - DAY - 1)
    with reverts("stale price"):
        venue.request(trader, -venue.tokens(1), venue.give(trader, 10) and 10)
    venue.request(trader, 0, -1)
    venue.request(trader, venue.tokens(10))
    assert venue.position(trader)["size"] == 0


def test_request__margin_without_a_position(plain: Venue) -> None:
    trader = plain.give("trader", plain.usd(100))
    for margin in (plain.usd(100), -1):
        with reverts("no position"):
            plain.request(trader, 0, margin)


def test_request__through_zero(plain: Venue) -> None:
    shorter = plain.trade("shorter", -plain.tokens(10), plain.usd(100))
    longer = plain.trade("longer", plain.tokens(10), plain.usd(100))
    for account, sign in ((shorter, 1), (longer, -1)):
        with reverts("side would flip"):
            plain.request(account, sign * (plain.tokens(10) + 1))


def test_request__beyond_the_limit(plain: Venue) -> None:
    price = plain.price_e36(10)
    for name, side in (("shorter", -1), ("longer", 1)):
        trader = plain.give(name, plain.usd(100))
        size = side * plain.tokens(10)
        with reverts("beyond limit price"):
            plain.request(trader, size, plain.usd(50), limit_price_e36=price - side)
        plain.request(trader, size, plain.usd(50), limit_price_e36=price)
        with reverts("beyond limit price"):
            plain.request(trader, -size, limit_price_e36=price + side)
        plain.request(trader, -size, limit_price_e36=price)


def test_request__of_no_value(plain: Venue) -> None:
    trader = plain.give("trader", plain.usd(10))
    with reverts("zero amount"):
        plain.request(trader, -1, plain.usd(1))


def test_request__adding_up_to_a_size_beyond_all(evm: Evm) -> None:
    venue = deploy_venue(evm, Parameters(exposure_cap=10**12), token_decimals=24)
    venue.lend(venue.usd(10**11))
    venue.set_price("0.0001")
    trader = venue.trade("trader", -(2**126), venue.usd(10**10))
    with reverts("amount too large"):
        venue.request(trader, -venue.tokens(1))
    venue.request(trader, 2**126)


def test_request__margin_does_not_cover_the_fee(plain: Venue) -> None:
    trader = plain.give("trader", plain.usd(10))
    notional = plain.usd(1_000)
    with reverts("insufficient margin"):
        plain.request(trader, -plain.tokens(100), fee_of(plain, notional) - 1)


def test_request__beyond_the_exposure_cap(evm: Evm) -> None:
    venue = deploy_venue(evm, Parameters(exposure_cap=1_000))
    venue.lend(venue.usd(100_000))
    shorter = venue.trade("shorter", -venue.tokens(100), venue.usd(1_000))
    venue.give(shorter, venue.usd(1))
    with reverts("exposure cap"):
        venue.request(shorter, -venue.tokens("0.001"))
    # what the other side takes is not the liquidity pool's
    longer = venue.trade("longer", venue.tokens(200), venue.usd(2_000))
    with reverts("exposure cap"):
        venue.request(longer, venue.tokens("0.001"))
    # above the cap by the price alone, it may still shrink
    venue.set_price(11)
    with reverts("exposure cap"):
        venue.request(longer, venue.tokens("0.001"))
    venue.request(longer, -venue.tokens(1))
    venue.request(shorter, -venue.tokens("0.001"))


def test_request__more_than_is_free(evm: Evm) -> None:
    venue = deploy_venue(evm)
    venue.lend(venue.usd(1_000))
    shorter = venue.give("shorter", venue.usd(10_000))
    with reverts("insufficient liquidity"):
        venue.request(shorter, -venue.tokens("100.001"), venue.usd(1_000))
    venue.request(shorter, -venue.tokens(100), venue.usd(1_000))
    assert venue.free() == fee_of(venue, venue.usd(1_000)) * 8 // 10
    # matched or not, each side's gain is locked
    longer = venue.give("longer", venue.usd(10_000))
    with reverts("insufficient liquidity"):
        venue.request(longer, venue.tokens(1), venue.usd(1_000))


def test_request__more_than_leaves_the_horizon_intact(evm: Evm) -> None:
    venue = deploy_venue(evm)
    venue.lend(venue.usd(1_000))
    venue.fund(3_650)  # 10 % a day
    shorter = venue.give("shorter", venue.usd(10_000))
    with reverts("insufficient liquidity"):
        venue.request(shorter, -venue.tokens(91), venue.usd(1_000))
    venue.request(shorter, -venue.tokens("90.9"), venue.usd(1_000))
    free, horizon = venue.contract.free_liquidity()
    assert horizon == venue.usd("90.9")
    assert horizon <= free < horizon + venue.usd(1)


def test_request__initial_margin(plain: Venue) -> None:
    """Margin less the fee has to be 10 % of the notional, to the unit."""
    notional = plain.usd(1_000)
    least = share_up(notional, plain.parameters.initial_margin) + fee_of(plain, notional)
    trader = plain.give("trader", plain.usd(1_000))
    for side in (-1, 1):
        size = side * plain.tokens(100)
        with reverts("insufficient margin"):
            plain.request(trader, size, least - 1)
        plain.request(trader, size, least)
        plain.request(trader, -size)


def test_request__taking_out_more_than_the_initial_margin_leaves(plain: Venue) -> None:
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(500))
    spare = plain.contract.equity(trader) - plain.usd(100)
    with reverts("insufficient margin"):
        plain.request(trader, 0, -spare - 1)
    plain.request(trader, 0, -spare)
    assert plain.contract.equity(trader) == plain.usd(100)


def test_request__taking_out_more_than_there_is(plain: Venue) -> None:
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(500))
    plain.set_price(9)
    with reverts("insufficient margin"):
        plain.request(trader, 0, -plain.contract.equity(trader) - 1)


def test_request__reducing_with_nothing_left(plain: Venue) -> None:
    """Between zero and the fee only a liquidation closes it."""
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(200) + plain.usd("0.5"))
    plain.set_price(12)
    assert plain.contract.equity(trader) == 0
    with reverts("insufficient margin"):
        plain.request(trader, plain.tokens(100))


# --- increasing


def test_request__opens_a_short(venue: Venue, stranger: Account) -> None:
    before, held = venue.state(), venue.usdt.balanceOf(stranger)
    size, margin, notional = venue.tokens(SHORTED), venue.usd(MARGIN), venue.usd(10_000)
    fee, price = fee_of(venue, notional), venue.price_e36(10)

    assert venue.request(stranger, -size, margin, expires_at=2**40) == 1
    assert event(venue, "Requested").as_dict() == {
        "account": stranger.address,
        "id": 1,
        "size_delta": -size,
        "margin_delta": margin,
        "limit_price_e36": 0,
        "expires_at": 2**40,
    }
    confirmed(venue, stranger, size_delta=-size, price_e36=price, margin_paid=margin, fee=fee)
    check_state_event(venue)
    assert venue.contract.status(1) == CONFIRMED
    assert venue.position(stranger) == {
        "size": -size,
        "entry_notional": notional,
        "margin": margin - fee,
        "funding": 0,
        "pending": 0,
        "escrow": 0,
        "credit": 0,
    }
    assert changes(before, venue.state()) == {
        "liquidity": fee - insured(venue, fee),
        "insurance": insured(venue, fee),
        "margins": margin - fee,
        "short_size": size,
        "short_entries": notional,
    }
    assert venue.usdt.balanceOf(stranger) == held - margin
    check_books(venue, stranger)


def test_request__opens_a_long(venue: Venue, stranger: Account) -> None:
    before = venue.state()
    size, margin, notional = venue.tokens(SHORTED), venue.usd(MARGIN), venue.usd(10_000)
    fee, price = fee_of(venue, notional), venue.price_e36(10)

    venue.request(stranger, size, margin)
    confirmed(venue, stranger, size_delta=size, price_e36=price, margin_paid=margin, fee=fee)
    assert changes(before, venue.state()) == {
        "liquidity": fee - insured(venue, fee),
        "insurance": insured(venue, fee),
        "margins": margin - fee,
        "long_size": size,
        "long_entries": notional,
        "long_gains": notional,
    }
    assert venue.contract.largest_gain(stranger) == notional
    check_books(venue, stranger)


def test_request__adds_to_a_short(venue: Venue, shorter: Account) -> None:
    venue.set_price("10.5")
    before = venue.position(shorter)
    venue.request(shorter, -venue.tokens(100))
    fee = fee_of(venue, venue.usd(1_050))
    after = venue.position(shorter)
    assert after["size"] == -venue.tokens(1_100)
    assert after["entry_notional"] == before["entry_notional"] + venue.usd(1_050)
    assert after["margin"] == before["margin"] - fee
    check_books(venue, shorter)


def test_request__fills_at_the_worse_of_bound_and_mark(evm: Evm) -> None:
    """The average of a pool that has not followed yet is what a short has to sell at."""
    token, usdt = evm.deploy("TestToken", "Token", "TKN", 18), evm.deploy("UsdtLike", 6)
    pool = UniswapV3(evm).create_pool(token, usdt, fee=3_000, price=10)
    pool.add_liquidity(10**12)
    pool.grow_observations(50)
    evm.warp(1_800)
    feed, funding = evm.deploy("TestFeed", 8, 10 * 10**8), evm.deploy("TestFundingOracle")
    oracle = evm.deploy(
        "PriceOracle",
        *(token, usdt, (feed.address, DAY, 1, 10**14)),
        *(("0x" + 40 * "0", 0, 0, 0), (pool.address, 1_800, wad(5))),
    )
    terms = Parameters()
    contract = evm.deploy("PerpVenue", token, usdt, oracle, funding, terms.as_tuple(6))
    venue = Venue(evm, token, usdt, feed, None, oracle, funding, contract, terms, 18, 6)
    venue.lend(venue.usd(100_000))
    for answer in ("9.8", "10.3"):
        mark = venue.set_price(answer)
        low, high = oracle.price_bounds()
        assert low < high
        shorter = venue.trade("shorter", -venue.tokens(100), venue.usd(500))
        assert event(venue, "Confirmed").price_e36 == min(low, mark)
        longer = venue.trade("longer", venue.tokens(100), venue.usd(500))
        assert event(venue, "Confirmed").price_e36 == max(high, mark)
        for account in (shorter, longer):
            # an opening that is worse than mark is a loss at once
            fee = fee_of(venue, venue.position(account)["entry_notional"])
            lost = abs(venue.position(account)["entry_notional"] - mark * 10**20 // E36)
            equity = venue.contract.equity(account)
            assert abs(equity - (venue.usd(500) - fee - lost)) <= 1
            venue.request(account, -venue.position(account)["size"])
            assert event(venue, "Confirmed").price_e36 == mark
    # apart by more than the tolerance nothing is opened
    venue.set_price(11)
    with reverts("prices disagree"):
        venue.trade("shorter", -venue.tokens(1), venue.usd(10))


def test_request__fee_out_of_the_profit(plain: Venue) -> None:
    """Where margin does not cover the fee, the entry moves by it and equity falls by all of it."""
    shorter = plain.trade("shorter", -plain.tokens(100), plain.usd(500))
    longer = plain.trade("longer", plain.tokens(100), plain.usd(500))
    for account, price, size in ((shorter, 5, -1), (longer, 19, 1)):
        plain.set_price(price)
        plain.request(account, 0, -plain.contract.position(account).margin)
        assert plain.position(account)["margin"] == 0
        before, equity = plain.position(account), plain.contract.equity(account)
        gain = plain.contract.largest_gain(account)
        notional = plain.usd(price)
        plain.request(account, size * plain.tokens(1))
        fee = event(plain, "Confirmed").fee
        moved = plain.position(account)["entry_notional"] - before["entry_notional"]
        assert moved == notional + size * fee
        assert plain.contract.equity(account) == equity - fee
        assert plain.contract.largest_gain(account) == gain + notional - fee
    check_books(plain, shorter, longer)


# --- decreasing


def test_request__closes_a_part(venue: Venue, shorter: Account) -> None:
    price = venue.set_price(8)
    before, position = venue.state(), venue.position(shorter)
    part, notional = venue.tokens(250), venue.usd(2_000)
    fee, profit = fee_of(venue, notional), venue.usd(500)

    venue.request(shorter, part)
    confirmed(venue, shorter, size_delta=part, price_e36=price, realised=profit, fee=fee)
    assert changes(before, venue.state()) == {
        "liquidity": fee - insured(venue, fee) - profit,
        "insurance": insured(venue, fee),
        "margins": profit - fee,
        "short_size": -part,
        "short_entries": -venue.usd(2_500),
    }
    after = venue.position(shorter)
    assert after["size"] == -venue.tokens(750)
    assert after["entry_notional"] == venue.usd(7_500)
    assert after["margin"] == position["margin"] + profit - fee
    check_books(venue, shorter)


def test_request__closes_whole(venue: Venue, shorter: Account) -> None:
    """All that is left is credit, whatever margin was asked for."""
    price = venue.set_price(12)
    margin = venue.position(shorter)["margin"]
    fee, extra = fee_of(venue, venue.usd(12_000)), venue.usd(50)
    venue.give(shorter, extra)
    venue.request(shorter, venue.tokens(SHORTED), extra)
    left = margin + extra - venue.usd(2_000) - fee
    confirmed(
        venue,
        shorter,
        size_delta=venue.tokens(SHORTED),
        price_e36=price,
        margin_paid=extra - left,
        realised=-venue.usd(2_000),
        fee=fee,
    )
    assert venue.position(shorter) == {
        "size": 0,
        "entry_notional": 0,
        "margin": 0,
        "funding": 0,
        "pending": 0,
        "escrow": 0,
        "credit": left,
    }
    state = venue.state()
    assert [state[name] for name in ("short_size", "short_entries", "margins")] == [0, 0, 0]
    check_books(venue, shorter)


def test_request__closes_whole_and_takes_out(venue: Venue, shorter: Account) -> None:
    before = venue.contract.equity(shorter)
    venue.request(shorter, venue.tokens(SHORTED), -1)
    assert venue.position(shorter)["credit"] == before - event(venue, "Confirmed").fee


def test_request__long_profit_ends_at_the_largest(venue: Venue) -> None:
    longer = venue.trade("longer", venue.tokens(100), venue.usd(500))
    venue.set_price(35)
    assert venue.contract.pnl(longer) == venue.usd(1_000)
    venue.request(longer, -venue.tokens(50))
    assert event(venue, "Confirmed").realised == venue.usd(500)
    assert venue.contract.largest_gain(longer) == venue.usd(500)
    venue.request(longer, -venue.tokens(50))
    assert event(venue, "Confirmed").realised == venue.usd(500)
    assert venue.state()["long_gains"] == 0


def test_request__reducing_below_the_initial_margin(plain: Venue) -> None:
    """A holder can make a thin position smaller, down to an equity of zero."""
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(110))
    plain.set_price("10.6")
    equity = plain.contract.equity(trader)
    assert equity * 20 < plain.usd(1_060)
    plain.request(trader, plain.tokens(10))
    assert plain.contract.equity(trader) == equity - event(plain, "Confirmed").fee


def test_request__adding_to_a_long_at_its_largest_gain(venue: Venue) -> None:
    """The gain that comes with what is added does not pay for what had been beyond the largest."""
    longer = venue.trade("longer", venue.tokens(100), venue.usd(500))
    venue.set_price(35)
    before, equity = venue.position(longer), venue.contract.equity(longer)
    venue.request(longer, venue.tokens(50))
    fee, added = event(venue, "Confirmed").fee, venue.usd(1_750)
    assert venue.contract.equity(longer) == equity - fee
    assert venue.contract.largest_gain(longer) == venue.usd(1_000) + added
    entry = venue.position(longer)["entry_notional"]
    assert entry == before["entry_notional"] + venue.usd(1_500) + added
    assert venue.state()["long_entries"] == entry
    check_books(venue, longer)


# --- margin


def test_request__adds_margin(venue: Venue, shorter: Account) -> None:
    venue.give(shorter, venue.usd(100))
    before, margin = venue.state(), venue.position(shorter)["margin"]
    venue.request(shorter, 0, venue.usd(100))
    confirmed(venue, shorter, margin_paid=venue.usd(100))
    assert venue.position(shorter)["margin"] == margin + venue.usd(100)
    assert changes(before, venue.state()) == {"margins": venue.usd(100)}
    check_books(venue, shorter)


def test_request__adds_margin_without_a_price(venue: Venue, shorter: Account) -> None:
    """Funding accrues at the last mark meanwhile."""
    venue.fund(50)
    start = venue.evm.timestamp
    venue.evm.warp(MAX_AGE + 1_000)
    venue.give(shorter, venue.usd(100))
    venue.request(shorter, 0, venue.usd(100))
    paid = event(venue, "Confirmed").funding
    assert paid == accrued(venue, venue.tokens(SHORTED), 50, DAY, venue.price_e36(10))
    assert venue.evm.timestamp - start > DAY


def test_request__takes_margin_out(venue: Venue, shorter: Account) -> None:
    before, margin = venue.state(), venue.position(shorter)["margin"]
    venue.request(shorter, 0, -venue.usd(300))
    confirmed(venue, shorter, margin_paid=-venue.usd(300))
    after = venue.position(shorter)
    assert (after["margin"], after["credit"]) == (margin - venue.usd(300), venue.usd(300))
    assert changes(before, venue.state()) == {
        "margins": -venue.usd(300),
        "credits": venue.usd(300),
    }
    check_books(venue, shorter)


def test_request__takes_profit_out_of_a_short(venue: Venue, shorter: Account) -> None:
    """The size stays; what the liquidity pool pays it no longer locks."""
    venue.set_price(6)
    before, position, free = venue.state(), venue.position(shorter), venue.free()
    equity = venue.contract.equity(shorter)
    out = venue.usd(5_000)
    venue.request(shorter, 0, -out)
    profit = out - position["margin"]
    after = venue.position(shorter)
    assert after["size"] == position["size"]
    assert after["entry_notional"] == position["entry_notional"] - profit
    assert (after["margin"], after["credit"]) == (0, out)
    assert changes(before, venue.state()) == {
        "liquidity": -profit,
        "margins": -position["margin"],
        "credits": out,
        "short_entries": -profit,
    }
    assert venue.contract.equity(shorter) == equity - out
    assert venue.free() == free
    check_books(venue, shorter)


def test_request__takes_profit_out_of_a_long(venue: Venue) -> None:
    longer = venue.trade("longer", venue.tokens(1_000), venue.usd(2_000))
    venue.set_price(15)
    before, position, free = venue.state(), venue.position(longer), venue.free()
    out = venue.usd(4_000)
    venue.request(longer, 0, -out)
    profit = out - position["margin"]
    after = venue.position(longer)
    assert after["entry_notional"] == position["entry_notional"] + profit
    assert changes(before, venue.state()) == {
        "liquidity": -profit,
        "margins": -position["margin"],
        "credits": out,
        "long_entries": profit,
        "long_gains": -profit,
    }
    assert venue.free() == free
    # and no more than the rest of the largest gain is ever paid on top
    venue.set_price(100)
    assert venue.contract.pnl(longer) == venue.usd(10_000) - profit
    check_books(venue, longer)


def test_request__usdt_that_takes_a_fee(evm: Evm) -> None:
    """What arrives is what counts."""
    usdt = evm.deploy("FeeToken", 6, 0)
    venue = deploy_venue(evm, usdt=usdt)
    venue.lend(venue.usd(10_000))
    usdt.set_fee(100)
    trader = venue.trade("trader", -venue.tokens(10), venue.usd(50))
    arrived = venue.usd("49.5")
    assert event(venue, "Requested").margin_delta == arrived
    assert event(venue, "Confirmed").margin_paid == arrived
    check_books(venue, trader)


def test_request__rounds_against_the_account(evm: Evm) -> None:
    """Opening and closing an odd size at an odd price costs a unit beside the fees."""
    venue = deploy_venue(evm, Parameters(fee=0))
    venue.lend(venue.usd(10_000))
    venue.set_price("9.87654321")
    size = 123_456_789_012_345_678_901 // 7
    value = size * venue.price_e36("9.87654321")
    for side in (-1, 1):
        trader = venue.trade(f"trader {side}", side * size, venue.usd(500))
        entry = venue.position(trader)["entry_notional"]
        assert entry == (value // E36 if side < 0 else divide_up(value, E36))
        venue.request(trader, -side * size)
        assert event(venue, "Confirmed").realised == -1
