from eth_utils import keccak

from perpool import uniswap
from perpool.build import load_npm_artifact
from perpool.evm import Evm, reverts
from tests.uniswap import V3_POOL, ZERO_ADDRESS


def test_constructor__zero_factory(evm: Evm) -> None:
    with reverts("zero factory"):
        evm.deploy("UniswapV3Swapper", ZERO_ADDRESS)


def test_constructor(venue, evm: Evm) -> None:
    assert venue.swapper.factory() == venue.v3.factory.address


def test_pool_init_code_hash__is_that_of_the_artifact(venue, evm: Evm) -> None:
    expected = keccak(load_npm_artifact(V3_POOL).initcode)
    assert venue.swapper.POOL_INIT_CODE_HASH() == expected
    assert expected == uniswap.V3_POOL_INIT_CODE_HASH
