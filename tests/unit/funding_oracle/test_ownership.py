"""Ownership of the oracle, in two steps and never given up."""

from perpool.evm import reverts


def test_transfer_ownership__not_the_owner(bench, evm) -> None:
    with reverts("ownable: caller is not the owner"):
        bench.oracle.transfer_ownership(bench.anyone, sender=bench.anyone)


def test_accept_ownership__not_the_one_it_was_offered_to(bench, evm) -> None:
    bench.oracle.transfer_ownership(bench.anyone, sender=bench.owner)
    with reverts("ownable_2step: caller is not the new owner"):
        bench.oracle.accept_ownership(sender=bench.owner)


def test_accept_ownership__succeeds(bench, evm) -> None:
    bench.oracle.transfer_ownership(bench.anyone, sender=bench.owner)
    assert bench.oracle.owner() == bench.owner.address
    assert bench.oracle.pending_owner() == bench.anyone.address
    bench.oracle.accept_ownership(sender=bench.anyone)
    assert bench.oracle.owner() == bench.anyone.address
    with reverts("ownable: caller is not the owner"):
        bench.oracle.set_reporters(bench.panel.addresses, 3, sender=bench.owner)


def test_renounce_ownership__is_not_there(bench) -> None:
    names = {entry.get("name") for entry in bench.oracle.artifact.abi}
    assert {"owner", "pending_owner", "transfer_ownership", "accept_ownership"} <= names
    assert "renounce_ownership" not in names
