"""What can go wrong, and what to do about it."""

from __future__ import annotations

from perpool.evm import Reverted


class PerpoolError(Exception):
    """Base of all errors of the SDK; the message says what to do."""


class AmountError(PerpoolError):
    """An amount that is no Decimal, negative, or finer than its token's smallest unit."""


class UnknownMarketError(PerpoolError, KeyError):
    """There is no such market in this deployment."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError's would quote the message


class UnknownVaultError(PerpoolError, KeyError):
    """There is no such vault in this market."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class ActionError(PerpoolError):
    """The contracts refuse an action. `reason` is theirs; the message adds the remedy."""

    def __init__(self, action: str, reason: str) -> None:
        self.action = action
        self.reason = reason
        self.remedy = remedy_for(reason)
        super().__init__(f"{action}: {reason or 'reverted without a reason'}. {self.remedy}")

    @classmethod
    def of(cls, action: str, error: Reverted) -> ActionError:
        """The error of a revert."""
        return cls(action, error.reason or str(error))


_PRICE = (
    "New risk needs a fresh price that all sources agree on: wait for the next round of reports. "
    "Repaying, adding collateral and lending go on."
)
REMEDIES = {
    # positions
    "unhealthy position": (
        "The debt would be too high for its collateral: borrow or take out less, or add "
        "collateral. `free_debt` and `free_collateral` of the position say how much is possible."
    ),
    "healthy position": "It cannot be liquidated: wait until `is_liquidatable` is true.",
    "no debt": "There is nothing to repay: check the account.",
    "opened in this block": "Send it again in a later block.",
    "below minimum debt": (
        "A position owes nothing or at least the market's minimum: repay all, or leave more."
    ),
    "insufficient collateral": "The position has less than that: see its `collateral`.",
    # pools
    "insufficient cash": (
        "The pool holds less than that, because nobody has lent it more or because it is lent out: "
        "take less, or wait for deposits and repayments."
    ),
    "supply cap": "The pool takes no more deposits for now: lend less, or ask the owner.",
    "debt cap": "The pool lends no more for now: borrow less, or wait for repayments.",
    "collateral cap": "The pool takes no more collateral for now: post less.",
    "block cap": "Too much is sold short in this block: send it again in the next, or sell less.",
    "paused": (
        "New risk is paused. Repaying, closing, adding collateral, withdrawing and redeeming go on."
    ),
    "zero amount": "Give an amount that is at least one unit, also of shares.",
    "amount too large": "The pool's books do not hold that much: use less.",
    # tokens and permissions
    "insufficient balance": "The account holds less than that: check its balance.",
    "insufficient allowance": "Approve the pool for the amount first; SDK actions do so.",
    "transfer fell short": "The token takes a fee on transfers: send what arrives, or repay more.",
    "bad token": "The pool lends only its own asset.",
    "bad receiver": "Choose a receiver that is neither the zero address nor the pool.",
    "bad callback answer": "The receiver does not follow ERC-3156: return its magic value.",
    "not authorised": (
        "Only the account or its operator may: call `set_operator` of Operators as the account."
    ),
    "not factory": "This goes through the pool factory.",
    "bad signature": "Sign with the account's key for this chain, contract and nonce.",
    "deadline passed": "Send it again with a later deadline.",
    "insufficient gas": "Send it with more gas: the pool's hook needs its share.",
    # carry vaults
    "no request": (
        "Nothing was asked for, or all of it is settled: see the account's position. What "
        "was filled at the venue cannot be cancelled any more: settle it."
    ),
    "too soon": (
        "A request is settled at a price that is observed after it: wait for the next report. One "
        "that is not settled may be cancelled after a day."
    ),
    "order pending": (
        "The redemption's order is at the venue: wait until it is filled, and settle the "
        "redemption then, or until its time is up, and cancel."
    ),
    "order refused": (
        "The venue did not take the order: it has no room, or fills at a worse price than the "
        "vault's slippage allows. Wait, or ask for less."
    ),
    "too few tokens": (
        "The shares bring less than the least that was asked for: bring USDT, wait for a better "
        "price, or cancel after a day and ask anew. What is set apart cannot be cancelled: its "
        "controller may settle for less at once, anybody an hour after."
    ),
    "insolvent": "The vault owes all that it has: nothing can be deposited or taken from it.",
    "not claimable": "Nothing is settled that could be claimed: settle first, or wait for it.",
    "asynchronous": "What a request becomes is known once it is settled: ask, settle, claim.",
    "wrong market": "Pools and venue of a vault have to be of one token, USDT and oracle.",
    "bad parameters": "The vault's numbers do not fit its pool or venue: check the configuration.",
    "not owner": "Only the factory's owner may.",
    "not vault": "Only the strategy's vault may: call the vault.",
    "not self": "It is called back in the course of another call only.",
    # the perp venue
    "request pending": "An account has one request at a time: settle the one before.",
    "no position": "There is no position to change: check the account.",
    "side would flip": "Close the position first, and open the other side with a second request.",
    "beyond limit price": "The fill is worse than the limit: allow more slippage, or wait.",
    "insufficient margin": "The position needs more margin: add some, or trade less.",
    "exposure cap": "Longs and shorts differ by too much already: trade less, or the other side.",
    "insufficient liquidity": "The venue has not that much free: trade or take out less.",
    "horizon intact": "There is funding enough: nobody has to be deleveraged.",
    "wrong side": "Only who receives funding is deleveraged.",
    # rewards
    "not the project": "Only the programme's project funds and stops it.",
    "holders or borrowers": "Rewards are for one of these two sides.",
    "decimals above 36": "Choose a reward token with fewer decimals.",
    "too many programmes": "A pool or vault has three programmes at most, for good.",
    "duration out of range": "A stream lasts between an hour and four years.",
    "rate too low": "Less than the least rate a second: stream more, or for a shorter time.",
    "zero address": "Give an address that is not zero.",
    # swaps
    "slippage": (
        "The market gives less than the limit: trade a smaller amount, wait until the pool and the "
        "oracle agree, or allow more slippage where the limit is yours. For a redemption from a "
        "vault bring USDT (`bring_usdt`), and nothing has to be sold."
    ),
    "unknown swapper": "Use an adapter of the factory's list; the SDK's own is on it.",
    "bad route": "A route is token, fee in 3 bytes, token, and so on.",
    "wrong tokens in route": "The route has to lead from the input to the output token.",
    "no such pool": "There is no Uniswap pool of these tokens and fee: choose another fee.",
    "input not all spent": "The Uniswap pools are too shallow: trade less.",
    "excessive input": "It costs more than the limit: trade less, or raise the limit.",
    "insufficient output": "The Uniswap pools are too shallow: trade less.",
    "not the pool": "Only a Uniswap pool may call back.",
    # prices
    "stale price": _PRICE,
    "price out of range": _PRICE,
    "price is catching up": (
        "The price is following a large move step by step: try again in a few minutes."
    ),
    "prices disagree": (
        "Feed and Uniswap average are too far apart: wait until they agree. Repaying, adding "
        "collateral and lending go on."
    ),
    "no such round": _PRICE,
    # reports
    "below quorum": "Fewer reporters signed than the oracle asks for: collect more signatures.",
    "unknown or repeated signer": (
        "A signature is not by one of the oracle's reporters, or one signed twice: check the keys, "
        "the chain and the oracle's address."
    ),
    "reporters not ascending": "Order the signatures by the reporters' addresses.",
    "report from the future": "The observation is later than the newest block: check the clock.",
    "report too old": "The observation is past the oracle's limit: observe and sign anew.",
    "round too soon": "The price feed took a round a moment ago: wait for its spacing.",
    "wrong number of values": "Every reporter signs one value for each token of the round.",
    # the factory's owner
    "not owner or guardian": "Only the factory's owner or its guardian may.",
    "unknown pool": "The factory has made no such pool: check the address.",
    "unknown hook": "Allow the hook at the factory first.",
    "fee too high": "The fee is at most 25 %.",
    "nothing requested": "Call `request_reserve_withdrawal` first, and wait for the delay.",
    "request expired": "Call `request_reserve_withdrawal` again, and wait for the delay.",
    "reserve locked": "Wait for the delay, and leave the reserve its floor.",
    "market exists": "There is a market of exactly these parameters: use it.",
}
"""Reason of a revert -> what to do."""

_UNKNOWN = "See the contract's documentation for this reason, and check the arguments."


def remedy_for(reason: str) -> str:
    """What to do about a reason."""
    return REMEDIES.get(reason, _UNKNOWN)
