"""The reporter: what is signed and posted, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from perpool.keeper.mailbox import Mailbox, MailboxError, Message
from perpool.keeper.mailbox.sqlite import SqliteMailbox
from perpool.keeper.operation.keeper import Keeper
from perpool.keeper.service import Service
from perpool.keeper.signing import SignerError
from perpool.keeper.statements import Statements, StatementsError
from perpool.reports import Signature, sign_report, unpack_rates
from tests.unit.perpool.keeper_roles.setting import NOW, TOKENS, WAD, Setting, leave


def test_reporter__signs_all_markets_at_the_minute(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 119)
    funding, price = setting.posted()
    assert funding.contract == setting.oracle.address
    assert funding.report.observed_at == NOW + 60
    # in the order of the markets' names
    assert funding.report.tokens == (TOKENS["ADA"], TOKENS["XRP"])
    assert unpack_rates(funding.report.values, 2) == [219_000_000, -109_500_000]
    assert price.contract == setting.feed.address
    assert price.report.values == (3 * WAD // 2,)


def test_reporter__once_a_minute(setting: Setting) -> None:
    reporter = setting.reporter(0)
    for second in (60, 61, 119):
        reporter.tick(NOW + second)
    assert setting.panel.asked == [NOW + 60]
    reporter.tick(NOW + 120)
    assert setting.panel.asked == [NOW + 60, NOW + 120]


def test_reporter__the_newest_two_times_are_posted(setting: Setting) -> None:
    reporter = setting.reporter(0)
    for minute in (1, 2, 3):
        reporter.tick(NOW + minute * 60)
    assert [each.report.observed_at for each in setting.posted()] == [NOW + 180] * 2 + [
        NOW + 120
    ] * 2


def test_reporter__a_restart_does_not_sign_something_else(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 60)
    before = setting.posted()
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    setting.reporter(0).tick(NOW + 70)
    assert setting.posted() == before
    # nor where the mailbox has lost what he said
    empty(setting)
    with capture_logs() as logs:
        setting.reporter(0).tick(NOW + 80)
    assert setting.posted() == before
    assert [each["event"] for each in logs] == ["reported before"]
    assert setting.panel.asked == [NOW + 60]
    # another has not said anything yet
    setting.reporter(0, 1).tick(NOW + 90)
    assert setting.posted()[:2] == before
    assert unpack_rates(setting.posted()[2].report.values, 2) != unpack_rates(
        before[0].report.values, 2
    )


def test_reporter__a_restart_without_the_file_goes_by_the_mailbox(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 60)
    before = setting.posted()
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    setting.statements = Statements(None, "test")
    setting.reporter(0).tick(NOW + 70)
    assert setting.posted() == before
    # it is in the new file too
    empty(setting)
    setting.reporter(0).tick(NOW + 80)
    assert setting.posted() == before


def test_reporter__old_reports_in_his_place_push_nothing_out(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has his password puts in again all that he ever signed."""
    setting.reporter(0).tick(NOW + 60)
    before = setting.posted()
    domain = setting.contracts.domain(setting.oracle.address)

    def signed(time: int) -> Message:
        report = sign_report(setting.keys[0], domain, time, before[0].report.tokens, [1])
        return Message(domain.chain_id, setting.oracle.address, report)

    kept: list[int] = []
    keep = setting.statements.keep

    def noted(reporter: str, observed_at: int, said: Any) -> Any:
        kept.append(observed_at)
        return keep(reporter, observed_at, said)

    monkeypatch.setattr(setting.statements, "keep", noted)
    monkeypatch.setattr("perpool.keeper.statements.KEPT", 1)
    old = [signed(NOW + 60 + each) for each in (-(10**6), -120, -61, 61, 120, 10**6)]
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    for _ in range(2):
        setting.mailbox.post(old)
        setting.reporter(0).tick(NOW + 70)
        assert (setting.posted(), kept) == (before, [])
    # the times beside it are his, where a clock was a little off
    setting.mailbox.post([signed(NOW), signed(NOW + 120)])
    setting.reporter(0).tick(NOW + 80)
    assert (setting.posted(), kept) == (before, [NOW, NOW + 120])


