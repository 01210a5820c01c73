import pytest
from eth_utils import to_canonical_address

from perpool.evm import Evm, reverts


@pytest.mark.parametrize("data", ["token", "route", "empty"])
def test_uniswap_v3_swap_callback__stranger(venue, evm: Evm, data: str) -> None:
    payload = {
        "token": to_canonical_address(venue.usdt.address),
        "route": venue.long_route,
        "empty": b"",
    }[data]
    venue.usdt.mint(venue.swapper, 10**6)
    with reverts("not the pool"):
        venue.swapper.uniswapV3SwapCallback(10**6, 0, payload, sender=evm.account("attacker"))


def test_uniswap_v3_swap_callback__pool_without_a_swap_of_ours(venue, evm: Evm) -> None:
    venue.usdt.mint(venue.swapper, 10**6)
    payload = to_canonical_address(venue.usdt.address)
    with reverts("not the pool"):
        venue.swapper.uniswapV3SwapCallback(10**6, 0, payload, sender=venue.pool)


def test_uniswap_v3_swap_callback(venue, evm: Evm) -> None:
    route = venue.pool.route(venue.token)
    receipt = venue.caller.sell.transact(venue.swapper, venue.token, venue.usdt, venue.whole, route)
    payments = [
        (event.sender, event.receiver, event.value)
        for event in receipt.events("Transfer", venue.token)
    ]
    assert payments == [
        (venue.caller.address, venue.swapper.address, venue.whole),
        (venue.swapper.address, venue.pool.address, venue.whole),
    ]
    # and the pool that was called back may not do it again
    with reverts("not the pool"):
        venue.swapper.uniswapV3SwapCallback(1, 0, route[:20], sender=venue.pool)
