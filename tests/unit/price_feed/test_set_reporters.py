"""`set_reporters`, which the feed has from the same module as the funding oracle."""

from perpool.evm import reverts


def test_set_reporters__not_the_owner(blank, evm) -> None:
    with reverts("ownable: caller is not the owner"):
        blank.feed.set_reporters(blank.panel.addresses, 3, sender=blank.anyone)


def test_set_reporters__succeeds(blank, evm) -> None:
    members = blank.panel.addresses[:3]
    blank.feed.set_reporters(members, 3, sender=blank.owner)
    assert (blank.feed.reporters(), blank.feed.quorum()) == (members, 3)
    assert blank.feed.is_reporter(members[0])
    assert not blank.feed.is_reporter(blank.panel.addresses[3])


def test_accept_ownership__succeeds(blank, evm) -> None:
    blank.feed.transfer_ownership(blank.anyone, sender=blank.owner)
    blank.feed.accept_ownership(sender=blank.anyone)
    assert blank.feed.owner() == blank.anyone.address
    assert int(blank.feed.pending_owner(), 16) == 0
