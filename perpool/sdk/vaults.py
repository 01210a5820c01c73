"""Carry vaults of a market: how they stand, what an account has in them, and actions.

vault = market.vaults["keep"]
vault.status().net_carry                                 # Decimal("0.0412...")
vault.request_deposit("1000", account=key.address).send(key)
vault.settle_deposit(key.address, account=key.address).send(key)     # anybody's, at a later price
vault.claim_shares(account=key.address).send(key)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from perpool.chain import Contract
from perpool.evm import Reverted
from perpool.evm.codec import canonical, checksum
from perpool.sdk.actions import Action
from perpool.sdk.context import MarketContext, MarketContract, Token
from perpool.sdk.errors import ActionError, remedy_for
from perpool.sdk.model import Problem
from perpool.sdk.perp import PerpVenue
from perpool.sdk.units import (
    Amount,
    cap,
    from_wad,
    moment,
    optional_wad,
    to_units,
)

MODES = {1: "lend", 2: "carry"}
"""The flags of ICarryVault.Mode."""
GRACE = timedelta(hours=1)
"""After which anybody may pay a part that is set apart out for less than its least."""


@dataclass(frozen=True)
class Holdings:
    """Everything that a vault has, each unit once."""

    idle: Decimal
    """Tokens in hand."""
    lent: Decimal
    """Tokens that the forward pool owes it."""
    collateral: Decimal
    """Tokens in the reverse pool."""
    debt: Decimal
    """USDT."""
    short: Decimal
    """Tokens."""
    equity: Decimal
    """Of the short, in USDT."""
    cash: Decimal
    """USDT in hand, in escrow and in credit at the venue."""


@dataclass(frozen=True)
class Standing:
    """How a vault stands at the oracle's price."""

    price: Decimal
    mark: Decimal
    """The venue's."""
    total_assets: Decimal
    """What everything is worth, in tokens."""
    share_price: Decimal
    """Tokens of one share."""
    holdings: Holdings
    hedge_ratio: Decimal
    """Tokens short per token held."""
    delta: Decimal
    """Tokens held less tokens short: what a change of the price is felt on."""
    leverage: Decimal | None
    """Of the short, notional by equity; None without equity."""
    ltv: Decimal | None
    """Of the loan; None for a debt without collateral."""
    loan_liquidation_price: Decimal | None
    """The pool liquidates below; None without debt."""
    short_liquidation_price: Decimal | None
    """The venue may liquidate above; None without a short."""
    net_carry: Decimal
    """A year, of what it would earn carrying."""
    is_due: bool
    """Whether something is due.

    Whoever does it next is tipped, by `rebalance` or by a settlement, which does it first; it may
    turn out that nothing of it is possible now.
    """


@dataclass(frozen=True)
class VaultStatus:
    """A vault as of now."""

    address: str
    symbol: str
    """Of its shares."""
    asset: str
    mode: str
    """"lend" or "carry"."""
    is_paused: bool
    """Takes no deposits; all else goes on."""
    cap: Decimal | None
    max_trade: Decimal
    """USDT that an order or a swap of one call may be worth."""
    total_shares: Decimal
    tip: Decimal
    """Shares for the next call that does what is due: `rebalance`, or a settlement."""
    is_order_pending: bool
    """At the venue; nothing else is done meanwhile."""
    standing: Standing | None
    """None without a price."""


@dataclass(frozen=True)
class Redemption:
    """What an account has asked to redeem."""

    shares: Decimal
    since: datetime
    """Of the newest part of it."""
    min_tokens: Decimal
    """The least that it has to bring."""
    usdt: Decimal
    """Brought for its debt."""


@dataclass(frozen=True)
class SetApart(Redemption):
    """A part whose order was filled at a venue that takes its time, since it was set apart.

    It has no hedge and pays interest alone. Where it would bring fewer tokens than its least, only
    the account can finish it, until `anybody_from`: at once, or after bringing USDT, for which
    fewer of its tokens are sold. What is enough anybody can finish.
    """

    anybody_from: datetime
    brings: Decimal | None
    """Tokens for the account if it finished it now; None where that cannot be."""
    problem: Problem | None
    """Why not."""


@dataclass(frozen=True)
class VaultPosition:
    """An account in a vault."""

    account: str
    market: str
    vault: str
    shares: Decimal
    worth: Decimal | None
    """Of the shares, in tokens; None without a price."""
    pending_deposit: Decimal
    """Tokens that wait to be settled."""
    pending_redeem: Decimal
    """Shares that wait to be settled or paid out: of both that follow."""
    redemption: Redemption | None
    """What waits for a price, or for its order; None where nothing does."""
    apart: SetApart | None
    """What is set apart, and waits to be paid out."""
    claimable_shares: Decimal
    """Of settled deposits."""
    claimable_tokens: Decimal
    """Of settled redemptions."""
    claimable_usdt: Decimal
    """Which the next claim of tokens brings with it."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing held, waiting or to be claimed."""
        return not (
            self.shares
            or self.pending_deposit
            or self.pending_redeem
            or self.claimable_shares
            or self.claimable_tokens
            or self.claimable_usdt
        )


