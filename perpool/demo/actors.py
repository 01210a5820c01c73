"""Who takes part in the demo, and by what rules. Pure decisions: what one sees -> orders.

Nobody knows more than the present and the past. Actors think in floats, whole USDT and whole
tokens; amounts become integers where orders are carried out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

DAY = 86_400
ENTER_CARRY, LEAVE_CARRY = 0.20, 0.05
"""Funding EMA at which hedged holders come and go. Between them lies what carry costs."""
SHORTEST_STAY = 3 * DAY
CEILING = 0.55
"""LTV up to which hedged holders borrow margin; past it they sell tokens for it."""


# -- what they see --


@dataclass(frozen=True)
class PoolView:
    """One leg, rates a year."""

    utilisation: float
    borrow_rate: float
    supply_rate: float


@dataclass(frozen=True)
class View:
    """The market as everybody sees it at a time."""

    time: int
    price: float
    funding_ema: float
    """On chain, a year."""
    borrow_ltv: float
    """What the reverse pool lends against now."""
    reverse: PoolView
    forward: PoolView
    progress: float
    """Part of the replay that has passed; for those who simply come later."""
    closes: Sequence[float]
    """Hourly prices of the last seven days, as far as there are any, the newest last."""

    def change(self, hours: int) -> float:
        """Relative change of the price; since the first one known where that is later."""
        past = self.closes[-hours - 1 :]
        return self.price / past[0] - 1 if past else 0.0

    def mean(self, hours: int) -> float:
        """Mean price of the last hours."""
        past = self.closes[-hours:]
        return sum(past) / len(past) if past else self.price


@dataclass(frozen=True)
class Me:
    """One's own accounts."""

    usdt: float = 0
    tokens: float = 0
    lent: float = 0
    """In the pool of one's leg, in its asset."""
    collateral: float = 0
    """Tokens in the reverse pool."""
    debt: float = 0
    """USDT owed there."""
    short_collateral: float = 0
    """USDT in the forward pool, proceeds of the sale included."""
    short_debt: float = 0
    """Tokens owed there."""
    perp_equity: float = 0
    perp_position: float = 0
    """Tokens, negative for a short."""
    shares: float = 0
    """Whole shares of the carry vault of one's choice, without those that wait to be redeemed."""

    def ltv(self, price: float) -> float:
        """Of the loan on the reverse leg."""
        return self.debt / (self.collateral * price) if self.collateral else 0.0

    def short_ltv(self, price: float) -> float:
        """Of the short on the forward leg."""
        return self.short_debt * price / self.short_collateral if self.short_collateral else 0.0


# -- what they do --


@dataclass(frozen=True)
class Lend:
    amount: float


@dataclass(frozen=True)
class Withdraw:
    """All of it, or as much as the pool's cash allows."""


@dataclass(frozen=True)
class Borrow:
    """Post tokens and borrow USDT in one transaction; either may be zero."""

    tokens: float
    usdt: float


@dataclass(frozen=True)
class Repay:
    """None is all."""

    usdt: float | None = None


@dataclass(frozen=True)
class AddCollateral:
    tokens: float


@dataclass(frozen=True)
class TakeCollateral:
    """None is all."""

    tokens: float | None = None


@dataclass(frozen=True)
class Buy:
    """Tokens on Uniswap with this much USDT."""

    usdt: float


@dataclass(frozen=True)
class Sell:
    """This many tokens on Uniswap."""

    tokens: float


@dataclass(frozen=True)
class OpenShort:
    margin: float
    tokens: float


@dataclass(frozen=True)
class CloseShort:
    """All of it."""


@dataclass(frozen=True)
class AddMargin:
    usdt: float


@dataclass(frozen=True)
class PerpTransfer:
    """USDT to the exchange, or with a negative amount back. Infinity is all that one has."""

    usdt: float


@dataclass(frozen=True)
class PerpTrade:
    """Have this position in tokens from now on, negative for a short."""

    position: float


@dataclass(frozen=True)
class RequestDeposit:
    """Tokens for the carry vault; the next price settles it."""

    tokens: float


@dataclass(frozen=True)
class RequestRedeem:
    """All shares of the carry vault; the next price settles it."""


