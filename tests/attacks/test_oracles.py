"""Attacks on the oracles. Each succeeds against a copy without one defence, and fails against ours.

What an attacker has: every report that was ever published or leaked, the choice which of them to
send, when and where; the keys of one or two reporters, or of all; a pool to trade in. What he
wants: a funding rate or a price that is not the market's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import pytest

from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Contract, Evm, Reverted, reverts
from perpool.reports import Domain, Seat, pack_rates
from tests.oracles import ZERO_ADDRESS, Panel, token_list
from tests.uniswap import UniswapV3, V3Pool

FUNDING = "contracts/FundingOracle.vy"
FEED = "contracts/PriceFeed.vy"
PRICES = "contracts/PriceOracle.vy"
REPORTS = "contracts/modules/reports.vy"
MEDIANS = "contracts/modules/medians.vy"

UNIT = 10**9
WAD = 10**18
HONEST = 10**8
"""10 % a year."""
LIE = 4 * 10**9
"""400 % a year, within the bounds."""
BOUND = 5 * 10**9
PRICE = 10 * WAD

SEATS_CHECK = (
    "    assert self._hash_of_seats(taken) == panel & ~QUORUM_MASK, errors.UNKNOWN_SIGNER\n"
)
MEMBERS_ONLY = (
    "    for account: uint256 in taken:\n"
    "        assert convert(convert(account, uint160), address) in self._reporters, "
    "errors.UNKNOWN_SIGNER\n"
)
OWN_DOMAIN = "VERSION_HASH, chain.id, self))"

Patch = tuple[str, tuple[str, str]]
WITHOUT: dict[str, list[Patch]] = {
    # signers must be reporters, but nobody looks whether they are different ones
    "distinct signers": [(REPORTS, (SEATS_CHECK, MEMBERS_ONLY))],
    "any signer check": [(REPORTS, (SEATS_CHECK, ""))],
    "contract in the domain": [(REPORTS, (OWN_DOMAIN, "VERSION_HASH, chain.id, empty(address)))"))],
    "chain in the domain": [(REPORTS, (OWN_DOMAIN, "VERSION_HASH, empty(uint256), self))"))],
    "oldest age": [
        (
            REPORTS,
            ("    assert block.timestamp - observed_at <= _MAX_REPORT_AGE, errors.TOO_OLD\n", ""),
        )
    ],
    "quorum of three": [
        (REPORTS, ("LEAST_QUORUM: constant(uint256) = 3", "LEAST_QUORUM: constant(uint256) = 2"))
    ],
    "quorum of values": [
        (FUNDING, ("_median_word(words, count, quorum)", "_median_word(words, count, 1)"))
    ],
    "lanes kept apart": [(MEDIANS, (" & LANES", ""))],
    "bounds": [(FUNDING, ("max(min(median, feed >> UPPER_SHIFT), ", "max(median, "))],
    "average": [(FUNDING, ("self._weight(clock, observed_at)", "WAD"))],
    "spacing": [
        (
            FEED,
            (
                "        assert observed_at >= self._time_of(last) + spacing, errors.TOO_SOON\n",
                "",
            ),
        )
    ],
    "largest move": [(FEED, ("self._held(median, last & LARGEST_PRICE)", "median"))],
    "round check": [(PRICES, ("    assert of_its_round, errors.PRICE_CATCHING_UP\n", ""))],
    "tolerance": [
        (
            PRICES,
            ("        assert (high - low) * WAD <= low * _TOLERANCE, errors.PRICES_DISAGREE\n", ""),
        )
    ],
    "worse side": [(PRICES, ("low = min(low, average)", "low = average"))],
    "window": [
        (PRICES, ("convert(_TWAP_WINDOW, uint32)", "12")),
        (PRICES, ("convert(_TWAP_WINDOW, int256)", "12")),
    ],
    "pool": [(PRICES, ("if _POOL != empty(address)", "if False"))],
}


def weakened(contract: str, *missing: str) -> Artifact:
    """A contract without the named defences; ours, if none is named."""
    if not missing:
        return compile_contract(contract)
    edits: dict[str, list[tuple[str, str]]] = {}
    for defence in missing:
        for path, edit in WITHOUT[defence]:
            edits.setdefault(path, []).append(edit)
    return compile_patched(contract, edits)


@dataclass(frozen=True)
class Victim:
    """A funding oracle, whose reporters agree on 10 %, and an attacker who may hold keys."""

    evm: Evm
    oracle: Contract
    panel: Panel
    token: str

    @property
    def rate(self) -> int:
        """The EMA in units."""
        return int(self.oracle.funding(self.token)[0]) // UNIT

    def settle(self) -> None:
        """An honest round, an hour later."""
        self.evm.warp(3_600)
        self.submit([HONEST] * len(self.panel.accounts))

    def submit(self, rates: Sequence[int | None]) -> None:
        """A round of the first reporters; None: has no value for the token, but signs."""
        rows = [[rate] for rate in rates]
        self.oracle.submit(*self.panel.funding_round(self.evm.timestamp, [self.token], rows))

    def send(self, at: int, values: Sequence[int], seats: Sequence[Seat]) -> None:
        """Words and seats as they are."""
        data = b"".join(word.to_bytes(32, "big") for word in values)
        self.oracle.submit(at, [self.token], data, list(seats))


def victim(evm: Evm, *missing: str, count: int = 5, quorum: int = 3) -> Victim:
    """An oracle without the named defences, after an honest round."""
    oracle = evm.deploy(weakened("FundingOracle", *missing), 900)
    panel = Panel.seat(evm, oracle, Domain.of_funding_oracle, count=count, quorum=quorum)
    (token,) = token_list(evm, 1)
    oracle.set_feed(token, -BOUND * UNIT, BOUND * UNIT, 86_400)
    found = Victim(evm, oracle, panel, token)
    if "domain" not in "".join(missing):
        found.settle()
    return found


# -- one leaked key --


def repeat_a_signature(target: Victim) -> None:
    """One reporter's report stands in for a quorum: in his own seat and in two others."""
    at = target.evm.timestamp
    (word,) = pack_rates([LIE])
    signed = target.panel.sign(0, at, [target.token], [word])
    seat = (signed.r, signed.vs)
    absent = [(int(address, 16), 0) for address in target.panel.addresses[3:]]
    target.send(at, [word] * 3, [seat] * 3 + absent)


