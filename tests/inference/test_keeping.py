"""Released versions are ready before somebody asks, come back when they die, and keep no thread of others waiting."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference import keeping, runners, signals
from inference.modeld.supervisor import CRASHES, Seat
from inference.runners import ModelUnavailable, crashing, errors
from inference.runners.turnstile import Turnstile
from portal.api import problems
from registry.errors import Unavailable
from tests import factories, trained
from tests.inference.conftest import MakeSpec
from tests.live import wait_until
from tests.modeld import Supervisor
from tests.processes import wait_until_dead


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Supervisor]:
    running = Supervisor(tmp_path / "s.sock", tmp_path, "--runners", "2", "--idle", "0.3").start()
    yield running
    running.stop()


def pids(supervisor: Supervisor, key: str) -> list[int]:
    return [each["pid"] for each in supervisor.client.status()["runners"] if each["key"] == key]


@pytest.mark.slow
def test_kept_versions_are_up_unasked_and_come_back(pool: Supervisor, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    pool.client.keep([spec])
    wait_until(lambda: len(pids(pool, spec.key)) == 2, 60)
    before = pids(pool, spec.key)

    os.kill(before[0], signal.SIGKILL)
    wait_until_dead(before[0])

    wait_until(lambda: len(set(pids(pool, spec.key)) - {before[0]}) == 2, 60)
    assert before[1] in pids(pool, spec.key)  # not stopped for idleness either


@pytest.mark.slow
def test_versions_that_are_no_longer_kept_end_when_they_are_drained(
    pool: Supervisor, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_spec(trained.logistic()), make_spec(trained.regression())
    pool.client.keep([old])
    wait_until(lambda: len(pids(pool, old.key)) == 2, 60)
    conversation = pool.client.connect(old)

    pool.client.keep([new])
    wait_until(lambda: len(pids(pool, new.key)) == 2, 60)

    assert conversation.ask(old, trained.table(3), 10).labels  # it may still end what it began
    conversation.close()


@pytest.mark.slow
def test_two_who_ask_at_once_get_a_runner_each(pool: Supervisor, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    first = pool.client.connect(spec)
    second = pool.client.connect(spec, busy=[first.generation])

    assert first.generation != second.generation
    assert first.copies == second.copies == 2
    for each in (first, second):
        each.close()


def test_the_fifth_death_within_a_minute_lets_it_rest() -> None:
    seat = Seat()
    for _death in range(CRASHES - 1):
        seat.died()
        assert seat.rest() == 0
    assert seat.back_off() > 0.5

    seat.died()

    assert 59 < seat.rest() <= 60


@pytest.mark.django_db
def test_what_is_kept_is_what_is_released_and_needs_a_runner() -> None:
    first, second = factories.create_release(), factories.create_release()
    second.version.engine = "compiled"
    second.version.save(update_fields=["engine"])
    factories.create_version()

    assert keeping.released() == [first.version]


@pytest.mark.django_db
def test_a_release_is_not_hindered_by_a_supervisor_that_is_away(settings: Any, tmp_path: Path) -> None:
    settings.MODELGATE_MODELD_SOCKET = str(tmp_path / "nobody.sock")
    factories.create_release()

    keeping.warm_up()
    with pytest.raises(ModelUnavailable):
        keeping.keep_released()


# --- the door ---


def test_who_finds_a_slow_model_full_is_sent_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.runners.turnstile.MOMENT", 0.0)
    door = Turnstile()
    with door.pass_through("slow", 1):
        with pytest.raises(ModelUnavailable) as error, door.pass_through("slow", 1):
            raise AssertionError("let in")
        with door.pass_through("other", 1):
            pass

    assert (error.value.code, error.value.status) == ("model_busy", 503)
    assert error.value.retry_after == errors.BUSY_SECONDS
    with door.pass_through("slow", 1):
        pass


def test_who_finds_a_quick_model_full_waits_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.runners.turnstile.MOMENT", 60.0)
    door, inside, through = Turnstile(), threading.Event(), threading.Event()

    def second() -> None:
        inside.set()
        with door.pass_through("quick", 1):
            through.set()

    thread = threading.Thread(target=second)
    with door.pass_through("quick", 1):
        thread.start()
        assert inside.wait(20)
        assert not through.is_set()
    thread.join(20)

    assert through.is_set()


# --- who is told ---


@pytest.mark.django_db
def test_a_crash_loop_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    version = factories.create_version()
    told: list[int] = []

    def listen(version_id: int, **_signal: Any) -> None:
        told.append(version_id)

    def rests(*_asked: Any) -> None:
        raise errors.refused(errors.CRASH_LOOP, "rests")

    monkeypatch.setattr(runners.Client, "predict", rests)
    signals.model_crashing.connect(listen)
    try:
        for _call in range(3):
            with pytest.raises(ModelUnavailable) as error:
                runners.predict(version, trained.table(1))
    finally:
        signals.model_crashing.disconnect(listen)
        crashing._told.clear()

    assert told == [version.pk]
    assert error.value.retry_after == errors.REST_SECONDS


def test_the_answer_says_when_to_try_again() -> None:
    answer = problems.exception_handler(Unavailable("busy", retry_after=7), {})

    assert answer is not None
    assert answer["Retry-After"] == "7"