Order = (
    Lend
    | Withdraw
    | Borrow
    | Repay
    | AddCollateral
    | TakeCollateral
    | Buy
    | Sell
    | OpenShort
    | CloseShort
    | AddMargin
    | PerpTransfer
    | PerpTrade
    | RequestDeposit
    | RequestRedeem
)


# -- who they are --


@dataclass
class Actor:
    """Somebody with a name, what he starts with, and a rule."""

    name: str
    size: float
    """USDT, or tokens' worth in USDT at the first price."""

    role: ClassVar[str] = ""
    leg: ClassVar[str] = ""
    endowed_in: ClassVar[tuple[str, ...]] = ()
    """Of "usdt" and "tokens", what he starts with."""
    endowment: ClassVar[float] = 1.0
    """How much of it, in sizes."""

    @property
    def rule(self) -> str:
        """His rule in one sentence, for the report."""
        raise NotImplementedError

    def decide(self, view: View, me: Me) -> list[Order]:
        """His orders now."""
        raise NotImplementedError


@dataclass
class Lender(Actor):
    """Lends everything, or nothing, as `wants` tells him."""

    wants: Callable[[Lender, View], bool]
    says: str
    left_at: int = 0

    @property
    def rule(self) -> str:
        return self.says

    def decide(self, view: View, me: Me) -> list[Order]:
        mine = me.usdt if self.leg == "reverse" else me.tokens
        price = 1.0 if self.leg == "reverse" else view.price
        if self.wants(self, view):
            return [Lend(mine)] if mine * price > 1_000 else []
        if me.lent * price > 1:
            self.left_at = view.time
            return [Withdraw()]
        return []

    def pool(self, view: View) -> PoolView:
        """The leg he lends on."""
        return view.reverse if self.leg == "reverse" else view.forward


@dataclass
class UsdtLender(Lender):
    role: ClassVar[str] = "USDT lender"
    leg: ClassVar[str] = "reverse"
    endowed_in: ClassVar[tuple[str, ...]] = ("usdt",)


@dataclass
class TokenLender(Lender):
    role: ClassVar[str] = "token lender"
    leg: ClassVar[str] = "forward"
    endowed_in: ClassVar[tuple[str, ...]] = ("tokens",)


@dataclass
class HedgedHolder(Actor):
    """Posts tokens, borrows, shorts the perp, and keeps both legs in balance.

    Shorts `hedge` tokens a token, with `margin` of their value on the exchange, all of it borrowed.
    """

    hedge: float
    margin: float
    entered_at: int = 0

    role: ClassVar[str] = "hedged holder"
    leg: ClassVar[str] = "reverse"
    endowed_in: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def rule(self) -> str:
        return (
            f"Funding EMA above {_percent(ENTER_CARRY)}: borrows and shorts {_percent(self.hedge)} "
            f"of the tokens with a margin of {_percent(self.margin)}; moves USDT between loan and "
            f"margin when that is 10 % off, and past LTV {_percent(CEILING)} sells tokens for it; "
            f"leaves below {_percent(LEAVE_CARRY)}, after 3 days at least"
        )

    def decide(self, view: View, me: Me) -> list[Order]:
        if not me.collateral:
            return self._enter(view, me) if view.funding_ema > ENTER_CARRY else []
        stayed = view.time - self.entered_at
        if view.funding_ema < LEAVE_CARRY and stayed >= SHORTEST_STAY:
            return self._leave(view, me)
        return self._balance(view, me)

    def _enter(self, view: View, me: Me) -> list[Order]:
        self.entered_at = view.time
        short = self.hedge * me.tokens
        usdt = self.margin * short * view.price
        return [Borrow(me.tokens, usdt), PerpTransfer(usdt), PerpTrade(-short)]

    def _balance(self, view: View, me: Me) -> list[Order]:
        """Excess margin repays the loan; a lack is borrowed, and past the ceiling tokens are sold.

        The hedge follows the tokens that are left.
        """
        if not me.perp_position:
            return []
        wanted = self.margin * self.hedge * me.collateral * view.price
        excess = me.perp_equity - wanted
        if abs(excess) < 0.1 * wanted:
            return []
        if excess > 0:
            back = min(excess, me.debt * 0.999)
            return [PerpTransfer(-back), Repay(back)] if back > 1 else []
        ceiling = min(CEILING, view.borrow_ltv - 0.03)
        room = max(ceiling * me.collateral * view.price - me.debt, 0.0)
        borrowed = min(-excess, room) if room > 100 else 0.0
        orders: list[Order] = [Borrow(0, borrowed), PerpTransfer(borrowed)] if borrowed else []
        if borrowed < -excess:
            # a token sold brings its price, and asks for less margin
            sold = (-excess - borrowed) / (view.price * (1 + self.margin * self.hedge))
            brought = sold * view.price * 0.99
            orders += [TakeCollateral(sold), Sell(sold), PerpTransfer(brought)]
            orders.append(PerpTrade(-self.hedge * (me.collateral - sold)))
        return orders

    def _leave(self, view: View, me: Me) -> list[Order]:
        """A loss of the short is paid in tokens."""
        orders: list[Order] = [PerpTrade(0), PerpTransfer(-float("inf"))]
        # the fee of the closing trade is not known here; one percent covers it and the swap
        missing = me.debt * 1.001 - me.perp_equity * 0.99 - me.usdt
        if missing > 0:
            sold = missing / view.price * 1.01
            orders += [Repay(me.perp_equity * 0.98), TakeCollateral(sold), Sell(sold)]
        return [*orders, Repay(), TakeCollateral()]


