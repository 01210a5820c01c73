"""The two pools of a market: their state, positions, quotes and actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from perpool.chain import Call
from perpool.evm.codec import canonical, checksum
from perpool.sdk.actions import BALANCE_OF, Action
from perpool.sdk.context import MarketContext, MarketContract, Token
from perpool.sdk.errors import ActionError, remedy_for
from perpool.sdk.model import (
    BorrowQuote,
    PoolStatus,
    Position,
    Prices,
    Problem,
    Rates,
    ShortQuote,
)
from perpool.sdk.units import (
    MAX,
    Amount,
    age,
    cap,
    from_wad,
    moment,
    optional_wad,
    ratio,
)
from perpool.sdk.venue import Route, UniswapV3
from perpool.uniswap import encode_v3_route

MAX_ACCOUNTS = 200
DEFAULT_SLIPPAGE = Decimal("0.005")
DEFAULT_DEADLINE = timedelta(minutes=20)
_PERMILLE = 1000
# interest between asking and being mined
_INTEREST_MARGIN = Decimal("1.001")


class Pool(MarketContract):
    """What both pools share."""

    leg: ClassVar[str]

    def __init__(self, context: MarketContext, address: str, abi: str) -> None:
        super().__init__(context, self.leg, address, abi)

    # -- to be told by each pool --

    @property
    def asset(self) -> Token:
        """What the pool lends."""
        raise NotImplementedError

    @property
    def collateral_token(self) -> Token:
        """What its borrowers post."""
        raise NotImplementedError

    # -- reading --

    def status(self) -> PoolStatus:
        """The pool as of now."""
        view = self.context.lens.pool(self.address)
        asset, collateral = self.asset, self.collateral_token
        known = view.oracle_funding_time != 0
        leg_token = self.context.token
        return PoolStatus(
            address=self.address,
            symbol=view.symbol,
            asset=asset.symbol,
            collateral=collateral.symbol,
            is_paused=view.paused,
            total_assets=asset.amount(view.total_assets),
            total_debt=asset.amount(view.total_debt),
            cash=asset.amount(view.cash),
            reserve=asset.amount(view.reserve_assets),
            share_price=asset.amount(view.share_price),
            supply_cap=cap(view.supply_cap, asset.decimals),
            debt_cap=cap(view.debt_cap, asset.decimals),
            leg_cap=cap(view.leg_cap, leg_token.decimals),
            fee=Decimal(view.fee_permille) / _PERMILLE,
            rates=_rates(view.rates),
            funding=from_wad(view.funding_wad) if view.funding_time else None,
            funding_age=age(view.funding_age),
            oracle_funding=from_wad(view.oracle_funding_wad) if known else None,
            oracle_funding_at=moment(view.oracle_funding_time),
            prices=self._prices(view.prices),
            borrow_ltv=from_wad(view.borrow_ltv),
            max_ltv=from_wad(view.config.leg.max_ltv),
            liquidation_ltv=from_wad(view.config.leg.liquidation_ltv),
            min_debt=asset.amount(view.config.leg.min_debt),
            max_slippage=from_wad(view.config.leg.max_slippage),
        )

    def position(self, account: Any) -> Position:
        """An account in this pool."""
        return self.positions([account])[0]

    def positions(self, accounts: Sequence[Any]) -> list[Position]:
        """Many accounts, in order, 200 to a call."""
        views: list[Any] = []
        has_price = self.context.lens.prices(self.address).has_price
        for start in range(0, len(accounts), MAX_ACCOUNTS):
            part = [checksum(canonical(each)) for each in accounts[start : start + MAX_ACCOUNTS]]
            views += self.context.lens.positions(self.address, part)
        return [self._position(view, has_price=has_price) for view in views]

    def balance(self, account: Any) -> Decimal:
        """What an account has of the pool's asset in its wallet."""
        return self.asset.amount(self._balance(self.asset, account))

    def _balance(self, token: Token, account: Any) -> int:
        query = Call(canonical(token.address), BALANCE_OF.encode((account,)), BALANCE_OF)
        return int(self.context.chain.call(query))

    # -- lending --

    def deposit(self, amount: Amount, *, account: Any) -> Action:
        """Lend to the pool."""
        units = self.asset.units(amount)
        return self._action(
            f"lend {amount} {self.asset.symbol}",
            account,
            self.contract.deposit.encode(units, account),
            (self.asset, units),
        )

    def withdraw(self, amount: Amount | None = None, *, account: Any) -> Action:
        """Take lent assets back; None for all of them."""
        if amount is None:
            shares = self.contract.balanceOf(account)
            data = self.contract.redeem.encode(shares, account, account)
            return self._action(f"withdraw all {self.asset.symbol}", account, data)
        data = self.contract.withdraw.encode(self.asset.units(amount), account, account)
        return self._action(f"withdraw {amount} {self.asset.symbol}", account, data)

    # -- owing --

    def repay(self, amount: Amount | None = None, *, account: Any, payer: Any = None) -> Action:
        """Pay back debt of `account`, None for all; `payer` may be somebody else."""
        payer = account if payer is None else payer
        if amount is None:
            owed = self.contract.debt_of(account)
            units, allowance = MAX, int(owed * _INTEREST_MARGIN) + 1
            text = f"repay all {self.asset.symbol}"
        else:
            units = allowance = self.asset.units(amount)
            text = f"repay {amount} {self.asset.symbol}"
        data = self.contract.repay.encode(units, account)
        return self._action(text, payer, data, (self.asset, allowance))

    # -- for the pools --

    def _prices(self, view: Any) -> Prices:
        return Prices(
            price=self._price(view.price_e36) if view.has_price else None,
            low=self._price(view.lower_e36) if view.has_bounds else None,
            high=self._price(view.upper_e36) if view.has_bounds else None,
            volatility=optional_wad(view.volatility),
        )

    def _position(self, view: Any, *, has_price: bool) -> Position:
        usdt = self.context.usdt
        owes = view.debt > 0
        has_liquidation_price = owes and view.liquidation_price_e36 != MAX
        is_short = view.sold > 0
        return Position(
            account=view.account,
            market=self.context.symbol,
            leg=self.leg,
            shares=self._shares(view.shares),
            lent=self.asset.amount(view.shares_worth),
            collateral=self.collateral_token.amount(view.collateral),
            debt=self.asset.amount(view.debt),
            collateral_value=usdt.amount(view.collateral_value) if has_price else None,
            debt_value=usdt.amount(view.debt_value) if has_price else None,
            ltv=optional_wad(view.ltv) if has_price else None,
            health=optional_wad(view.health) if has_price and owes else None,
            is_liquidatable=view.is_liquidatable,
            liquidation_price=(
                self._price(view.liquidation_price_e36) if has_liquidation_price else None
            ),
            free_debt=self.asset.amount(view.free_debt),
            free_collateral=self.collateral_token.amount(view.free_collateral),
            entry_price=self._price(view.entry_price_e36) if is_short else None,
            unrealised_profit=(
                usdt.amount(view.unrealised_profit) if is_short and has_price else None
            ),
            interest=self.asset.amount(view.interest) if is_short else None,
        )

    def _problems(self, view: Any, debt: int, owed: int, *, allowed: bool) -> list[Problem]:
        """Why new debt would not be given, in the order that a pool would say so."""
        reasons = []
        if debt > view.cash:
            reasons.append("insufficient cash")
        if view.paused:
            reasons.append("paused")
        if view.total_debt + debt > view.debt_cap:
            reasons.append("debt cap")
        if 0 < owed < view.config.leg.min_debt:
            reasons.append("below minimum debt")
        if not view.prices.has_bounds:
            reasons.append("stale price" if not view.prices.has_price else "prices disagree")
        elif not allowed:
            reasons.append("unhealthy position")
        return [Problem(reason, remedy_for(reason)) for reason in reasons]


