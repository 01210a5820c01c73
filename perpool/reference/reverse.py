"""Reference model of the reverse pool: USDT lent against the token."""

from __future__ import annotations

from perpool.reference import liquidation
from perpool.reference.arithmetic import (
    MAX_UINT128,
    MAX_UINT256,
    PRICE_SCALE,
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

CALM_VOLATILITY = WAD
STRESSED_VOLATILITY = 2 * WAD


def borrow_ltv(leg: LegParameters, volatility: int) -> int:
    """The LTV of new debt: max_ltv up to 100 %, linear to stressed_ltv at 200 %, rounded down."""
    if volatility <= CALM_VOLATILITY:
        return leg.max_ltv
    if volatility >= STRESSED_VOLATILITY:
        return leg.stressed_ltv
    return leg.max_ltv - share_of_up(leg.max_ltv - leg.stressed_ltv, volatility - CALM_VOLATILITY)


class ReversePool(Pool):
    """Holders post the token and borrow USDT.

    Token amounts are `token_amount`, USDT `usdt_amount`, in their smallest units. `callback` is
    what the caller does between the collateral going out and the repayment coming in.
    """

    def __init__(self, world: World, leg: LegParameters, name: str = "reverse") -> None:
        super().__init__(world, name, leg, asset=world.usdt, collateral=world.token, direction=1)
        self.collateral_cap = 0

    # -- holders --

    @entry
    def supply_collateral(self, caller: str, token_amount: int, on_behalf: str) -> int:
        """Returns what arrived."""
        return self._supply_collateral(caller, token_amount, on_behalf)

    @entry
    def borrow(self, caller: str, usdt_amount: int, on_behalf: str, receiver: str) -> int:
        """Returns debt shares, rounded up."""
        return self._borrow(caller, usdt_amount, on_behalf, receiver)

    @entry
    def repay(self, caller: str, assets: int, on_behalf: str) -> tuple[int, int]:
        """Returns (USDT, shares) repaid, shares rounded down."""
        return self._repay(caller, assets, on_behalf)

    @entry
    def withdraw_collateral(
        self, caller: str, token_amount: int, on_behalf: str, receiver: str
    ) -> int:
        """MAX_UINT256 is all. Returns tokens taken out."""
        return self._withdraw_collateral(caller, token_amount, on_behalf, receiver)

    @entry
    def supply_collateral_and_borrow(
        self, caller: str, token_amount: int, usdt_amount: int, on_behalf: str, receiver: str
    ) -> int:
        """Returns debt shares, rounded up."""
        self._supply_collateral(caller, token_amount, on_behalf)
        return self._borrow(caller, usdt_amount, on_behalf, receiver)

    @entry
    def repay_and_withdraw_collateral(
        self, caller: str, usdt_amount: int, token_amount: int, on_behalf: str, receiver: str
    ) -> tuple[int, int]:
        """Returns USDT repaid and tokens taken out."""
        repaid = self._repay(caller, usdt_amount, on_behalf)[0]
        return repaid, self._withdraw_collateral(caller, token_amount, on_behalf, receiver)

    @entry
    def deleverage(  # noqa: PLR0917
        self,
        caller: str,
        collateral_out: int,
        usdt_amount: int,
        on_behalf: str,
        receiver: str,
        callback: Callback | None = None,
    ) -> int:
        """Collateral out, callback, repayment in. Returns USDT repaid.

        The LTV does not rise, and what goes out is worth at most repaid * (1 + max_slippage).
        """
        self._check_operator(caller, on_behalf)
        self._check_receiver(receiver)
        state = self._accrue()
        collateral, debt_shares = self.collateral_of[on_behalf], self.debt_shares[on_behalf]
        if debt_shares == 0:
            refuse("no debt")
        if collateral_out > collateral:
            refuse("insufficient collateral")
        debt = self.ledger.debt_of_shares(state, debt_shares)
        repaid, shares = self.ledger.split_repayment(state, usdt_amount, debt_shares)
        if repaid == 0:
            refuse("zero amount")
        price = self.world.prices.for_liquidation()
        value_out = mul_div_up(collateral_out, price, PRICE_SCALE)
        if value_out > share_of_down(repaid, WAD + self.leg.max_slippage):
            refuse("slippage")
        state = state.move(cash=repaid, debt_assets=-repaid, debt_shares=-shares)
        left = collateral - collateral_out
        debt_left = self.ledger.debt_of_shares(state, debt_shares - shares)
        self.ledger.check_dust(debt_left)
        if word(debt_left * collateral) > word(debt * left):
            refuse("unhealthy position")
        self._settle(state, on_behalf, left, debt_shares - shares)
        self._log(
            "Deleverage",
            caller=caller,
            on_behalf=on_behalf,
            receiver=receiver,
            collateral_out=collateral_out,
            repaid=repaid,
            shares=shares,
            collateral=left,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self._exchange(caller, collateral_out, receiver, repaid, callback)
        return repaid

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
        """Returns (USDT repaid, tokens seized), the seized rounded down."""
        self._check_receiver(receiver)
        state = self._accrue()
        collateral, debt_shares = self.collateral_of[borrower], self.debt_shares[borrower]
        debt = self.ledger.debt_of_shares(state, debt_shares)
        price = self.world.prices.for_liquidation()
        value = mul_div_down(collateral, price, PRICE_SCALE)
        if debt <= share_of_down(value, self.leg.liquidation_ltv):
            refuse("healthy position")
        terms = liquidation.terms(self.leg, debt, value, self.leg.min_debt)
        repaid, shares = self.ledger.split_repayment(
            state, min(max_repay, terms.repay), debt_shares
        )
        seized = collateral
        if repaid < terms.repay or not terms.exhausts:
            worth = share_of_down(repaid, WAD + terms.bonus)
            seized = min(mul_div_down(worth, PRICE_SCALE, price), collateral)
        if repaid == 0 and terms.repay > 0:
            refuse("zero amount")
        state = state.move(cash=repaid, debt_assets=-repaid, debt_shares=-shares)
        left = debt_shares - shares
        if seized == collateral and left:
            state = self._write_off(state, borrower, left)
            left = 0
        self.ledger.check_dust(self.ledger.debt_of_shares(state, left))
        self._settle(state, borrower, collateral - seized, left)
        self._log(
            "Liquidate",
            caller=caller,
            borrower=borrower,
            receiver=receiver,
            repaid=repaid,
            shares=shares,
            seized=seized,
            price_e36=price,
            collateral=collateral - seized,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self._exchange(caller, seized, receiver, repaid, callback)
        return repaid, seized

    # -- ERC-3156 --

    def max_flash_loan(self) -> int:
        """The pool's cash; nothing while paused."""
        return 0 if self.state.paused else self.state.cash

    @entry
    def flashLoan(  # noqa: N802
        self, caller: str, receiver: str, token: str, amount: int, callback: Callback | None = None
    ) -> bool:
        """Lend cash to a contract within the call, for nothing."""
        if token != self.asset.name:
            refuse("bad token")
        self.ledger.check_not_paused(self.state)
        self.ledger.check_cash(self.state, amount)
        self._log("FlashLoan", caller=caller, receiver=receiver, assets=amount)
        self.asset.move(self.name, receiver, amount)
        if callback is not None:
            callback()
        self.asset.move(receiver, self.name, amount)
        return True

    # -- the factory's --

    @entry
    def set_caps(self, supply_cap: int, debt_cap: int, leg_cap: int) -> None:
        """The leg's own cap is on the tokens that the pool holds, however they came."""
        self._set_caps(supply_cap, debt_cap, leg_capped=False)
        self.collateral_cap = min(leg_cap, MAX_UINT128)

    # -- internals --

    def _supply_collateral(self, caller: str, token_amount: int, on_behalf: str) -> int:
        self._check_receiver(on_behalf)
        received = self._pull(self.collateral, caller, token_amount)
        if received == 0:
            refuse("zero amount")
        if self.collateral.balances[self.name] > self.collateral_cap:
            refuse("collateral cap")
        self.collateral_of[on_behalf] = half(self.collateral_of[on_behalf] + received)
        self._log(
            "SupplyCollateral",
            caller=caller,
            on_behalf=on_behalf,
            token_amount=received,
            collateral=self.collateral_of[on_behalf],
        )
        return received

    def _borrow(self, caller: str, usdt_amount: int, on_behalf: str, receiver: str) -> int:
        self._check_operator(caller, on_behalf)
        self._check_receiver(receiver)
        state = self._accrue()
        self.ledger.check_cash(state, usdt_amount)
        shares = self.ledger.debt_shares_up(state, usdt_amount)
        state = state.move(cash=-usdt_amount, debt_assets=usdt_amount, debt_shares=shares)
        self._check_debt_limits(state)
        collateral = self.collateral_of[on_behalf]
        debt_shares = self.debt_shares[on_behalf] + shares
        debt = self.ledger.debt_of_shares(state, debt_shares)
        self.ledger.check_dust(debt)
        self._check_new_risk(collateral, debt)
        self._settle(state, on_behalf, collateral, debt_shares)
        self._log(
            "Borrow",
            caller=caller,
            on_behalf=on_behalf,
            receiver=receiver,
            assets=usdt_amount,
            shares=shares,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        self.asset.move(self.name, receiver, usdt_amount)
        return shares

    def _repay(self, caller: str, usdt_amount: int, on_behalf: str) -> tuple[int, int]:
        state = self._accrue()
        debt_shares = self.debt_shares[on_behalf]
        if debt_shares == 0:
            refuse("no debt")
        asked = min(usdt_amount, self.ledger.debt_of_shares(state, debt_shares))
        received = self._pull(self.asset, caller, asked)
        assets, shares = self.ledger.split_repayment(state, received, debt_shares)
        if assets == 0:
            refuse("zero amount")
        state = state.move(cash=assets, debt_assets=-assets, debt_shares=-shares)
        left = debt_shares - shares
        self.ledger.check_dust(self.ledger.debt_of_shares(state, left))
        self._settle(state, on_behalf, self.collateral_of[on_behalf], left)
        self._log(
            "Repay",
            caller=caller,
            on_behalf=on_behalf,
            assets=assets,
            shares=shares,
            total_debt=state.debt_assets,
            total_debt_shares=state.debt_shares,
        )
        return assets, shares

    def _withdraw_collateral(
        self, caller: str, token_amount: int, on_behalf: str, receiver: str
    ) -> int:
        self._check_operator(caller, on_behalf)
        self._check_receiver(receiver)
        collateral, debt_shares = self.collateral_of[on_behalf], self.debt_shares[on_behalf]
        out = collateral if token_amount == MAX_UINT256 else token_amount
        if out == 0:
            refuse("zero amount")
        if out > collateral:
            refuse("insufficient collateral")
        if debt_shares:
            state = self.accrued()
            self.ledger.check_not_paused(state)
            debt = self.ledger.debt_of_shares(state, debt_shares)
            self._check_new_risk(collateral - out, debt)
        self.collateral_of[on_behalf] = collateral - out
        self._log(
            "WithdrawCollateral",
            caller=caller,
            on_behalf=on_behalf,
            receiver=receiver,
            token_amount=out,
            collateral=collateral - out,
        )
        self.collateral.move(self.name, receiver, out)
        return out

    def _check_new_risk(self, collateral: int, debt: int) -> None:
        lower = self.world.prices.bounds()[0]
        value = mul_div_down(collateral, lower, PRICE_SCALE)
        if debt > share_of_down(value, borrow_ltv(self.leg, self.world.prices.volatility)):
            refuse("unhealthy position")

    def _settle(self, state: State, account: str, collateral: int, debt_shares: int) -> None:
        self._store(state)
        self.collateral_of[account] = half(collateral)
        self.debt_shares[account] = half(debt_shares)
        self._tell(account, BORROWERS, self.debt_shares[account])

    def _exchange(
        self,
        caller: str,
        collateral_out: int,
        receiver: str,
        repaid: int,
        callback: Callback | None,
    ) -> None:
        self.collateral.move(self.name, receiver, collateral_out)
        if callback is not None:
            callback()
        self._pull(self.asset, caller, repaid)