@dataclass
class SiloedHolder(Actor):
    """Hedges in full and never moves anything from one leg to the other."""

    ltv: float
    done: bool = False

    role: ClassVar[str] = "siloed holder"
    leg: ClassVar[str] = "reverse"
    endowed_in: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def rule(self) -> str:
        return (
            f"Funding EMA above {_percent(ENTER_CARRY)}: borrows at LTV {_percent(self.ltv)}, "
            "shorts all of the tokens with that as margin, and never touches either leg again"
        )

    def decide(self, view: View, me: Me) -> list[Order]:
        if self.done or view.funding_ema <= ENTER_CARRY:
            return []
        self.done = True
        usdt = min(self.ltv, view.borrow_ltv - 0.01) * me.tokens * view.price
        return [Borrow(me.tokens, usdt), PerpTransfer(usdt), PerpTrade(-me.tokens)]


@dataclass
class VaultHolder(Actor):
    """Puts all tokens into a carry vault; comes and leaves at parts of the replay."""

    vault: str
    comes: float = 0.0
    leaves: float = math.inf
    says: str = "on the first day and stays"

    role: ClassVar[str] = "vault holder"
    leg: ClassVar[str] = "vault"
    endowed_in: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def rule(self) -> str:
        return f"Puts all tokens into the carry vault {self.vault} {self.says}"

    def decide(self, view: View, me: Me) -> list[Order]:
        if view.progress >= self.leaves:
            return [RequestRedeem()] if me.shares else []
        if view.progress >= self.comes and me.tokens * view.price > 1:
            return [RequestDeposit(me.tokens)]
        return []


@dataclass
class LeveragedHolder(Actor):
    """Borrows to buy more tokens, and again whenever the price has lifted the collateral."""

    ltv: float
    tops_up: bool

    role: ClassVar[str] = "leveraged holder"
    leg: ClassVar[str] = "reverse"
    endowed_in: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def rule(self) -> str:
        top_up = "adds what was bought once LTV passes 72 %" if self.tops_up else "adds nothing"
        return (
            f"Price above its 3-day mean: borrows to LTV {_percent(self.ltv)} and buys tokens; "
            f"again when LTV has fallen by 12 points; {top_up}"
        )

    def decide(self, view: View, me: Me) -> list[Order]:
        ltv = me.ltv(view.price)
        if ltv > 0.72:
            return [AddCollateral(me.tokens)] if self.tops_up and me.tokens > 1e-6 else []
        if view.price <= view.mean(72) or ltv > self.ltv - 0.12:
            return []
        posted = 0.0 if me.collateral else me.tokens
        target = min(self.ltv, view.borrow_ltv - 0.01)
        usdt = target * (me.collateral + posted) * view.price - me.debt
        return [Borrow(posted, usdt), Buy(usdt)] if usdt > 1_000 else []


