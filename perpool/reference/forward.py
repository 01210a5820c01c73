"""Reference model of the forward pool: the token lent to short sellers and sold at once."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from perpool.reference import liquidation
from perpool.reference.arithmetic import (
    MAX_UINT256,
    PRICE_SCALE,
    PoolError,
    bits,
    half,
    mul_div_down,
    mul_div_up,
    refuse,
    share_of_down,
    share_of_up,
    word,
)
from perpool.reference.interest import LegParameters
from perpool.reference.ledger import State
from perpool.reference.pool import Callback, Pool, entry
from perpool.reference.wad import WAD
from perpool.reference.world import BORROWERS, World

TIP = WAD // 100
"""Of what a purchase by the pool is worth, paid to its caller."""
NO_BLOCK_CAP = 2**112 - 1


class Terms(NamedTuple):
    """What a liquidation may do at most."""

    price: int
    tokens: int
    """Tokens to repay, rounded down."""
    bonus: int
    exhausts: bool


class ForwardPool(Pool):
    """Short sellers post USDT; the pool lends the token, sells it and keeps the proceeds.

    Token amounts are `token_amount`, USDT `margin` and `usdt_amount`, in their smallest units.
    Swap adapters are the world's, by name; a route is passed over.
    """

    def __init__(self, world: World, leg: LegParameters, name: str = "forward") -> None:
        super().__init__(world, name, leg, asset=world.token, collateral=world.usdt, direction=-1)
        self.opened_block: Counter[str] = Counter()
        self.sold: Counter[str] = Counter()
        """Tokens sold and still owed, without interest."""
        self.proceeds: Counter[str] = Counter()
        """USDT that they brought in."""
        self.ever_sold = 0
        self.ever_bought = 0
        self.block_cap = 0
        self.cap_block = 0
        """Block of the last opening under a cap."""
        self.sold_in_block = 0

    # -- short sellers --

    @entry
    def open_short(  # noqa: PLR0917
        self,
        caller: str,
        margin: int,
        token_amount: int,
        min_proceeds: int,
        deadline: int,
        on_behalf: str,
        swapper: str,
        route: bytes = b"",
    ) -> int:
        """Returns the proceeds, at least the oracle's higher value less max_slippage."""
        if self.world.now > deadline:
            refuse("deadline passed")
        self._check_operator(caller, on_behalf)
        arrived = self._pull(self.collateral, caller, margin)
        state = self._accrue()
        self.ledger.check_cash(state, token_amount)
        shares = self.ledger.debt_shares_up(state, token_amount)
        state = state.move(cash=-token_amount, debt_assets=token_amount, debt_shares=shares)
        self._check_debt_limits(state)
        if state.capped:
            self._count_in_block(token_amount)
        price = self.world.prices.bounds()[1]
        worth = mul_div_up(token_amount, price, PRICE_SCALE)
        least = share_of_up(worth, WAD - self.leg.max_slippage)
        proceeds = self._swap(swapper, token_amount, 0, sale=True)[1]
        if proceeds < max(min_proceeds, least):
            refuse("slippage")
        debt_shares = self.debt_shares[on_behalf] + shares
        collateral = self.collateral_of[on_behalf] + arrived + proceeds
        debt = self.ledger.debt_of_shares(state, debt_shares)
        self.ledger.check_dust(debt)
        self._check_safe(debt, collateral, price)
        self._settle(state, on_behalf, collateral, debt_shares)
        self.opened_block[on_behalf] = self.world.block_number
        self.sold[on_behalf] = half(self.sold[on_behalf] + token_amount)
        self.proceeds[on_behalf] = half(self.proceeds[on_behalf] + proceeds)
        self.ever_sold = half(self.ever_sold + token_amount)
        self._log(
            "OpenShort",
            caller=caller,
            on_behalf=on_behalf,
            swapper=swapper,
            margin=arrived,
            token_amount=token_amount,
            shares=shares,
            proceeds=proceeds,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        return proceeds

    @entry
    def close_short(  # noqa: PLR0917
        self,
        caller: str,
        token_amount: int,
        max_cost: int,
        deadline: int,
        on_behalf: str,
        receiver: str,
        swapper: str,
        route: bytes = b"",
    ) -> int:
        """Returns the cost.

        Whole needs no price. A part costs at most the oracle's value * (1 + max_slippage), and
        leaves the LTV within max_ltv or no higher than it was.
        """
        if self.world.now > deadline:
            refuse("deadline passed")
        self._check_operator(caller, on_behalf)
        self._check_receiver(receiver)
        state = self._accrue()
        debt_shares, collateral = self.debt_shares[on_behalf], self.collateral_of[on_behalf]
        debt = self.ledger.debt_of_shares(state, debt_shares)
        assets, shares = self.ledger.split_repayment(state, token_amount, debt_shares)
        if assets == 0:
            refuse("zero amount")
        cost, bought = self._swap(swapper, min(max_cost, collateral), assets, sale=False)
        if bought < assets:
            refuse("slippage")
        whole = shares == debt_shares
        state, released = self._reduce(
            state, on_behalf, assets, shares, collateral if whole else cost
        )
        if not whole:
            price = self.world.prices.for_liquidation()
            worth = mul_div_down(assets, price, PRICE_SCALE)
            if cost > share_of_down(worth, WAD + self.leg.max_slippage):
                refuse("slippage")
            debt_left = self.ledger.debt_of_shares(state, debt_shares - shares)
            if word(debt_left * collateral) > word(debt * (collateral - cost)):
                self._check_safe(debt_left, collateral - cost, price)
        self.ever_bought = half(self.ever_bought + assets)
        self._log(
            "CloseShort",
            caller=caller,
            on_behalf=on_behalf,
            swapper=swapper,
            receiver=receiver,
            token_amount=assets,
            shares=shares,
            cost=cost,
            proceeds=released,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self.collateral.move(self.name, receiver, collateral - cost if whole else 0)
        return cost

    @entry
    def repay(self, caller: str, assets: int, on_behalf: str) -> tuple[int, int]:
        """Returns (tokens, shares) repaid, shares rounded down."""
        state = self._accrue()
        debt_shares = self.debt_shares[on_behalf]
        if debt_shares == 0:
            refuse("no debt")
        asked = min(assets, self.ledger.debt_of_shares(state, debt_shares))
        received = self._pull(self.asset, caller, asked)
        repaid, shares = self.ledger.split_repayment(state, received, debt_shares)
        if repaid == 0:
            refuse("zero amount")
        state, _ = self._reduce(state, on_behalf, repaid, shares, 0)
        self._log(
            "Repay",
            caller=caller,
            on_behalf=on_behalf,
            assets=repaid,
            shares=shares,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        return repaid, shares

    @entry
    def add_margin(self, caller: str, usdt_amount: int, on_behalf: str) -> int:
        """Returns what arrived."""
        self._check_receiver(on_behalf)
        arrived = self._pull(self.collateral, caller, usdt_amount)
        if arrived == 0:
            refuse("zero amount")
        self.collateral_of[on_behalf] = bits(self.collateral_of[on_behalf] + arrived, 96)
        self._log(
            "AddMargin",
            caller=caller,
            on_behalf=on_behalf,
            usdt_amount=arrived,
            collateral=self.collateral_of[on_behalf],
        )
        return arrived

    @entry
    def remove_margin(self, caller: str, usdt_amount: int, on_behalf: str, receiver: str) -> int:
        """MAX_UINT256 is all. Returns USDT taken out."""
        self._check_operator(caller, on_behalf)
        self._check_receiver(receiver)
        collateral = self.collateral_of[on_behalf]
        out = collateral if usdt_amount == MAX_UINT256 else usdt_amount
        if out == 0:
            refuse("zero amount")
        if out > collateral:
            refuse("insufficient collateral")
        if self.debt_shares[on_behalf]:
            state = self.accrued()
            self.ledger.check_not_paused(state)
            debt = self.ledger.debt_of_shares(state, self.debt_shares[on_behalf])
            self._check_safe(debt, collateral - out, self.world.prices.bounds()[1])
        self.collateral_of[on_behalf] = collateral - out
        self._log(
            "RemoveMargin",
            caller=caller,
            on_behalf=on_behalf,
            receiver=receiver,
            usdt_amount=out,
            collateral=collateral - out,
        )
        self.collateral.move(self.name, receiver, out)
        return out

    # -- liquidators --

    @entry
    def liquidate(
        self,
        caller: str,
        borrower: str,
        max_repay: int,
        receiver: str,
        callback: Callback | None = None,
    ) -> tuple[int, int]:
        """Returns (tokens repaid, USDT seized), the seized rounded down."""
        self._check_receiver(receiver)
        state = self._accrue()
        terms = self._terms(state, borrower)
        repaid, shares = self.ledger.split_repayment(
            state, min(max_repay, terms.tokens), self.debt_shares[borrower]
        )
        if repaid == 0 and terms.tokens > 0:
            refuse("zero amount")
        seized = self.collateral_of[borrower]
        if repaid < terms.tokens or not terms.exhausts:
            seized = min(self._worth_with_bonus(repaid, terms), seized)
        state, _ = self._reduce(state, borrower, repaid, shares, seized)
        self._log(
            "Liquidate",
            caller=caller,
            borrower=borrower,
            receiver=receiver,
            repaid=repaid,
            shares=shares,
            seized=seized,
            price_e36=terms.price,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self.collateral.move(self.name, receiver, seized)
        if callback is not None:
            callback()
        self._pull(self.asset, caller, repaid)
        return repaid, seized

    @entry
    def liquidate_by_purchase(self, caller: str, borrower: str, receiver: str) -> tuple[int, int]:
        """Returns (tokens repaid, USDT spent with the tip).

        Cost and tip are at most the oracle's value * (1 + b). Where the collateral falls short,
        all of it is spent, and what that buys beyond the debt is the lenders'.
        """
        self._check_receiver(receiver)
        state = self._accrue()
        terms = self._terms(state, borrower)
        budget = self.collateral_of[borrower]
        if not terms.exhausts:
            budget = min(self._worth_with_bonus(terms.tokens, terms), budget)
        tip = share_of_down(mul_div_down(terms.tokens, terms.price, PRICE_SCALE), TIP)
        wanted = 0 if terms.exhausts else terms.tokens
        swapper = self.world.liquidation_swapper
        cost, bought = self._swap(swapper, word(budget - tip), wanted, sale=False)
        if bought < terms.tokens:
            refuse("slippage")
        repaid = terms.tokens
        if terms.exhausts:
            repaid = min(bought, self.ledger.debt_of_shares(state, self.debt_shares[borrower]))
        shares = self.ledger.split_repayment(state, repaid, self.debt_shares[borrower])[1]
        self.ever_bought = half(self.ever_bought + repaid)
        state, _ = self._reduce(state, borrower, repaid, shares, cost + tip)
        self._log(
            "LiquidateByPurchase",
            caller=caller,
            borrower=borrower,
            receiver=receiver,
            repaid=repaid,
            shares=shares,
            cost=cost,
            tip=tip,
            price_e36=terms.price,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self.collateral.move(self.name, receiver, tip)
        if terms.exhausts:
            self.asset.move(self.name, receiver, bought - repaid)
        return repaid, cost + tip

    # -- the factory's --

    @entry
    def set_caps(self, supply_cap: int, debt_cap: int, leg_cap: int) -> None:
        """The leg's own cap is on the tokens sold in a block; none from 2**112 - 1 on."""
        self.block_cap = min(leg_cap, NO_BLOCK_CAP)
        self.cap_block, self.sold_in_block = 0, 0
        self._set_caps(supply_cap, debt_cap, leg_capped=self.block_cap < NO_BLOCK_CAP)

    # -- internals --

    def _count_in_block(self, token_amount: int) -> None:
        sold = token_amount
        if self.cap_block == self.world.block_number:
            sold += self.sold_in_block
        if sold > self.block_cap:
            refuse("block cap")
        self.cap_block, self.sold_in_block = self.world.block_number, sold

    def _swap(
        self, swapper: str, amount_in: int, amount_out: int, *, sale: bool
    ) -> tuple[int, int]:
        """Swap for `amount_out`, or all of the input where that is zero.

        Returns what was spent and what came in, by the pool's own balances.
        """
        adapter = self.world.swappers.get(swapper)
        if adapter is None:
            raise PoolError("unknown swapper")
        token_in, token_out = self.collateral, self.asset
        if sale:
            token_in, token_out = self.asset, self.collateral
        before = token_in.balances[self.name], token_out.balances[self.name]
        token_in.move(self.name, swapper, amount_in)
        if amount_out == 0:
            adapter.swap_exact_in(self.name, token_in, token_out, amount_in)
        else:
            adapter.swap_exact_out(self.name, token_in, token_out, amount_out, amount_in)
        after = token_in.balances[self.name], token_out.balances[self.name]
        return word(before[0] - after[0]), word(after[1] - before[1])

    def _terms(self, state: State, borrower: str) -> Terms:
        if self.world.block_number <= self.opened_block[borrower]:
            refuse("opened in this block")
        price = self.world.prices.for_liquidation()
        debt = self.ledger.debt_of_shares(state, self.debt_shares[borrower])
        collateral = self.collateral_of[borrower]
        debt_value = mul_div_up(debt, price, PRICE_SCALE)
        if debt_value <= share_of_down(collateral, self.leg.liquidation_ltv):
            refuse("healthy position")
        # a unit above, so that the tokens that the rest is worth are not below it by rounding
        dust_value = mul_div_up(self.leg.min_debt, price, PRICE_SCALE) + 1
        value, bonus, exhausts = liquidation.terms(self.leg, debt_value, collateral, dust_value)
        tokens = debt
        if value != debt_value:
            tokens = min(mul_div_down(value, PRICE_SCALE, price), debt)
        return Terms(price, tokens, bonus, exhausts)

    def _worth_with_bonus(self, token_amount: int, terms: Terms) -> int:
        value = mul_div_down(token_amount, terms.price, PRICE_SCALE)
        return share_of_down(value, WAD + terms.bonus)

    def _check_safe(self, debt: int, collateral: int, price: int) -> None:
        value = mul_div_up(debt, price, PRICE_SCALE)
        if value > share_of_down(collateral, self.leg.max_ltv):
            refuse("unhealthy position")

    def _reduce(
        self, state: State, account: str, repaid: int, shares: int, usdt_out: int
    ) -> tuple[State, int]:
        """Take a repayment and what pays for it out of a position; write off what nothing backs.

        Returns the State and the proceeds of what is owed no more. What was sold and its proceeds
        scale with the debt shares, rounded down.
        """
        state = state.move(cash=repaid, debt_assets=-repaid, debt_shares=-shares)
        old = self.debt_shares[account]
        collateral = word(self.collateral_of[account] - usdt_out)
        left = word(old - shares)
        if collateral == 0 and left:
            state = self._write_off(state, account, left)
            left = 0
        before = self.proceeds[account]
        self.sold[account] = mul_div_down(self.sold[account], left, old)
        self.proceeds[account] = mul_div_down(before, left, old)
        self.ledger.check_dust(self.ledger.debt_of_shares(state, left))
        self._settle(state, account, collateral, left)
        return state, before - self.proceeds[account]

    def _settle(self, state: State, account: str, collateral: int, debt_shares: int) -> None:
        self._store(state)
        self.collateral_of[account] = bits(collateral, 96)
        self.debt_shares[account] = half(debt_shares)
        self._tell(account, BORROWERS, self.debt_shares[account])