class ReversePool(Pool):
    """Lends USDT against the token."""

    leg = "reverse"

    def __init__(self, context: MarketContext, address: str) -> None:
        super().__init__(context, address, "ReversePool")

    @property
    def asset(self) -> Token:
        return self.context.usdt

    @property
    def collateral_token(self) -> Token:
        return self.context.token

    def supply_collateral(self, token_amount: Amount, *, account: Any) -> Action:
        """Post tokens."""
        units = self.collateral_token.units(token_amount)
        data = self.contract.supply_collateral.encode(units, account)
        text = f"post {token_amount} {self.collateral_token.symbol}"
        return self._action(text, account, data, (self.collateral_token, units))

    def borrow(self, usdt_amount: Amount, *, account: Any) -> Action:
        """Borrow USDT against collateral that is posted already."""
        data = self.contract.borrow.encode(self.asset.units(usdt_amount), account, account)
        return self._action(f"borrow {usdt_amount} USDT", account, data)

    def supply_and_borrow(
        self, token_amount: Amount, usdt_amount: Amount, *, account: Any
    ) -> Action:
        """Post tokens and borrow USDT in one transaction."""
        units = self.collateral_token.units(token_amount)
        data = self.contract.supply_collateral_and_borrow.encode(
            units, self.asset.units(usdt_amount), account, account
        )
        text = f"post {token_amount} {self.collateral_token.symbol} and borrow {usdt_amount} USDT"
        return self._action(text, account, data, (self.collateral_token, units))

    def withdraw_collateral(self, token_amount: Amount | None = None, *, account: Any) -> Action:
        """Take tokens out; None for all of them."""
        units = MAX if token_amount is None else self.collateral_token.units(token_amount)
        data = self.contract.withdraw_collateral.encode(units, account, account)
        amount = "all" if token_amount is None else token_amount
        return self._action(f"take out {amount} {self.collateral_token.symbol}", account, data)

    def quote_borrow(
        self, usdt_amount: Amount, *, collateral: Amount = 0, account: Any = None
    ) -> BorrowQuote:
        """What posting `collateral` tokens and borrowing USDT would give, on top of what
        `account` has (default: nothing)."""
        lens, context = self.context.lens, self.context
        who = "0x" + 40 * "0" if account is None else account
        added = self.collateral_token.units(collateral)
        borrowed = self.asset.units(usdt_amount)
        view = lens.pool(self.address)
        after, allowed = lens.position_after(self.address, who, added, borrowed)
        rates = _rates(lens.rates_after(self.address, 0, borrowed))
        position = self._position(after, has_price=view.prices.has_price)
        problems = self._problems(view, borrowed, after.debt, allowed=allowed)
        if added and self._balance(context.token, self.address) + added > view.leg_cap:
            reason = "collateral cap"
            problems.insert(0, Problem(reason, remedy_for(reason)))
        funding = from_wad(view.funding_wad) if view.funding_time else None
        carry = None
        if funding is not None and position.ltv is not None:
            carry = position.ltv * (funding - rates.borrow)
        return BorrowQuote(
            market=context.symbol,
            collateral=self.collateral_token.amount(added),
            usdt=self.asset.amount(borrowed),
            rate=rates.borrow,
            rate_now=from_wad(view.rates.borrow_rate),
            after=position,
            borrow_ltv=from_wad(view.borrow_ltv),
            hedge_ratio=position.ltv,
            funding=funding,
            carry=carry,
            problems=tuple(problems),
        )