@dataclass
class Shorter(Actor):
    """Opens and closes shorts on the forward leg; `size` is the notional."""

    opened_at: int = 0
    closed_at: int = -10 * DAY
    opened_price: float = 0

    role: ClassVar[str] = "shorter"
    leg: ClassVar[str] = "forward"
    endowed_in: ClassVar[tuple[str, ...]] = ("usdt",)
    endowment: ClassVar[float] = 1.5
    ltv: ClassVar[float] = 0.5

    def decide(self, view: View, me: Me) -> list[Order]:
        if me.short_debt:
            orders = self.hold(view, me)
            if any(isinstance(order, CloseShort) for order in orders):
                self.closed_at = view.time
            return orders
        if not self.wants(view):
            return []
        # proceeds are about the notional, and debt / (margin + proceeds) the LTV
        notional = min(self.size, me.usdt * self.ltv / (1 - self.ltv) * 0.97)
        if notional < 1_000:
            return []
        self.opened_at, self.opened_price = view.time, view.price
        return self.enter(notional, view)

    def enter(self, notional: float, view: View) -> list[Order]:
        """The orders that open a short."""
        # one percent more than the LTV asks for pays the pool's spread
        margin = notional * (1 / self.ltv - 1) + notional * 0.01
        return [OpenShort(margin, notional / view.price)]

    def wants(self, view: View) -> bool:
        """Whether to open a short now."""
        raise NotImplementedError

    def hold(self, view: View, me: Me) -> list[Order]:
        """What to do with an open one."""
        raise NotImplementedError


@dataclass
class TrendSeller(Shorter):
    ltv: ClassVar[float] = 0.5

    @property
    def rule(self) -> str:
        return "Shorts when the price is 4 % under its 3-day mean, closes when it is back over it"

    def wants(self, view: View) -> bool:
        return view.price < 0.96 * view.mean(72)

    def hold(self, view: View, me: Me) -> list[Order]:
        return [CloseShort()] if view.price > view.mean(72) else []


@dataclass
class MarketMaker(Shorter):
    """`dice` says whether an order comes in; it is drawn once a step."""

    dice: Callable[[], float] = field(default=lambda: 1.0)
    ltv: ClassVar[float] = 0.6

    @property
    def rule(self) -> str:
        return "Every fourth step on average sells borrowed inventory, buys it back a day later"

    def wants(self, view: View) -> bool:
        return self.dice() < 0.25

    def hold(self, view: View, me: Me) -> list[Order]:
        return [CloseShort()] if view.time - self.opened_at >= DAY else []


@dataclass
class StubbornBear(Shorter):
    ltv: ClassVar[float] = 0.6

    @property
    def rule(self) -> str:
        return (
            "Shorts on the first day at LTV 60 % and adds margin past 72 % until the cash is gone"
        )

    def wants(self, view: View) -> bool:
        return self.opened_at == 0

    def hold(self, view: View, me: Me) -> list[Order]:
        if me.short_ltv(view.price) <= 0.72 or me.usdt < 100:
            return []
        needed = me.short_debt * view.price / 0.65 - me.short_collateral
        return [AddMargin(min(needed, me.usdt))]


@dataclass
class HurriedBear(Shorter):
    ltv: ClassVar[float] = 0.68

    @property
    def rule(self) -> str:
        return (
            "After a rise of 10 % in 3 days shorts at LTV 68 %; closes at a profit of 10 %, adds "
            "nothing; waits 5 days after each"
        )

    def wants(self, view: View) -> bool:
        return view.change(72) > 0.10 and view.time - max(self.opened_at, self.closed_at) > 5 * DAY

    def hold(self, view: View, me: Me) -> list[Order]:
        return [CloseShort()] if view.price < 0.9 * self.opened_price else []


