"""The lease: one holder, taken over in time, lost when it is lost. SQLite and a real Redis."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from perpool.keeper.mailbox import LONGEST_NOTE, Lease, LeaseLost, MailboxError, open_lease
from perpool.keeper.mailbox.sqlite import SqliteLease, uptime_ms
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
SHORT = timedelta(seconds=1)
LONG = timedelta(seconds=60)

Opener = Callable[..., Lease]


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/lease.db"
    else:
        with RedisServer() as server:
            yield server.url


@pytest.fixture
def lease_of(url: str) -> Iterator[Opener]:
    """Opens the lease as somebody, for a long time unless told."""
    opened = []

    def open_as(holder: str, ttl: timedelta = LONG, name: str = "funding") -> Lease:
        opened.append(open_lease(url, name, holder, ttl))
        return opened[-1]

    yield open_as
    for lease in opened:
        lease.close()


def seconds_until_held(lease: Lease) -> float:
    """Polls as a standby does."""
    before = time.monotonic()
    while not lease.hold():
        assert time.monotonic() - before < 10
        time.sleep(0.005)
    return time.monotonic() - before


# -- who holds it --


def test_hold__free(lease_of: Opener) -> None:
    lease = lease_of("a")
    assert lease.state() is None
    assert lease.hold()
    state = lease.state()
    assert state is not None
    assert state.holder == "a"
    assert abs(state.expires_at - time.time() - 60) <= 2


def test_hold__held_by_another(lease_of: Opener) -> None:
    active, standby = lease_of("a"), lease_of("b")
    assert active.hold()
    assert not standby.hold()
    assert active.hold()
    state = standby.state()
    assert state is not None
    assert state.holder == "a"


def test_hold__same_name_is_not_the_same_holder(lease_of: Opener) -> None:
    """Two that were configured alike do not both act."""
    one, other = lease_of("a"), lease_of("a")
    assert one.hold()
    assert not other.hold()
    with pytest.raises(LeaseLost):
        other.announce("x")
    other.release()
    assert one.hold()


def test_hold__each_name_by_itself(lease_of: Opener) -> None:
    assert lease_of("a", name="1/funding").hold()
    assert lease_of("b", name="1/liquidation").hold()
    assert lease_of("c", name="1/funding:note").hold()
    assert not lease_of("d", name="1/funding").hold()


def test_hold__renewed(lease_of: Opener) -> None:
    """The holder stays it for as long as it asks in time."""
    active, standby = lease_of("a", SHORT), lease_of("b", SHORT)
    end = time.monotonic() + 2.5 * SHORT.total_seconds()
    while time.monotonic() < end:
        assert active.hold()
        assert not standby.hold()
        time.sleep(0.05)


def test_hold__taken_over_within_one_ttl(lease_of: Opener) -> None:
    active, standby = lease_of("a", SHORT), lease_of("b", SHORT)
    assert active.hold()
    waited = seconds_until_held(standby)
    assert 0.5 < waited < 2
    assert not active.hold()


HOLDER = """
import sys, time
from datetime import timedelta
from perpool.keeper.mailbox import open_lease

lease = open_lease(sys.argv[1], "funding", "a", timedelta(seconds=2))
lease.hold()
lease.announce("in flight")
while True:
    print(lease.hold(), flush=True)
    time.sleep(0.05)
"""


def test_hold__holder_killed(url: str, lease_of: Opener) -> None:
    """A standby waits while the other process renews, and takes over when it is killed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    standby = lease_of("b", timedelta(seconds=2))
    for _ in range(50):
        assert holder.stdout.readline() == "True\n"
        assert not standby.hold()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert seconds_until_held(standby) < 3
    assert standby.note() == "in flight"


