"""What reporters have undertaken to sign: one statement for a moment, on disk before it counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perpool.keeper import statements as module
from perpool.keeper.model import Subject
from perpool.keeper.statements import AGE, KEPT, Statements, StatementsError
from perpool.keeper.transactions.journal import JournalError

ROOT = Path(__file__).parents[3]
TIME = 1_700_000_040
SUBJECT = Subject("0xOracle", TIME, ("0xA", "0xB"))
PRICE = Subject("0xFeed", TIME, ("0xA",))
SAID = {SUBJECT: (2**255 + 1,), PRICE: (10**18,)}
OTHER = {SUBJECT: (7,)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "statements.db"


def test_keep__the_first_stands(path: Path) -> None:
    statements = Statements(path, "a")
    assert statements.of("0xR", TIME) is None
    assert statements.keep("0xR", TIME, SAID) == SAID
    assert statements.keep("0xR", TIME, OTHER) == SAID
    assert statements.of("0xR", TIME) == SAID
    # whoever opens it next
    statements.close()
    for each in (statements, Statements(path, "a")):
        assert each.keep("0xR", TIME, OTHER) == SAID
        each.close()


def test_keep__each_reporter_time_and_deployment_for_itself(path: Path) -> None:
    statements, elsewhere = Statements(path, "a"), Statements(path, "b")
    statements.keep("0xR", TIME, SAID)
    assert statements.keep("0xS", TIME, OTHER) == OTHER
    later = {Subject("0xOracle", TIME + 60, ("0xA",)): (1,)}
    assert statements.keep("0xR", TIME + 60, later) == later
    assert elsewhere.keep("0xR", TIME, OTHER) == OTHER
    assert statements.of("0xR", TIME) == SAID
    statements.close()
    elsewhere.close()


def say(statements: Statements, *times: int) -> None:
    for time in times:
        for reporter in ("0xR", "0xS"):
            statements.keep(reporter, time, {Subject("0xOracle", time, ("0xA",)): (1,)})


def test_keep__nothing_goes_that_may_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others are written after it, older or newer."""
    monkeypatch.setattr(module, "KEPT", 3)
    assert AGE > 86_400
    statements = Statements(path, "a")
    others = [TIME + AGE, *range(TIME - 600, TIME, 60), *range(TIME + 60, TIME + 600, 60)]
    say(statements, TIME, *others)
    assert all(statements.of("0xR", each) for each in (TIME, *others))
    statements.close()


def test_keep__what_is_old_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    statements = Statements(path, "a")
    times = [TIME, TIME + 60, TIME + AGE, TIME + AGE + 60]
    for time, left in zip(
        times, ([True], [True] * 2, [True] * 3, [False] + [True] * 3), strict=True
    ):
        say(statements, time)
        assert [statements.of("0xR", each) is not None for each in times[: len(left)]] == left
    # of a time that is over there is a statement still, once it is asked for
    say(statements, TIME)
    assert statements.of("0xR", TIME) is not None
    statements.close()


def test_keep__a_clock_that_is_ahead_takes_nothing_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as fewer than `KEPT` are written."""
    assert KEPT == 240
    monkeypatch.setattr(module, "KEPT", 3)
    statements = Statements(path, "a")
    ahead = TIME + 10**9
    say(statements, TIME, ahead, ahead + 60)
    assert statements.of("0xR", TIME) is not None
    say(statements, ahead + 120)
    assert statements.of("0xR", TIME) is None
    statements.close()


def test_open__synced(path: Path) -> None:
    statements = Statements(path, "a")
    with statements._database.transaction() as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    statements.close()


POSTER = """
import os, sys
from pathlib import Path
from perpool.keeper.statements import Statements
from tests.unit.perpool.test_keeper_statements import SUBJECT, TIME

statements = Statements(Path(sys.argv[1]), "a")
print(statements.keep("0xR", TIME, {SUBJECT: (int(sys.argv[2]),)})[SUBJECT][0], flush=True)
os.kill(os.getpid(), 9)
"""


def test_keep__two_processes_at_once_say_one_thing(path: Path) -> None:
    """And it is there when both are killed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", POSTER, str(path), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert said in (["1", "1"], ["2", "2"])
    statements = Statements(path, "a")
    assert statements.of("0xR", TIME) == {SUBJECT: (int(said[0]),)}
    statements.close()


def test_open__a_file_that_is_none(path: Path) -> None:
    path.write_text("no database" * 1_000)
    with pytest.raises(StatementsError, match=r"statements.db: it is no database: move it away"):
        Statements(path, "a")
    # health and alerts treat it as they treat the journal
    assert issubclass(StatementsError, JournalError)


def test_open__in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    statements = Statements(None, "a")
    assert statements.keep("0xR", TIME, SAID) == SAID
    assert statements.of("0xR", TIME) == SAID
    assert list(tmp_path.iterdir()) == []