def test_repeated_signature(evm: Evm) -> None:
    target = victim(evm, "distinct signers")
    evm.warp(86_400)
    repeat_a_signature(target)
    assert target.rate > LIE // 2

    ours = victim(evm)
    evm.warp(86_400)
    with reverts("unknown or repeated signer"):
        repeat_a_signature(ours)
    assert ours.rate == HONEST


def test_signatures_of_nobody(evm: Evm) -> None:
    def forge(target: Victim) -> None:
        (word,) = pack_rates([LIE])
        target.send(evm.timestamp, [word] * 3, [(1, 1)] * 3 + [(0, 0)] * 2)

    target = victim(evm, "any signer check")
    evm.warp(86_400)
    forge(target)
    assert target.rate > LIE // 2

    ours = victim(evm)
    evm.warp(86_400)
    with reverts("unknown or repeated signer"):
        forge(ours)


@pytest.mark.parametrize("lie", [LIE, -LIE])
def test_one_leaked_key__in_a_quorum_of_two(evm: Evm, lie: int) -> None:
    # the median of two is their mean: one liar moves it anywhere
    target = victim(evm, "quorum of three", count=3, quorum=2)
    evm.warp(86_400)
    target.submit([HONEST, lie])
    assert abs(target.rate - HONEST) > LIE // 4

    ours = victim(evm, count=3, quorum=3)
    with reverts("quorum too small"):
        ours.oracle.set_reporters(ours.panel.addresses, 2)
    evm.warp(86_400)
    ours.submit([HONEST, HONEST, lie])
    assert ours.rate == HONEST