class ForwardPool(Pool):
    """Lends the token to short sellers against USDT."""

    leg = "forward"

    def __init__(self, context: MarketContext, address: str) -> None:
        super().__init__(context, address, "ForwardPool")

    @property
    def asset(self) -> Token:
        return self.context.token

    @property
    def collateral_token(self) -> Token:
        return self.context.usdt

    @property
    def venue(self) -> UniswapV3:
        """Where the pool's adapter trades."""
        return UniswapV3.of_swapper(self.context.chain, self.context.swapper)

    def open_short(
        self,
        token_amount: Amount,
        *,
        margin: Amount,
        account: Any,
        slippage: Decimal = DEFAULT_SLIPPAGE,
        deadline: timedelta = DEFAULT_DEADLINE,
    ) -> Action:
        """Sell borrowed tokens, for at least what the market gives now less `slippage`."""
        units, posted = self.asset.units(token_amount), self.collateral_token.units(margin)
        proceeds = self.venue.quote_exact_in(self._sell_route, units)
        data = self.contract.open_short.encode(
            posted,
            units,
            int(proceeds * (1 - slippage)),
            self._deadline(deadline),
            account,
            self.context.swapper,
            _packed(self._sell_route),
        )
        text = f"short {token_amount} {self.asset.symbol} on {margin} USDT"
        return self._action(text, account, data, (self.collateral_token, posted))

    def close_short(
        self,
        token_amount: Amount | None = None,
        *,
        account: Any,
        slippage: Decimal = DEFAULT_SLIPPAGE,
        deadline: timedelta = DEFAULT_DEADLINE,
    ) -> Action:
        """Buy debt back with the position's USDT, None for all, which pays out what is left."""
        units = MAX if token_amount is None else self.asset.units(token_amount)
        owed = self.contract.debt_of(account)
        if owed == 0:
            raise ActionError(self._named("close"), "no debt")
        cost = self.venue.quote_exact_out(self.context.route, min(units, owed))
        # interest until it is mined comes on top
        most = int(cost * (1 + slippage) * _INTEREST_MARGIN) + 1
        data = self.contract.close_short.encode(
            units,
            most,
            self._deadline(deadline),
            account,
            account,
            self.context.swapper,
            _packed(self.context.route),
        )
        amount = "all" if token_amount is None else token_amount
        return self._action(f"buy back {amount} {self.asset.symbol}", account, data)

    def add_margin(self, usdt_amount: Amount, *, account: Any) -> Action:
        """Add USDT to a position."""
        units = self.collateral_token.units(usdt_amount)
        data = self.contract.add_margin.encode(units, account)
        text = f"add {usdt_amount} USDT of margin"
        return self._action(text, account, data, (self.collateral_token, units))

    def remove_margin(self, usdt_amount: Amount | None = None, *, account: Any) -> Action:
        """Take USDT out; None for all, where there is no debt."""
        units = MAX if usdt_amount is None else self.collateral_token.units(usdt_amount)
        data = self.contract.remove_margin.encode(units, account, account)
        amount = "all" if usdt_amount is None else usdt_amount
        return self._action(f"take out {amount} USDT of margin", account, data)

    def quote_short(
        self,
        token_amount: Amount,
        *,
        margin: Amount,
        account: Any = None,
        slippage: Decimal = DEFAULT_SLIPPAGE,
    ) -> ShortQuote:
        """What selling `token_amount` borrowed tokens on `margin` USDT would give, on top of what
        `account` has (default: nothing)."""
        lens, context = self.context.lens, self.context
        who = "0x" + 40 * "0" if account is None else account
        sold, posted = self.asset.units(token_amount), self.collateral_token.units(margin)
        view = lens.pool(self.address)
        rates = _rates(lens.rates_after(self.address, 0, sold))
        quote = ShortQuote(
            market=context.symbol,
            token_amount=self.asset.amount(sold),
            margin=self.collateral_token.amount(posted),
            proceeds=None,
            min_proceeds=None,
            average_price=None,
            slippage=None,
            rate=rates.borrow,
            rate_now=from_wad(view.rates.borrow_rate),
            after=None,
            leverage=None,
            funding=from_wad(view.funding_wad) if view.funding_time else None,
            problems=(),
        )
        try:
            proceeds = self.venue.quote_exact_in(self._sell_route, sold)
        except ActionError as error:
            return replace(quote, problems=(Problem(error.reason, error.remedy),))
        after, allowed = lens.position_after(self.address, who, posted + proceeds, sold)
        position = self._position(after, has_price=view.prices.has_price)
        problems = self._problems(view, sold, after.debt, allowed=allowed)
        block, sold_before = self.contract.sold_in_block()
        if block <= context.chain.block_number:
            sold_before = 0  # of a block that is past
        limits = [("block cap", sold_before + sold > view.leg_cap)]
        least = _least_proceeds(sold, view)
        limits.append(("slippage", least is not None and proceeds < least))
        problems += [Problem(reason, remedy_for(reason)) for reason, holds in limits if holds]
        income = context.usdt.amount(proceeds)
        average = ratio(income, quote.token_amount) if sold else None
        price = self._prices(view.prices).price
        equity = None
        if position.collateral_value is not None and position.debt_value is not None:
            equity = position.collateral_value - position.debt_value
        return replace(
            quote,
            proceeds=income,
            min_proceeds=context.usdt.amount(int(proceeds * (1 - slippage))),
            average_price=average,
            slippage=1 - ratio(average, price) if average is not None and price else None,
            after=position,
            leverage=ratio(position.debt_value, equity) if position.debt_value and equity else None,
            problems=tuple(problems),
        )

    @property
    def _sell_route(self) -> Route:
        return self.context.route[::-1]

    def _deadline(self, within: timedelta) -> int:
        return self.context.chain.timestamp + int(within.total_seconds())


def _packed(route: Route) -> bytes:
    tokens, fees = [str(each) for each in route[::2]], [int(each) for each in route[1::2]]
    return encode_v3_route(tokens, fees)


def _rates(view: Any) -> Rates:
    return Rates(
        utilisation=from_wad(view.utilisation),
        base=from_wad(view.base_rate),
        premium=from_wad(view.premium),
        borrow=from_wad(view.borrow_rate),
        lending=from_wad(view.lending_rate),
    )


def _least_proceeds(sold: int, view: Any) -> int | None:
    """What the pool itself demands: the oracle's higher value less `max_slippage`."""
    if not view.prices.has_bounds:
        return None
    worth = -(-sold * view.prices.upper_e36 // 10**36)
    return int(-(-worth * (10**18 - view.config.leg.max_slippage) // 10**18))