class CarryVault(MarketContract):
    """One vault."""

    def __init__(
        self, context: MarketContext, name: str, addresses: dict[str, Any], lens: Contract
    ) -> None:
        super().__init__(context, name, addresses["vault"], "CarryVault")
        self.strategy_address = checksum(canonical(addresses["strategy"]))
        self.lens = lens
        self.venue = PerpVenue(context, addresses["venue"])
        """Where it hedges."""

    @property
    def asset(self) -> Token:
        """What it takes and gives back."""
        return self.context.token

    # -- reading --

    def status(self) -> VaultStatus:
        """The vault as of now."""
        chain, contract, asset = self.context.chain, self.contract, self.asset
        block = chain.block_number
        symbol, mode, paused, limits, total, tip, position = chain.read(
            [
                contract.symbol.bind(),
                contract.mode.bind(),
                contract.is_paused.bind(),
                contract.limits.bind(),
                contract.totalSupply.bind(),
                contract.tip.bind(),
                self.venue.contract.position.bind(self.strategy_address),
            ],
            block=block,
        )
        return VaultStatus(
            address=self.address,
            symbol=symbol,
            asset=asset.symbol,
            mode=MODES[mode],
            is_paused=paused,
            cap=cap(limits[0], asset.decimals),
            max_trade=self.context.usdt.amount(limits[1]),
            total_shares=self._shares(total),
            tip=self._shares(tip),
            is_order_pending=position.pending != 0,
            standing=self._standing(block),
        )

    def position(self, account: Any) -> VaultPosition:
        """An account in this vault."""
        chain, contract, asset = self.context.chain, self.contract, self.asset
        account = checksum(canonical(account))
        block = chain.block_number
        held, deposit, redeem, asked, shares, tokens, usdt = chain.read(
            [
                contract.balanceOf.bind(account),
                contract.pendingDepositRequest.bind(0, account),
                contract.pendingRedeemRequest.bind(0, account),
                contract.redemption.bind(account),
                contract.maxMint.bind(account),
                contract.maxWithdraw.bind(account),
                contract.claimable_usdt.bind(account),
            ],
            block=block,
        )
        worth = None
        try:
            (worth,) = chain.read([contract.convertToAssets.bind(held)], block=block)
        except Reverted:
            worth = None  # without a price
        return VaultPosition(
            account=account,
            market=self.context.symbol,
            vault=self.name,
            shares=self._shares(held),
            worth=None if worth is None else asset.amount(worth),
            pending_deposit=asset.amount(deposit),
            pending_redeem=self._shares(redeem),
            redemption=self._redemption(asked),
            apart=self._apart(account, asked, block),
            claimable_shares=self._shares(shares),
            claimable_tokens=asset.amount(tokens),
            claimable_usdt=self.context.usdt.amount(usdt),
        )

    def _redemption(self, asked: Any) -> Redemption | None:
        since = moment(asked.requested_at)
        if asked.shares == 0 or since is None:
            return None
        return Redemption(
            shares=self._shares(asked.shares),
            since=since,
            min_tokens=self.asset.amount(asked.min_tokens),
            usdt=self.context.usdt.amount(asked.usdt),
        )

    def _apart(self, account: str, asked: Any, block: int) -> SetApart | None:
        since = moment(asked.apart_at)
        if asked.apart_shares == 0 or since is None:
            return None
        brings, problem = None, None
        try:
            units = self.contract.settle_redeem.call(account, sender=account, block=block)
            brings = self.asset.amount(units)
        except Reverted as error:
            reason = error.reason or str(error)
            problem = Problem(reason, remedy_for(reason))
        return SetApart(
            shares=self._shares(asked.apart_shares),
            since=since,
            min_tokens=self.asset.amount(asked.apart_min_tokens),
            usdt=self.context.usdt.amount(asked.apart_usdt),
            anybody_from=since + GRACE,
            brings=brings,
            problem=problem,
        )

    def _standing(self, block: int) -> Standing | None:
        contract, share = self.contract, 10**self._share_decimals
        try:
            view, held, of_share = self.context.chain.read(
                [
                    self.lens.carry.bind(self.address),
                    contract.holdings.bind(),
                    contract.convertToAssets.bind(share),
                ],
                block=block,
            )
        except Reverted:
            return None  # without a price
        token, usdt = self.asset, self.context.usdt
        return Standing(
            price=self._price(view.price_e36),
            mark=self._price(view.mark_e36),
            total_assets=token.amount(view.total_assets),
            share_price=token.amount(of_share),
            holdings=Holdings(
                idle=token.amount(held.idle),
                lent=token.amount(held.lent),
                collateral=token.amount(held.collateral),
                debt=usdt.amount(held.debt),
                short=token.amount(held.short),
                equity=usdt.amount(held.equity),
                cash=usdt.amount(held.cash),
            ),
            hedge_ratio=from_wad(view.hedge_ratio),
            delta=token.amount(view.delta),
            leverage=optional_wad(view.leverage),
            ltv=optional_wad(view.ltv),
            loan_liquidation_price=self._price(view.loan_liquidation_price_e36) or None,
            short_liquidation_price=self._price(view.short_liquidation_price_e36) or None,
            net_carry=from_wad(view.net_carry),
            is_due=view.is_due,
        )

    # -- asking and claiming --

    def request_deposit(self, token_amount: Amount, *, account: Any) -> Action:
        """Ask to deposit tokens. They become shares at a price that is observed after this."""
        units = self.asset.units(token_amount)
        data = self.contract.requestDeposit.encode(units, account, account)
        text = f"ask to deposit {token_amount} {self.asset.symbol}"
        return self._action(text, account, data, (self.asset, units))

    def claim_shares(self, *, account: Any) -> Action:
        """Take all shares of settled deposits. Raises ActionError where there are none."""
        settled = self.contract.maxDeposit(account)
        if settled == 0:
            raise ActionError(self._named("claim shares"), "not claimable")
        return self._action(
            "claim shares", account, self.contract.deposit.encode(settled, account, account)
        )

    def request_redeem(
        self,
        shares: Amount | None = None,
        *,
        account: Any,
        usdt_amount: Amount = 0,
        min_tokens: Amount = 0,
    ) -> Action:
        """Ask to redeem shares, None for all.

        The shares' part of the debt is paid from `usdt_amount`, of which what is not needed comes
        back with the claim, and else from their tokens. `min_tokens` is what they have to bring, or
        the request waits. At a venue that takes its time it has to be expected when the order goes
        out; once that is filled it binds others alone, and for an hour.
        """
        if shares is None:
            units = self.contract.balanceOf(account)
        else:
            units = to_units(shares, self._share_decimals, "shares")
        brought = self.context.usdt.units(usdt_amount)
        data = self.contract.request_redeem.encode(
            units, account, account, brought, self.asset.units(min_tokens)
        )
        text = f"ask to redeem {'all' if shares is None else shares} shares"
        return self._action(text, account, data, (self.context.usdt, brought))

    def bring_usdt(self, controller: Any, usdt_amount: Amount, *, account: Any) -> Action:
        """Add the account's USDT to what the debt of a requested redemption is paid from.

        Until it is paid out, also where it is set apart. What is not needed comes back with the
        controller's claim.
        """
        brought = self.context.usdt.units(usdt_amount)
        data = self.contract.bring_usdt.encode(controller, brought)
        text = f"bring {usdt_amount} USDT for the redemption of {controller}"
        return self._action(text, account, data, (self.context.usdt, brought))

    def claim_tokens(self, *, account: Any) -> Action:
        """Take all tokens and USDT of settled redemptions. Raises ActionError without any."""
        settled = self.contract.maxRedeem(account)
        if settled == 0:
            raise ActionError(self._named("claim tokens"), "not claimable")
        return self._action(
            "claim tokens", account, self.contract.redeem.encode(settled, account, account)
        )

    def cancel_deposit(self, *, account: Any) -> Action:
        """Take back tokens that have waited for a day."""
        data = self.contract.cancel_deposit.encode(account, account)
        return self._action("cancel the deposit", account, data)

    def cancel_redeem(self, *, account: Any) -> Action:
        """Take back shares that have waited for a day, and the USDT brought.

        Not while their order is at the venue, nor once they are set apart.
        """
        data = self.contract.cancel_redeem.encode(account, account)
        return self._action("cancel the redemption", account, data)

    # -- anyone's --

    def settle_deposit(self, controller: Any, *, account: Any) -> Action:
        """Turn somebody's deposit into shares that he can claim."""
        data = self.contract.settle_deposit.encode(controller)
        return self._action(f"settle the deposit of {controller}", account, data)

    def settle_redeem(self, controller: Any, *, account: Any) -> Action:
        """Turn somebody's redemption into tokens that he can claim.

        Where the venue takes its time the first call orders, and a later one pays out; others than
        the controller and his operators do not pay out in the call that takes the fill in, where he
        has named a least.
        """
        data = self.contract.settle_redeem.encode(controller)
        return self._action(f"settle the redemption of {controller}", account, data)

    def rebalance(self, *, account: Any) -> Action:
        """Take the next steps towards what the mode wants. Tipped where something moved."""
        return self._action("rebalance", account, self.contract.rebalance.encode())
