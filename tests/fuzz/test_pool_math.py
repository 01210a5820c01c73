"""Interest, shares and liquidation over all their parameters: the chain is the model to the unit.

Amounts reach from nothing to the largest that a word holds, and legs over all that the factory
lets pass, so that saturation and every branch of a formula come up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perpool.build import compile_contract
from perpool.evm import Contract, Evm, Reverted
from perpool.reference import interest, liquidation
from perpool.reference.arithmetic import PoolError
from perpool.reference.interest import YEAR, LegParameters
from perpool.reference.ledger import CAPPED, Ledger, State, virtual_shares
from perpool.reference.wad import WAD
from tests.market import ZERO_ADDRESS, wad

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MAX_UINT128 = 2**128 - 1
LARGEST_RATE = 100 * WAD
DECIMALS = (6, 8, 18, 24)
DAY = 86_400

amounts = st.one_of(
    st.integers(0, 2**16),
    st.integers(0, 2**64),
    st.integers(0, 2**112),
    st.integers(0, MAX_UINT128),
    st.integers(MAX_UINT128 - 2**20, MAX_UINT128),
)
fractions = st.one_of(st.integers(0, WAD), st.sampled_from([0, 1, WAD // 2, WAD - 1, WAD]))


@st.composite
def legs(draw: st.DrawFn) -> LegParameters:
    """Whatever the factory lets pass."""
    cap = draw(st.one_of(st.just(LARGEST_RATE), st.integers(0, LARGEST_RATE)))
    base = draw(st.integers(0, cap))
    slope1 = draw(st.integers(0, cap - base))
    slope2 = draw(st.integers(0, cap - base - slope1))
    liquidation_ltv = draw(st.integers(3, wad(97)))
    max_ltv = draw(st.integers(1, liquidation_ltv - 1))
    # liquidation_ltv * (1 + b_cap) < 1
    largest = min((WAD - 1) * WAD // liquidation_ltv - WAD - 1, WAD - 1)
    bonus_cap = draw(st.integers(wad(2), max(largest, wad(2))))
    return LegParameters(
        base_rate=base,
        slope1=slope1,
        slope2=slope2,
        kink=draw(st.integers(1, WAD - 1)),
        rate_cap=cap,
        pass_through=draw(st.integers(0, WAD // 2)),
        funding_max_age=draw(st.integers(3_600, 7 * DAY)),
        max_ltv=max_ltv,
        stressed_ltv=draw(st.integers(1, max_ltv)),
        liquidation_ltv=liquidation_ltv,
        bonus_base=draw(st.integers(wad(2), bonus_cap)),
        bonus_slope=draw(st.integers(0, 10 * WAD)),
        bonus_cap=bonus_cap,
        max_slippage=draw(st.integers(1, WAD // 10)),
        min_debt=draw(st.integers(1000, 2**64)),
        reserve_floor=draw(fractions),
    )


@st.composite
def states(draw: st.DrawFn, now: int = 1_735_689_600) -> State:
    """Totals with debt and charged assets up to all; any age, fresh funding and stale."""
    assets = draw(amounts)
    debt = draw(st.one_of(st.just(assets), st.integers(0, assets)))
    charged = draw(st.one_of(st.just(assets), st.just(0), st.integers(0, assets)))
    shares = draw(amounts)
    age = draw(st.one_of(st.integers(0, 3 * DAY), st.integers(0, 10 * YEAR), st.integers(0, now)))
    funding_age = draw(st.one_of(st.integers(0, 9 * DAY), st.integers(0, now)))
    units = draw(st.one_of(st.integers(-(10**10), 10**10), st.integers(1 - 2**47, 2**47 - 1)))
    return State(
        cash=assets - debt,
        debt_assets=debt,
        debt_shares=draw(st.integers(1, MAX_UINT128)) if debt else 0,
        charged_assets=charged,
        supply_shares=shares,
        reserve_shares=draw(st.integers(0, shares)),
        updated_at=now - age,
        funding_time=now - funding_age,
        funding_wad=units * 10**9,
        flags=draw(st.sampled_from([0, 1, 2, CAPPED])) | draw(st.integers(0, 255)) << 8,
    )


class Maths:
    """PoolMath deployed as a pool of one decimals and one leg at a time."""

    def __init__(self, evm: Evm, decimals: int) -> None:
        self.evm = evm
        self.decimals = decimals
        self.asset = evm.deploy("UsdtLike", decimals)
        self.other = evm.deploy("UsdtLike", 18)
        self.maker = evm.deploy("BlueprintUser")
        self.artifact = compile_contract("PoolMath")
        self.blueprint = evm.deploy_blueprint(self.artifact)

    def deploy(self, leg: LegParameters, direction: int = 1) -> Contract:
        """A ledger of this leg; within an anchor, or the address is taken."""
        funded = self.other if direction == 1 else self.asset
        virtual = virtual_shares(self.decimals)
        share_decimals = self.decimals + len(str(virtual)) - 1
        contracts = (self.asset, self.other, funded, *[ZERO_ADDRESS] * 4)
        config = (*contracts, share_decimals, virtual, astuple(leg))
        address = self.maker.create(self.blueprint, config, bytes(32))
        return self.evm.at(self.artifact, address)

    def ledger(self, leg: LegParameters, direction: int = 1) -> Ledger:
        return Ledger(leg, direction, virtual_shares(self.decimals))


LEG = LegParameters(
    base_rate=wad(2),
    slope1=wad(8),
    slope2=wad(90),
    kink=wad(85),
    rate_cap=wad(300),
    pass_through=wad(20),
    funding_max_age=DAY,
    max_ltv=wad(70),
    stressed_ltv=wad(60),
    liquidation_ltv=wad(80),
    bonus_base=wad(5),
    bonus_slope=wad(50),
    bonus_cap=wad(10),
    max_slippage=wad(3),
    min_debt=10_000_000,
    reserve_floor=wad(2),
)


@pytest.fixture(scope="module", params=DECIMALS, ids=lambda decimals: f"{decimals}-decimals")
def maths(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Maths]:
    with chain.anchor():
        yield Maths(chain, request.param)


@pytest.fixture(scope="module")
def formulas(chain: Evm) -> Iterator[Contract]:
    """For the pure functions, which take their leg."""
    with chain.anchor():
        yield Maths(chain, 6).deploy(LEG)


def stored(state: State) -> tuple[int, ...]:
    return (*astuple(state), state.supply_assets, 0, 0)


def price_of(ledger: Ledger, state: State) -> Fraction:
    """Assets a share, exactly."""
    return Fraction(state.supply_assets + 1, state.supply_shares + ledger.virtual)


# --- interest


@SETTINGS
@given(leg=legs(), debt=amounts, room=amounts)
def test_base_rate(formulas: Contract, leg: LegParameters, debt: int, room: int) -> None:
    assets = min(debt + room, MAX_UINT128)
    used = interest.utilisation(debt, assets)

    rate = interest.base_rate(leg, used)

    assert formulas.base_rate(astuple(leg), debt, assets) == rate
    assert leg.base_rate <= rate <= leg.rate_cap


@SETTINGS
@given(leg=legs(), funding=st.integers(-(2**77), 2**77))
def test_premium(formulas: Contract, leg: LegParameters, funding: int) -> None:
    premium = interest.premium(leg, funding)

    assert formulas.premium(leg.pass_through, funding) == premium
    assert 2 * premium <= max(funding, 0)


@SETTINGS
@given(debt=amounts, rate=st.integers(0, LARGEST_RATE), elapsed=st.integers(0, 2**32 - 1))
@example(debt=MAX_UINT128, rate=LARGEST_RATE, elapsed=2**32 - 1)
@example(debt=1, rate=1, elapsed=1)
def test_interest(formulas: Contract, debt: int, rate: int, elapsed: int) -> None:
    assert formulas.interest(debt, rate, elapsed) == interest.interest(debt, rate, elapsed)


@SETTINGS
@given(debt=amounts, rate=st.integers(0, LARGEST_RATE), elapsed=st.integers(0, 2**32 - 1))
def test_interest__is_the_series_rounded_up(debt: int, rate: int, elapsed: int) -> None:
    x = Fraction(rate * elapsed, YEAR * WAD)
    exact = debt * (x + x**2 / 2 + x**3 / 6)

    charged = interest.interest(debt, rate, elapsed)

    # the exponent is rounded up and two terms of three are cut, each by less than 1e-18
    assert exact - Fraction(2 * debt, WAD) <= charged
    assert charged <= exact + debt * (1 + x + x**2 / 2) * Fraction(2, WAD) + 1


@settings(SETTINGS, max_examples=60)
@given(leg=legs(), direction=st.sampled_from([1, -1]), rows=st.lists(states(), min_size=5))
def test_accrual(maths: Maths, leg: LegParameters, direction: int, rows: list[State]) -> None:
    """Equal to the unit in everything, and never reverting."""
    ledger = maths.ledger(leg, direction)
    with maths.evm.anchor(), maths.evm.same_block():
        pool = maths.deploy(leg, direction)
        now = maths.evm.timestamp
        for row in rows:
            shift = now - 1_735_689_600
            state = replace(
                row,
                updated_at=row.updated_at + shift,
                funding_time=row.funding_time + shift,
            )
            pool.put(stored(state))
            accrual = ledger.accrue(state, now)

            assert tuple(pool.state()) == stored(state)
            after = accrual.state
            assert tuple(pool.accrued_state()) == (
                *astuple(after),
                after.supply_assets,
                *accrual[1:],
            )
            assert after == replace(state, debt_assets=after.debt_assets, updated_at=now)
            assert after.debt_assets == state.debt_assets + accrual.interest
            assert after.all_assets <= MAX_UINT128
            # the lenders' part is interest less the fee, to the unit by which the fee is rounded
            fee = Fraction(accrual.interest * state.fee_permille, 1000)
            assert -1 < after.uncharged_fee - state.uncharged_fee - fee < 1
            assert price_of(ledger, after) >= price_of(ledger, state)


@pytest.mark.parametrize("fee_permille", [0, 250])
def test_accrual__saturates(maths: Maths, fee_permille: int) -> None:
    leg = replace(LEG, base_rate=LARGEST_RATE, rate_cap=LARGEST_RATE, slope1=0, slope2=0)
    with maths.evm.anchor(), maths.evm.same_block():
        pool = maths.deploy(leg)
        now = maths.evm.timestamp
        state = State(
            cash=2**126,
            debt_assets=2**126,
            debt_shares=2**127,
            charged_assets=2**127,
            supply_shares=MAX_UINT128 - 5,
            updated_at=now - YEAR,
            flags=fee_permille << 8,
        )
        pool.put(stored(state))

        accrued = pool.accrued_state()
        pool.put(tuple(accrued))
        pool.charge()

        charged = pool.state()

    fee = 2**127 * fee_permille // 1000 - bool(fee_permille)
    assert accrued.cash == 2**126
    assert accrued.debt_assets == MAX_UINT128 - 2**126
    assert accrued.supply_assets == MAX_UINT128 - fee
    assert tuple(accrued)[:10] == astuple(maths.ledger(leg).accrue(state, now).state)
    # the reserve gets what shares there can be, and its fee goes to all who have some
    assert charged.reserve_shares == (5 if fee_permille else 0)
    assert charged.supply_shares == MAX_UINT128 - (0 if fee_permille else 5)
    assert charged.charged_assets == charged.supply_assets == MAX_UINT128


# --- shares


@settings(SETTINGS, max_examples=60)
@given(rows=st.lists(st.tuples(states(), amounts), min_size=4))
def test_shares_of_the_supply(maths: Maths, rows: list[tuple[State, int]]) -> None:
    """Each conversion is the exact quotient, rounded to its own side; there and back gains none."""
    ledger = maths.ledger(LEG)
    with maths.evm.anchor():
        pool = maths.deploy(LEG)
        assert pool.virtual_shares() == 10 ** min(6, 24 - maths.decimals)
        for state, amount in rows:
            pool.put(stored(state))
            price = price_of(ledger, state)
            try:
                down, up = pool.to_shares(amount)
            except Reverted:
                with pytest.raises(PoolError):
                    ledger.to_shares_up(state, amount)
            else:
                assert (down, up) == (
                    ledger.to_shares_down(state, amount),
                    ledger.to_shares_up(state, amount),
                )
                assert down <= amount / price <= up <= down + 1
                assert down * price <= amount <= up * price
            try:
                down, up = pool.to_assets(amount)
            except Reverted:
                with pytest.raises(PoolError):
                    ledger.to_assets_up(state, amount)
            else:
                assert (down, up) == (
                    ledger.to_assets_down(state, amount),
                    ledger.to_assets_up(state, amount),
                )
                assert down <= amount * price <= up <= down + 1


@settings(SETTINGS, max_examples=60)
@given(rows=st.lists(states(), min_size=4))
def test_charge(maths: Maths, rows: list[State]) -> None:
    """The fee becomes the reserve's: no share is worth less, and of its own it loses no share."""
    ledger = maths.ledger(LEG)
    with maths.evm.anchor():
        pool = maths.deploy(LEG)
        for state in rows:
            pool.put(stored(state))
            charged, shares = ledger.charge(state)
            old, new = price_of(ledger, state), price_of(ledger, charged)

            pool.charge()

            minted = maths.evm.last.events("Transfer")
            assert tuple(pool.state()) == stored(charged)
            assert [tuple(event.args) for event in minted] == (
                [(ZERO_ADDRESS, pool.address, shares)] if shares else []
            )
            assert charged == replace(
                state,
                charged_assets=state.all_assets,
                supply_shares=state.supply_shares + shares,
                reserve_shares=state.reserve_shares + shares,
            )
            assert charged.supply_assets == state.all_assets
            # SHR-1
            assert new >= old
            assert shares * old <= state.uncharged_fee
            if charged.supply_shares < MAX_UINT128:
                # RND-1
                lost = state.reserve_shares * old + state.uncharged_fee
                assert lost - charged.reserve_shares * new < old

            pool.charge()

            assert tuple(pool.state()) == stored(charged)
            assert maths.evm.last.events("Transfer") == []


