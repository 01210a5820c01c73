"""What to pay for a transaction (EIP-1559): pure decisions, all in wei for one unit of gas.

    first(base_fee, tip, policy)            # for a nonce that nothing was sent for yet
    bumped(last, base_fee, tip, policy)     # to take the place of what was

None means that it would cost more than the cap: wait.
"""

from __future__ import annotations

from dataclasses import dataclass

GWEI = 10**9
MAX_GAS = 2**24
"""Of one transaction, by EIP-7825."""

_BASE_FEE_ROOM = 2
_WANTED_BUMP = 1_125
_LEAST_BUMP = 1_100
_GAS_MARGIN = 1_250
_TRANSFER_GAS = 21_000


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers for one unit of gas, in wei."""

    max_fee: int
    """All included; what the base fee and the tip leave of it is not paid."""
    tip: int
    """For the block's proposer, out of `max_fee`."""


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How much gas may cost. Fees in wei for one unit of gas; 1 gwei = 10**9 wei.

    Only what nodes suggest is held between `min_tip` and `max_tip`: a replacement has to raise the
    tip too, and may go beyond, up to `max_fee`.
    """

    max_fee: int = 100 * GWEI
    """Cap: nothing is sent while the base fee is above it, and nothing is ever offered beyond."""
    min_tip: int = GWEI // 1_000
    max_tip: int = 3 * GWEI
    max_gas: int = MAX_GAS
    """Units of gas of one transaction at most, whatever nodes estimate."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_tip <= self.max_tip:
            raise ValueError(f"min_tip {self.min_tip} is not between 0 and max_tip {self.max_tip}")
        if self.max_fee < max(self.min_tip, 1):
            raise ValueError(f"the cap max_fee {self.max_fee} leaves nothing to offer: raise it")
        if not _TRANSFER_GAS <= self.max_gas <= MAX_GAS:
            raise ValueError(f"max_gas {self.max_gas} is not between {_TRANSFER_GAS} and {MAX_GAS}")


def first(base_fee: int, tip: int, policy: FeePolicy) -> Fees | None:
    """Room for the base fee to double, as it can within six blocks, as far as the cap allows.

    `tip` is what nodes suggest.
    """
    if base_fee > policy.max_fee:
        return None
    tip = min(max(tip, policy.min_tip), policy.max_tip)
    max_fee = min(_BASE_FEE_ROOM * base_fee + tip, policy.max_fee)
    return Fees(max_fee, min(tip, max_fee))


def bumped(last: Fees, base_fee: int, tip: int, policy: FeePolicy) -> Fees | None:
    """Both fees an eighth higher than `last`, or what is right today where that is more.

    Nodes refuse a replacement with less than a tenth more. So a tenth has to do where the cap has
    no room for an eighth, and None is the answer where it has no room for that either.
    """
    today = first(base_fee, tip, policy)
    if today is None:
        return None
    max_fee = min(max(_raised(last.max_fee, _WANTED_BUMP), today.max_fee), policy.max_fee)
    wanted_tip = min(max(_raised(last.tip, _WANTED_BUMP), today.tip), max_fee)
    if max_fee < _raised(last.max_fee, _LEAST_BUMP) or wanted_tip < _raised(last.tip, _LEAST_BUMP):
        return None
    return Fees(max_fee, wanted_tip)


def gas_limit(estimate: int, most: int = MAX_GAS) -> int:
    """A quarter more than the node's estimate: the state may change until it is mined.

    No more than `most`, as a node may say anything.
    """
    return min(estimate * _GAS_MARGIN // 1_000, most)


def is_other_gas(limit: int, before: int) -> bool:
    """Whether a new estimate is one to sign anew for: by more than estimates differ anyway."""
    return abs(limit - before) * _GAS_MARGIN > before * (_GAS_MARGIN - 1_000)


def _raised(fee: int, thousandths: int) -> int:
    """Rounded up, and always by 1 wei at least."""
    return max(-(-fee * thousandths // 1_000), fee + 1)