def test_reporter__two_processes_with_one_file_say_the_same(setting: Setting) -> None:
    first, second = setting.reporter(0), setting.reporter(0)
    first.observe(NOW + 60)
    of = setting.statements.of

    def overtaken(reporter: str, observed_at: int) -> object:
        """The other writes between his look and his writing."""
        said = of(reporter, observed_at)
        setting.statements.of = of  # type: ignore[method-assign]
        setting.panel.says["ADA"]["b"] = ("0.0009", "2")
        second.tick(NOW + 60)
        setting.panel.says["ADA"]["b"] = ("0.0002", "1.6")
        return said

    setting.statements.of = overtaken  # type: ignore[method-assign, assignment]
    first.tick(NOW + 60)
    assert first.values != second.values
    [ours], [theirs] = (list(each._posts.values()) for each in (first, second))
    assert ours == theirs


def test_reporter__what_cannot_be_written_down_is_not_signed(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting.statements = Statements(tmp_path / "statements.db", "test")
    reporter = setting.reporter(0)
    reporter.tick(NOW + 60)
    before = setting.posted()
    with setting.statements._database.transaction() as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON statement BEGIN SELECT x(); END")
    monkeypatch.setattr("perpool.keeper.reporter.sign_report", None)
    with pytest.raises(StatementsError, match=r"statements.db: .*"):
        reporter.tick(NOW + 120)
    monkeypatch.undo()
    assert setting.posted() == before
    with setting.statements._database.transaction() as database:
        database.execute("DROP TRIGGER full")
    reporter.tick(NOW + 130)
    assert len(setting.posted()) == 4


def empty(setting: Setting) -> None:
    """Have the mailbox lose everything."""
    with cast(SqliteMailbox, setting.mailbox)._database.transaction() as database:
        database.execute("DELETE FROM report")


def test_reporter__puts_up_again_what_is_gone(setting: Setting) -> None:
    reporter = setting.reporter(0, 1)
    reporter.tick(NOW + 60)
    before = setting.posted()
    for lose in (lambda: empty(setting), lambda: leave(setting, 0, "rubbish")):
        lose()
        assert setting.posted() != before
        reporter.tick(NOW + 62)
        assert setting.posted() == before
    assert setting.panel.asked == [NOW + 60]


def test_reporter__a_market_too_few_venues_know_of_is_left_open(setting: Setting) -> None:
    del setting.panel.says["XRP"]["a"]
    with capture_logs() as logs:
        setting.reporter(0).tick(NOW + 60)
    assert unpack_rates(setting.posted()[0].report.values, 2) == [219_000_000, None]
    said = [each for each in logs if each["event"] == "too few venues"]
    # XRP's price is not ours to say
    assert [(each["market"], each["missing"]) for each in said] == [("XRP", ["funding"])]


def test_keeper__unheard_is_what_is_ours_to_say(setting: Setting) -> None:
    reporter = setting.reporter(0)
    reporter.tick(NOW + 60)
    built = Keeper(Service([]), reporter, None, {})
    # XRP has no price here either, and its feed is not ours
    assert [each.market for each in reporter.values if each.price is None] == ["XRP"]
    assert built.unheard() == []
    del setting.panel.says["XRP"]["a"]
    reporter.tick(NOW + 120)
    assert built.unheard() == ["XRP"]


def test_reporter__logs_what_changes(setting: Setting) -> None:
    reporter = setting.reporter(0)

    def events(minute: int) -> list[str]:
        with capture_logs() as logs:
            reporter.tick(NOW + minute * 60)
        return [each["event"] for each in logs]

    assert events(1) == ["venue left out", "reported"]
    assert events(2) == ["reported"]
    del setting.panel.says["XRP"]["a"]
    assert events(3) == ["too few venues", "reported"]
    assert events(4) == ["reported"]
    setting.panel.says["XRP"]["a"] = ("0.0001", None)
    setting.panel.down = ()
    assert events(5) == ["venue is back", "enough venues again", "reported"]


def test_reporter__nothing_made_up(setting: Setting) -> None:
    reporter = setting.reporter(0, min_venues=4)
    reporter.tick(NOW + 60)
    assert setting.posted() == []
    assert reporter.metrics.unheard.labels("ADA")._value.get() == 1


def test_reporter__mailbox_down_signs_nothing(setting: Setting) -> None:
    class Down:
        def read(self, reporter: str, seen: str | None = None) -> None:
            raise MailboxError("down")

    reporter = setting.reporter(0)
    reporter.mailbox = Down()  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        reporter.tick(NOW + 60)
    assert setting.panel.asked == []


class Failing:
    """A mailbox that takes so many posts, and then no more."""

    def __init__(self, mailbox: Mailbox, taken: int) -> None:
        self.mailbox = mailbox
        self.left = taken

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(reporter, seen)

    def post(self, messages: Sequence[Message]) -> None:
        if not self.left:
            raise MailboxError("full")
        self.left -= 1
        self.mailbox.post(messages)


def test_reporter__what_could_not_be_posted_is_not_signed_anew(setting: Setting) -> None:
    reporter = setting.reporter(0)
    reporter.mailbox = mailbox = Failing(setting.mailbox, 0)  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        reporter.tick(NOW + 60)
    # a new observation would be another one, and he would contradict himself
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    mailbox.left = 9
    reporter.tick(NOW + 72)
    funding, price = setting.posted()
    assert unpack_rates(funding.report.values, 2) == [219_000_000, -109_500_000]
    assert price.report.values == (3 * WAD // 2,)
    assert setting.panel.asked == [NOW + 60]


def test_reporter__one_signer_down_does_not_hold_up_the_others(setting: Setting) -> None:
    class Away:
        address = setting.keys[1].address
        away = True

        def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
            if self.away:
                raise SignerError("the signer does not answer")
            return setting.keys[1].sign_typed_data(full_message=full_message)

    signer = Away()
    reporter = setting.reporter(0, 2)
    reporter.signers.insert(1, signer)
    with pytest.raises(SignerError):
        reporter.tick(NOW + 60)
    reporters = [each.report.reporter for each in setting.posted()]
    assert reporters == [setting.keys[n].address for n in (0, 0, 2, 2)]
    signer.away = False
    reporter.tick(NOW + 72)
    assert [each.report.reporter for each in setting.posted()[2:4]] == [signer.address] * 2
    # the venues were not asked again for it
    assert setting.panel.asked == [NOW + 60]


def test_reporter__a_forgery_does_not_silence_him(setting: Setting) -> None:
    tokens = list(TOKENS.values())
    domain = setting.contracts.domain(setting.oracle.address)
    forged = sign_report(setting.keys[3], domain, NOW + 60, tokens, [1])
    forged = replace(forged, reporter=setting.keys[0].address)
    # one of his for another contract, as where two deployments have one reporter
    other = setting.contracts.domain(setting.keys[3].address)
    elsewhere = sign_report(setting.keys[0], other, NOW + 60, tokens[:1], [1])
    lines = [
        Message(domain.chain_id, domain.contract, forged).to_json(),
        Message(other.chain_id, other.contract, elsewhere).to_json(),
    ]
    leave(setting, 0, *lines, "rubbish")
    setting.reporter(0).tick(NOW + 60)
    funding, price = setting.posted()
    assert unpack_rates(funding.report.values, 2) == [219_000_000, -109_500_000]
    assert price.contract == setting.feed.address


def test_reporter__a_clock_that_was_ahead(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 600)
    ahead = setting.posted()
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    reporter = setting.reporter(0)
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for now in range(NOW + 60, NOW + 721, 60):
        reporter.tick(now)
        posted = setting.posted()
        assert {each.report.observed_at for each in posted} == {
            now,
            *[now - 60] * (len(posted) > 2),
        }
        seen |= {(each.report.observed_at, each.report.values) for each in posted}
    # one of funding and one of price for each time, and what he said of the one ahead stands
    assert Counter(time for time, _ in seen) == dict.fromkeys(range(NOW + 60, NOW + 721, 60), 2)
    assert {(NOW + 600, each.report.values) for each in ahead} <= seen
