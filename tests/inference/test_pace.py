"""Taking in the log leaves room for those who write because somebody clicked."""

from types import SimpleNamespace

import pytest

from inference import log, pace, segments
from inference.models import Prediction
from inference.predictions import predict
from registry.models import Release, User
from tests import factories
from tests.inference import answers


class Clock:
    """A time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


def spend(reader: pace.Pace, clock: Clock, seconds: float) -> None:
    with reader.timed():
        clock.now += seconds


def on_sqlite(*, is_waited_for: bool = False) -> pace.Pace:
    return pace.Pace(is_waited_for, not is_waited_for, pace.FIRST_BYTES, 0.0)


def test_a_long_transaction_is_followed_by_a_smaller_one(clock: Clock) -> None:
    reader = on_sqlite()

    spend(reader, clock, 2 * pace.AIM)
    assert reader.bytes == pace.FIRST_BYTES // 2
    spend(reader, clock, 100 * pace.AIM)
    spend(reader, clock, 100 * pace.AIM)
    assert reader.bytes == pace.LEAST_BYTES
    spend(reader, clock, pace.AIM / 100)
    assert reader.bytes > pace.LEAST_BYTES


def test_it_pauses_for_longer_than_sqlite_sleeps_but_not_after_little(clock: Clock) -> None:
    reader = on_sqlite()

    spend(reader, clock, 0.01)
    reader.make_way()
    assert clock.slept == 0
    spend(reader, clock, pace.AIM)
    reader.make_way()
    assert clock.slept == pace.PAUSE > 0.1
    reader.make_way()
    assert clock.slept == pace.PAUSE


def test_whoever_is_waited_for_does_not_pause(clock: Clock) -> None:
    reader = on_sqlite(is_waited_for=True)

    spend(reader, clock, 10 * pace.LONGEST)
    reader.make_way()

    assert (clock.slept, reader.is_over()) == (0, False)


def test_the_tick_leaves_a_long_log_to_the_next(clock: Clock) -> None:
    reader = on_sqlite()
    assert not reader.is_over()

    clock.now += pace.LONGEST + 1

    assert reader.is_over()


@pytest.fixture
def release(db: None, monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


def test_between_its_transactions_it_holds_nothing(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every pause another reader gets the turn: one that somebody waits for takes over."""
    rows = answers.rows(2)
    for _call in range(6):
        predict(release.model, rows, actor=business, channel="api")
    turns: list[bool] = []

    def look(_seconds: float) -> None:
        with segments.turn(log.folder() / "ingest.lock", wait=False) as is_ours:
            turns.append(is_ours)

    clock = Clock()
    monkeypatch.setattr(clock, "sleep", look)
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(pace, "connection", SimpleNamespace(vendor="sqlite"))
    for name in ("FIRST_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(pace, name, 100)
    monkeypatch.setattr(pace, "AT_A_STRETCH", -1)

    assert log.ingest() == 6

    assert len(turns) == 6
    assert all(turns)
    assert Prediction.objects.count() == 12
