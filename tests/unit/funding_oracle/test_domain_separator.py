"""`DOMAIN_SEPARATOR`."""

from eth_abi import encode
from eth_utils.crypto import keccak


def separator(name: str, chain_id: int, contract: str) -> bytes:
    kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [keccak(text=kind), keccak(text=name), keccak(text="1"), chain_id, contract],
        )
    )


def test_domain_separator__is_of_this_contract_on_this_chain(bench, evm) -> None:
    expected = separator("Perpool FundingOracle", evm.chain_id, bench.oracle.address)
    assert bench.oracle.DOMAIN_SEPARATOR() == expected
    assert bench.panel.domain.message(1, [], []).header == expected


def test_domain_separator__follows_the_chain_id_after_a_split(bench, evm, monkeypatch) -> None:
    before = bench.oracle.DOMAIN_SEPARATOR()
    monkeypatch.setattr(evm._block, "chain_id", 4_242)
    after = bench.oracle.DOMAIN_SEPARATOR()
    assert after != before
    assert after == separator("Perpool FundingOracle", 4_242, bench.oracle.address)