@pytest.mark.parametrize("lie", [LIE, -LIE])
def test_one_leaked_key__where_others_have_no_value(evm: Evm, lie: int) -> None:
    # all sign, but only the liar names a rate: of an exchange that the others cannot reach
    rates = [lie, None, None, None, None]
    target = victim(evm, "quorum of values")
    evm.warp(86_400)
    target.submit(rates)
    assert abs(target.rate) > LIE // 2

    ours = victim(evm)
    evm.warp(86_400)
    ours.submit(rates)
    assert ours.rate == HONEST


def test_one_leaked_key__that_spoils_the_sorting(evm: Evm) -> None:
    # lanes are compared in their highest bit; a reporter who sets it there is sorted wrongly, to
    # the middle if he has the right seat
    def attack(target: Victim) -> None:
        at = evm.timestamp
        words = [word for rate in (10, 11, 12, 13) for word in pack_rates([rate * 10**7])]
        words.insert(2, pack_rates([-LIE])[0] | 2**63)
        signed = [
            target.panel.sign(seat, at, [target.token], [word]) for seat, word in enumerate(words)
        ]
        target.send(at, words, [(each.r, each.vs) for each in signed])

    target = victim(evm, "lanes kept apart")
    evm.warp(86_400)
    attack(target)
    assert target.rate < -LIE // 2

    ours = victim(evm)
    evm.warp(86_400)
    attack(ours)
    assert HONEST <= ours.rate <= 13 * 10**7


# -- reports of another time or place --


def test_replay__on_another_oracle(evm: Evm) -> None:
    def attack(*missing: str) -> tuple[Victim, Victim]:
        # the same reporters serve a test network's oracle, where rates are made up
        playground, target = victim(evm, *missing), victim(evm, *missing)
        if missing:
            anywhere = replace(playground.panel.domain, contract=ZERO_ADDRESS)
            playground = replace(playground, panel=replace(playground.panel, domain=anywhere))
        evm.warp(86_400)
        data = playground.panel.funding_round(evm.timestamp, [target.token], [[LIE]] * 3)
        playground.oracle.submit(*data)
        target.oracle.submit(*data)
        return playground, target

    _, target = attack("contract in the domain")
    assert target.rate == LIE
    with reverts("unknown or repeated signer"):
        attack()