@dataclass
class FundingDesk(Shorter):
    """Where shorts pay: short here, long the perp there, and collect."""

    ltv: ClassVar[float] = 0.55

    @property
    def rule(self) -> str:
        return (
            "Funding EMA under -10 %: shorts here, buys as much perp on the exchange and collects "
            "what shorts pay there; ends both when the EMA is positive"
        )

    def wants(self, view: View) -> bool:
        return view.funding_ema < -0.10

    def enter(self, notional: float, view: View) -> list[Order]:
        tokens = notional / view.price
        return [*super().enter(notional, view), PerpTransfer(0.4 * notional), PerpTrade(tokens)]

    def hold(self, view: View, me: Me) -> list[Order]:
        if view.funding_ema > 0:
            return [CloseShort(), PerpTrade(0), PerpTransfer(-float("inf"))]
        return []


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


# -- the cast --


def _always(_lender: Lender, _view: View) -> bool:
    return True


def _seeks(enter: float, leave: float) -> Callable[[Lender, View], bool]:
    """Stays while the rate is above `leave`, comes above `enter`."""
    inside = False

    def wants(lender: Lender, view: View) -> bool:
        nonlocal inside
        rate = lender.pool(view).supply_rate
        inside = rate > (leave if inside else enter)
        return inside

    return wants


def _flees(fall: float, quiet: int) -> Callable[[Lender, View], bool]:
    """Leaves when a day's fall is larger, comes back after `quiet` seconds."""

    def wants(lender: Lender, view: View) -> bool:
        if view.change(24) < -fall:
            lender.left_at = view.time
        return lender.left_at == 0 or view.time - lender.left_at > quiet

    return wants


def _from(progress: float) -> Callable[[Lender, View], bool]:
    return lambda _lender, view: view.progress >= progress


def cast(dice: Callable[[], float]) -> list[Actor]:
    """Everybody with a rule. `dice` gives numbers from 0 to 1, the same ones for the same seed."""
    flees = "Leaves when the price has fallen by 15 % in a day, comes back 3 days later"
    return [
        UsdtLender("Treasury", 1_250_000, _always, "Lends from the first day and stays"),
        UsdtLender(
            "Yield fund",
            600_000,
            _seeks(0.08, 0.04),
            "Lends while it pays: comes above 8 % a year, leaves below 4 %",
        ),
        UsdtLender("Cautious desk", 500_000, _flees(0.15, 3 * DAY), flees),
        UsdtLender("Newcomer", 400_000, _from(0.5), "Comes half-way and stays"),
        TokenLender("Foundation", 600_000, _always, "Lends from the first day and stays"),
        TokenLender("Nervous holder", 300_000, _flees(0.15, 3 * DAY), flees),
        TokenLender(
            "Rate seeker",
            200_000,
            _seeks(0.03, 0.015),
            "Lends while it pays: comes above 3 % a year, leaves below 1.5 %",
        ),
        HedgedHolder("Keeper of coins", 500_000, hedge=1 / 3, margin=0.5),
        HedgedHolder("Neutral holder", 500_000, hedge=1.0, margin=0.5),
        SiloedHolder("Siloed at 40 %", 300_000, ltv=0.4),
        SiloedHolder("Siloed at 58 %", 300_000, ltv=0.58),
        LeveragedHolder("Leverage 35 %", 400_000, ltv=0.35, tops_up=True),
        LeveragedHolder("Leverage 45 %", 300_000, ltv=0.45, tops_up=False),
        LeveragedHolder("Leverage 50 %", 300_000, ltv=0.50, tops_up=True),
        LeveragedHolder("Leverage 58 %", 200_000, ltv=0.58, tops_up=False),
        VaultHolder("Holder in keep", 300_000, "keep"),
        VaultHolder("Newcomer in keep", 100_000, "keep", comes=0.5, says="half-way and stays"),
        VaultHolder("Holder in neutral", 300_000, "neutral"),
        VaultHolder(
            "Leaver of neutral",
            100_000,
            "neutral",
            leaves=0.75,
            says="on the first day, and takes them out after three quarters of the time",
        ),
        TrendSeller("Trend seller", 150_000),
        MarketMaker("Market maker", 80_000, dice=dice),
        StubbornBear("Stubborn bear", 100_000),
        HurriedBear("Hurried bear", 80_000),
        FundingDesk("Funding desk", 200_000),
    ]