def test_charge__known_values(maths: Maths) -> None:
    """By hand: 40 of interest at 25 % on 960 charged; 990 of claims become 10 shares dearer."""
    virtual = 10 ** min(6, 24 - maths.decimals)
    state = State(
        cash=500,
        debt_assets=500,
        debt_shares=500,
        charged_assets=960,
        supply_shares=991 * 10**9 - virtual,
        flags=250 << 8,
    )
    with maths.evm.anchor():
        pool = maths.deploy(LEG)
        pool.put(stored(state))
        assert pool.state().supply_assets == 990

        pool.charge()

        charged = pool.state()
    assert charged.reserve_shares == 10 * 10**9
    assert charged.supply_shares == 1001 * 10**9 - virtual
    assert charged.charged_assets == charged.supply_assets == 1000


@settings(SETTINGS, max_examples=60)
@given(rows=st.lists(st.tuples(states(), amounts, fractions, fractions), min_size=4))
def test_shares_of_the_debt(maths: Maths, rows: list[tuple[State, int, int, int]]) -> None:
    ledger = maths.ledger(LEG)
    with maths.evm.anchor():
        pool = maths.deploy(LEG)
        for state, amount, part, paid in rows:
            pool.put(stored(state))
            if state.debt_assets:
                mine = max(state.debt_shares * part // WAD, 1)
                owed = ledger.debt_of_shares(state, mine)
                assets = owed * paid // WAD
                repaid, shares = ledger.split_repayment(state, assets, mine)

                assert pool.owed(mine) == owed
                assert owed >= Fraction(mine * state.debt_assets, state.debt_shares)
                assert pool.shares_repaid(repaid, mine) == shares
                assert shares == mine if repaid == owed else shares <= mine
                assert pool.owed(state.debt_shares) == state.debt_assets
            assert pool.owed(0) == 0
            try:
                shares = pool.debt_shares_up(amount)
            except Reverted:
                with pytest.raises(PoolError):
                    ledger.debt_shares_up(state, amount)
            else:
                assert shares == ledger.debt_shares_up(state, amount)
                assert shares * state.debt_assets >= amount * state.debt_shares


@settings(SETTINGS, max_examples=60)
@given(rows=st.lists(st.tuples(states(), fractions), min_size=4))
def test_write_off(maths: Maths, rows: list[tuple[State, int]]) -> None:
    """The fee is charged, then the reserve pays first, and burns no less than it pays."""
    ledger = maths.ledger(LEG)
    with maths.evm.anchor():
        pool = maths.deploy(LEG)
        for row, part in rows:
            state = replace(row, debt_shares=max(row.debt_shares, 1)) if row.debt_assets else row
            shares = state.debt_shares * part // WAD
            pool.put(stored(state))
            charged, minted = ledger.charge(state)
            written = ledger.write_off(charged, shares)
            price = price_of(ledger, charged)

            pool.write_off(shares)

            event = maths.evm.last.events("BadDebt")[0]
            moved = [tuple(moved.args) for moved in maths.evm.last.events("Transfer")]
            assert tuple(pool.state()) == stored(written.state)
            assert moved == [
                *([(ZERO_ADDRESS, pool.address, minted)] if minted else []),
                (pool.address, ZERO_ADDRESS, written.burnt),
            ]
            assert (event.assets, event.from_reserve) == (written.loss, written.from_reserve)
            assert event.from_lenders == written.loss - written.from_reserve
            assert event.total_assets == written.state.supply_assets == written.state.all_assets
            assert written.burnt * price >= written.from_reserve
            assert written.state.cash == state.cash
            if written.from_reserve < written.loss:
                assert written.state.reserve_shares * price < 1


# --- liquidation


@st.composite
def unhealthy(draw: st.DrawFn) -> tuple[LegParameters, int, int, int]:
    """(leg, debt, collateral, dust): debt above the leg's liquidation LTV, in values."""
    leg = draw(legs())
    collateral = draw(st.one_of(st.just(0), st.integers(0, 2**64), st.integers(0, 2**120)))
    limit = collateral * leg.liquidation_ltv // WAD
    factor = draw(st.sampled_from([1, 1, 2, 10**6]))
    debt = limit + draw(st.integers(1, max(collateral * factor - limit, 1)))
    dust = draw(st.one_of(st.just(1), st.integers(1, 2 * debt)))
    return leg, min(debt, MAX_UINT128), collateral, dust


@settings(SETTINGS, max_examples=400)
@given(case=unhealthy())
def test_terms(formulas: Contract, case: tuple[LegParameters, int, int, int]) -> None:
    leg, debt, collateral, dust = case

    terms = liquidation.terms(leg, debt, collateral, dust)

    assert formulas.terms(astuple(leg), debt, collateral, dust) == tuple(terms)


@settings(SETTINGS, max_examples=600)
@given(case=unhealthy())
def test_terms__keep_their_promises(case: tuple[LegParameters, int, int, int]) -> None:
    leg, debt, collateral, dust = case

    repay, bonus, exhausts = liquidation.terms(leg, debt, collateral, dust)

    seized = repay * (WAD + bonus) // WAD
    left, kept = debt - repay, collateral - seized
    assert leg.bonus_base <= bonus <= leg.bonus_cap
    assert 0 <= repay <= debt
    assert kept >= 0
    assert exhausts == (left > 0 and repay == collateral * WAD // (WAD + bonus))
    if debt * (WAD + leg.bonus_base) < collateral * WAD:
        # LIQ-1
        assert left * collateral <= debt * kept
        assert not exhausts
    if left and not exhausts:
        assert left >= dust
        assert left * WAD <= (kept + 2) * leg.max_ltv + debt // 10**9 + 2 * WAD


def test_terms__known_values(formulas: Contract) -> None:
    """By hand: at LTV 85 % the bonus is 7.5 %, and 0.15 / (1 - 0.7 * 1.075) is repaid."""
    repay = -(-150 * 10**18 * WAD // (WAD - 7525 * 10**14))

    for chain_or_model in (
        formulas.terms(astuple(LEG), 850 * 10**18, 1000 * 10**18, 1),
        tuple(liquidation.terms(LEG, 850 * 10**18, 1000 * 10**18, 1)),
    ):
        assert chain_or_model == (repay, wad("7.5"), False)
    # 1 / 1.05 of the collateral is all that pays; the rest is bad
    assert formulas.terms(astuple(LEG), 1000, 999, 1) == (951, wad(5), True)