def test_hold__many_at_once(url: str) -> None:
    """However they race, one gets it; then, once it is over, again one."""
    leases = [open_lease(url, "funding", str(number), SHORT) for number in range(6)]
    start = threading.Barrier(len(leases), timeout=30)
    held: list[list[bool]] = [[] for _ in leases]

    def race(number: int) -> None:
        for _ in range(2):
            start.wait()
            held[number].append(leases[number].hold())
            start.wait()
            time.sleep(SHORT.total_seconds() + 0.1)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(len(leases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(turn) for turn in zip(*held, strict=True)] == [1, 1]
    for lease in leases:
        lease.close()


# -- giving it up and losing it --


def test_release__free_at_once(lease_of: Opener) -> None:
    active, standby = lease_of("a"), lease_of("b")
    assert active.hold()
    active.release()
    assert active.state() is None
    assert standby.hold()
    assert not active.hold()


def test_release__not_ours(lease_of: Opener) -> None:
    active, standby = lease_of("a"), lease_of("b")
    standby.release()
    assert active.hold()
    standby.release()
    assert active.hold()
    assert not standby.hold()


def test_release__then_held_again(lease_of: Opener) -> None:
    lease = lease_of("a")
    assert lease.hold()
    lease.release()
    lease.release()
    assert lease.hold()
    lease.announce("x")


def test_hold__lost_while_held(lease_of: Opener) -> None:
    """He who was away too long learns it from all he does, and harms nothing."""
    slow, other = lease_of("a", SHORT), lease_of("b")
    assert slow.hold()
    slow.announce("of a")
    seconds_until_held(other)
    other.announce("of b")
    with pytest.raises(LeaseLost, match="the lease funding is not held by a: hold it first"):
        slow.announce("late")
    slow.release()
    assert not slow.hold()
    assert other.note() == "of b"
    assert other.hold()


# -- the announcement --


def test_announce__outlives_the_holder(lease_of: Opener) -> None:
    active, standby = lease_of("a"), lease_of("b")
    assert active.hold()
    assert standby.note() is None
    active.announce("first")
    active.announce("second ♞ \n\0")
    assert standby.note() == "second ♞ \n\0"
    assert active.hold()
    active.release()
    assert standby.note() == "second ♞ \n\0"
    assert standby.hold()
    assert standby.note() == "second ♞ \n\0"
    standby.announce("")
    assert active.note() == ""


def test_announce__not_held(lease_of: Opener) -> None:
    active, standby = lease_of("a"), lease_of("b")
    with pytest.raises(LeaseLost):
        active.announce("never held")
    assert active.hold()
    active.announce("x")
    with pytest.raises(LeaseLost):
        standby.announce("of another")
    active.release()
    with pytest.raises(LeaseLost):
        active.announce("released")
    assert standby.note() == "x"


def test_announce__run_out(lease_of: Opener) -> None:
    """Not even when nobody has taken it over yet."""
    lease = lease_of("a", SHORT)
    assert lease.hold()
    time.sleep(SHORT.total_seconds() + 0.05)
    with pytest.raises(LeaseLost):
        lease.announce("x")
    assert lease.state() is None
    assert lease.note() is None
    assert lease.hold()
    lease.announce("x")


def test_announce__size(lease_of: Opener) -> None:
    lease = lease_of("a")
    assert lease.hold()
    lease.announce("x" * LONGEST_NOTE)
    with pytest.raises(MailboxError, match="at most 1048576 bytes"):
        lease.announce("é" * (LONGEST_NOTE // 2) + "x")
    assert lease.note() == "x" * LONGEST_NOTE


# -- clocks --


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_hold__clock_set(lease_of: Opener, jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting a machine's clock neither ends a lease nor prolongs it."""
    active, standby = lease_of("a", SHORT), lease_of("b", SHORT)
    assert active.hold()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    assert not standby.hold()
    assert 0.5 < seconds_until_held(standby) < 2


class Machine:
    """The uptime of a machine that can be started anew."""

    def __init__(self) -> None:
        self.uptime = 5_000_000

    def __call__(self) -> int:
        return self.uptime


def sqlite_leases(path: Path, machine: Machine) -> list[SqliteLease]:
    return [SqliteLease(str(path), "funding", each, LONG, clock=machine) for each in "ab"]


def test_sqlite_lease__to_the_millisecond(tmp_path: Path) -> None:
    machine = Machine()
    active, standby = sqlite_leases(tmp_path / "lease.db", machine)
    assert active.hold()
    machine.uptime += 59_999
    assert not standby.hold()
    assert standby.state() is not None
    active.announce("x")
    machine.uptime += 1
    assert standby.state() is None
    with pytest.raises(LeaseLost):
        active.announce("y")
    assert standby.hold()


@pytest.mark.parametrize("uptime", [0, 1_000, 4_999_999])
def test_sqlite_lease__machine_started_anew(tmp_path: Path, uptime: int) -> None:
    """A lease from before is over; were it mistaken for a valid one, then for one ttl."""
    machine = Machine()
    active, standby = sqlite_leases(tmp_path / "lease.db", machine)
    assert active.hold()
    machine.uptime = uptime
    assert standby.hold()
    assert not active.hold()


def test_uptime_ms__of_all_processes() -> None:
    program = "from perpool.keeper.mailbox.sqlite import uptime_ms; print(uptime_ms())"
    before = uptime_ms()
    told = int(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT))
    assert before < told < uptime_ms()


# -- Redis --


def test_redis_lease__server_restarted_with_its_data() -> None:
    with RedisServer() as server:
        active, standby = (open_lease(server.url, "funding", each, LONG) for each in "ab")
        assert active.hold()
        active.announce("x")
        server.kill()
        server.start()
        assert not standby.hold()
        active.announce("y")
        assert active.hold()
        assert standby.note() == "y"


@pytest.mark.parametrize("first", ["holder", "standby"])
def test_redis_lease__server_restarted_without_its_data(first: str) -> None:
    """Whoever asks first has it, and the other knows as soon as he asks."""
    with RedisServer() as server:
        leases = [open_lease(server.url, "funding", each, LONG) for each in ("holder", "standby")]
        assert leases[0].hold()
        leases[0].announce("x")
        server.kill()
        server.forget()
        server.start()
        with pytest.raises(LeaseLost):
            leases[0].announce("y")
        assert leases[0].note() is None
        if first == "standby":
            leases.reverse()
        assert [lease.hold() for lease in leases] == [True, False]
        leases[0].announce("z")
        assert leases[1].note() == "z"


def test_redis_lease__server_away() -> None:
    """Nobody is told that a lease is his, within a bounded time; then it works again."""
    with RedisServer() as server:
        lease = open_lease(server.url, "funding", "a", LONG)
        assert lease.hold()
        server.kill()
        before = time.monotonic()
        with pytest.raises(MailboxError, match=f"127.0.0.1:{server.port}/0: it cannot be reached"):
            lease.hold()
        assert time.monotonic() - before < 8
        server.start()
        assert lease.hold()


def test_redis_lease__answer_lost() -> None:
    """The server gave it to us, and we did not hear: it is ours all the same."""
    with RedisServer() as server:
        lease = open_lease(server.url, "funding", "a", LONG)
        token = lease._token  # type: ignore[attr-defined]
        server.client().set("perpool:lease:funding", token, px=60_000)
        assert lease.hold()


# -- texts --


def test_open_lease__repr(tmp_path: Path) -> None:
    lease = open_lease("redis://user:secret@host:1/2", "funding", "a", LONG)
    assert repr(lease) == "<RedisLease funding for a at redis://host:1/2>"
    lease = open_lease(str(tmp_path / "x.db"), "funding", "a", LONG)
    assert repr(lease) == f"<SqliteLease funding for a in {tmp_path}/x.db>"
    lease.close()


def test_open_lease__no_time() -> None:
    for ttl in (timedelta(0), timedelta(seconds=-1)):
        with pytest.raises(MailboxError, match="would never be ours: give it seconds"):
            open_lease("sqlite://", "funding", "a", ttl)


def test_open_lease__another_scheme() -> None:
    with pytest.raises(MailboxError, match="use sqlite://"):
        open_lease("etcd://:secret@host", "funding", "a", LONG)