def test_replay__on_another_chain(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    def attack(*missing: str) -> Victim:
        target = victim(evm, *missing)
        if missing:
            anywhere = replace(target.panel.domain, chain_id=0)
            target = replace(target, panel=replace(target.panel, domain=anywhere))
        evm.warp(86_400)
        data = target.panel.funding_round(evm.timestamp, [target.token], [[LIE]] * 3)
        with monkeypatch.context() as other_side, evm.anchor():
            # there the chain goes on under another id, and the same contract with it
            other_side.setattr(evm._block, "chain_id", 4_242)
            target.oracle.submit(*data)
            assert target.rate != HONEST
        return target

    attack("chain in the domain")
    with reverts("unknown or repeated signer"):
        attack()


def test_withheld_round(evm: Evm) -> None:
    # a round that nobody sent, of an hour of wild funding, is brought out a week later
    def attack(target: Victim) -> None:
        evm.warp(3_600)
        data = target.panel.funding_round(evm.timestamp, [target.token], [[LIE]] * 3)
        evm.warp(7 * 86_400)
        target.oracle.submit(*data)

    target = victim(evm, "oldest age")
    attack(target)
    assert target.rate > HONEST + LIE // 30

    ours = victim(evm)
    with reverts("report too old"):
        attack(ours)
    assert ours.rate == HONEST


# -- all keys leaked --


def test_leaked_quorum__is_held_by_the_bounds(evm: Evm) -> None:
    target = victim(evm, "bounds")
    evm.warp(30 * 86_400)
    target.submit([100_000 * 10**9] * 5)
    assert target.rate > 19_000 * BOUND

    ours = victim(evm)
    evm.warp(30 * 86_400)
    ours.submit([100_000 * 10**9] * 5)
    assert ours.rate <= BOUND


def test_leaked_quorum__is_held_by_the_average(evm: Evm) -> None:
    # as many rounds as the block's clock allows, within a quarter of an hour
    def attack(target: Victim) -> None:
        for _ in range(15):
            evm.warp(60)
            target.submit([BOUND] * 5)

    target = victim(evm, "average")
    attack(target)
    assert target.rate == BOUND

    ours = victim(evm)
    attack(ours)
    # 1 - exp(-15 min / 24 h) of the way
    assert HONEST < ours.rate < HONEST + (BOUND - HONEST) * 105 // 10_000


# -- the price feed --


@dataclass(frozen=True)
class PricedMarket:
    """A signed feed at 10, and the price oracle that reads it."""

    evm: Evm
    feed: Contract
    oracle: Contract
    panel: Panel
    token: Contract

    @property
    def price(self) -> int:
        return int(self.feed.latestRoundData()[1])

    def round(self, price: int) -> tuple[int, list[int], list[Seat]]:
        """A round of all reporters, of this moment."""
        return self.panel.price_round(self.evm.timestamp, self.token.address, [price] * 5)


def priced_market(evm: Evm, feed_lacks: Sequence[str] = (), lacks: Sequence[str] = ()):
    """A market whose feed and oracle lack the named defences."""
    token = evm.deploy("TestToken", "Token", "TKN", 18)
    usdt = evm.deploy("UsdtLike", 6)
    feed = evm.deploy(weakened("PriceFeed", *feed_lacks), token, "TKN", 300, 60, WAD // 5)
    panel = Panel.seat(evm, feed, Domain.of_price_feed)
    oracle = evm.deploy(
        weakened("PriceOracle", *lacks),
        *(token, usdt, (feed.address, 3_600, 1, 2**120)),
        *((ZERO_ADDRESS, 0, 0, 0), (ZERO_ADDRESS, 0, 0)),
    )
    market = PricedMarket(evm, feed, oracle, panel, token)
    evm.warp(60)
    feed.submit(*market.round(PRICE))
    evm.warp(60)
    return market


def test_replayed_price_round(evm: Evm) -> None:
    # one signed round of a short wick, sent again and again, walks past the largest move
    def attack(market: PricedMarket) -> None:
        data = market.round(PRICE * 38 // 100)
        with evm.same_block():
            for _ in range(5):
                market.feed.submit(*data)

    target = priced_market(evm, ["spacing"])
    attack(target)
    assert target.price == PRICE * 38 // 100

    ours = priced_market(evm)
    with reverts("round too soon"):
        attack(ours)
    assert ours.price == PRICE * 80 // 100


@pytest.mark.parametrize("price", [1, 10**6 * WAD])
def test_leaked_quorum__of_a_price_feed(evm: Evm, price: int) -> None:
    target = priced_market(evm, ["largest move"])
    target.feed.submit(*target.round(price))
    assert target.price == price

    ours = priced_market(evm)
    ours.feed.submit(*ours.round(price))
    assert abs(ours.price - PRICE) == PRICE // 5
    # a borrower gains nothing by the fifth that it moved
    with reverts("price is catching up"):
        ours.oracle.price_bounds()


def test_borrowing_at_a_price_that_lags(evm: Evm) -> None:
    # the market has lost 62 %, the feed says so at 20 % a round
    def attack(market: PricedMarket) -> int:
        market.feed.submit(*market.round(PRICE * 38 // 100))
        low, _ = market.oracle.price_bounds()
        return int(low)

    # borrowed at 70 % of that, against tokens bought for 3.8
    assert attack(priced_market(evm, lacks=["round check"])) * 70 // 100 > 38 * 10**23
    with reverts("price is catching up"):
        attack(priced_market(evm))


# -- the pool --


@dataclass(frozen=True)
class PooledMarket:
    """A feed at 10, a pool at 10, and the oracle that compares them."""

    evm: Evm
    feed: Contract
    pool: V3Pool
    oracle: Contract

    def lower_bound(self) -> int:
        """What a reverse borrower is credited for a token, in USDT's units."""
        return int(self.oracle.price_bounds()[0]) // 10**18

    def pump(self, price: str, seconds: int) -> None:
        """Move the pool, hold it there, and keep the feed fresh at 10."""
        self.pool.swap_to(Decimal(price))
        self.evm.warp(seconds)
        self.feed.set(10 * 10**8)


def pooled_market(evm: Evm, *missing: str) -> PooledMarket:
    """A market whose oracle lacks the named defences."""
    token = evm.deploy("TestToken", "Token", "TKN", 18)
    usdt = evm.deploy("UsdtLike", 6)
    pool = UniswapV3(evm).create_pool(token, usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(10**6 * 10**6)
    pool.grow_observations(50)
    evm.warp(3_600)
    feed = evm.deploy("TestFeed", 8, 10 * 10**8)
    oracle = evm.deploy(
        weakened("PriceOracle", *missing),
        *(token, usdt, (feed.address, 3_600, 1, 2**64)),
        *((ZERO_ADDRESS, 0, 0, 0), (pool.address, 1_800, WAD // 20)),
    )
    return PooledMarket(evm, feed, pool, oracle)


HONEST_TEN = pytest.approx(10_000_000, rel=2e-4)


def test_spot_manipulation__for_a_block(evm: Evm) -> None:
    # pumped threefold in one block, borrowed against in the next
    target = pooled_market(evm, "window", "tolerance", "worse side")
    assert target.lower_bound() == HONEST_TEN
    target.pump("30", 12)
    assert target.lower_bound() == pytest.approx(30_000_000, rel=2e-4)

    ours = pooled_market(evm)
    ours.pump("30", 12)
    assert ours.lower_bound() == HONEST_TEN


def test_spot_manipulation__within_the_block(evm: Evm) -> None:
    # a flash loan's price has no duration, and an average over time gives it no weight
    ours = pooled_market(evm)
    before = ours.oracle.price_bounds()
    with evm.same_block():
        ours.pool.swap_to(Decimal(100))
        assert ours.oracle.price_bounds() == before
        ours.pool.swap_to(Decimal(10))


def test_spot_manipulation__held_for_the_window(evm: Evm) -> None:
    # an attacker with capital to hold the pool there: the feed does not follow
    target = pooled_market(evm, "tolerance", "worse side")
    target.pump("30", 1_800)
    assert target.lower_bound() == pytest.approx(30_000_000, rel=2e-4)

    ours = pooled_market(evm)
    ours.pump("30", 1_800)
    with reverts("prices disagree"):
        ours.lower_bound()
    assert ours.oracle.liquidation_price() == 10 * 10**24


@pytest.mark.parametrize("spot", ["9.7", "10.3"])
def test_spot_manipulation__within_the_tolerance(evm: Evm, spot: str) -> None:
    # what the tolerance leaves him works against him: both sides get the worse price
    ours = pooled_market(evm)
    ours.pump(spot, 1_800)
    low, high = ours.oracle.price_bounds()
    assert low <= 10 * 10**24 <= high


def test_feed_that_is_late_in_a_crash(evm: Evm) -> None:
    # the feed is fresh by its heartbeat but not yet there; tokens are bought at 6 in the pool
    attack = partial(PooledMarket.pump, price="6", seconds=1_800)
    target = pooled_market(evm, "pool")
    attack(target)
    assert target.lower_bound() * 70 // 100 > 6_000_000

    ours = pooled_market(evm)
    attack(ours)
    with pytest.raises(Reverted, match="prices disagree"):
        ours.lower_bound()
