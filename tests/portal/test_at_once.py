"""What the event loop answers by itself is what a thread would answer, and it never waits for anything."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from hypothesis import given

from inference import engines
from portal.api import authentication
from portal.short_path import ShortPath
from registry import changes
from registry.actions import releases
from registry.models import ApiKey, AuditEvent, RegisteredModel, Role, RoleGrant
from tests.factories import create_user
from tests.inference import answers
from tests.inference.answers import row
from tests.portal import test_short_path as short
from tests.portal.test_short_path import Door, ask, environ_of, plain, records

pytestmark = pytest.mark.django_db(transaction=True)
_world = short._world

Answered = tuple[str, list[tuple[str, str]], bytes]


@pytest.fixture(autouse=True)
def _open_forms(monkeypatch: pytest.MonkeyPatch, _world: None) -> None:
    """Every version has a form that is open; it answers as the runner of these tests does. Marks are read each time."""
    monkeypatch.setattr(changes, "SHARED_BY_LOOP", -1.0)
    monkeypatch.setattr(changes, "LONGEST", 3600.0)
    monkeypatch.setattr(
        engines, "predict_at_once", lambda version, checked: answers.classify(version, checked.table)
    )


def in_a_thread(**question: Any) -> Answered:
    door = Door()
    return ask(ShortPath(door.django), door, environ_of(**question))


def at_once(**question: Any) -> Answered | None:
    response = ShortPath(Door().django).at_once(environ_of(**question))
    return response and (response.status, sorted(response.headers), response.body)


def test_it_answers_what_is_remembered_and_writes_down_the_same() -> None:
    question = {"body": plain(row(), row(city="Agra", income=1e-9))}
    assert at_once(**question) is None, "nobody has asked yet who calls and what answers"
    assert records() == []

    asked = in_a_thread(**question)
    again = at_once(**question)

    assert again == asked
    assert again is not None and again[0] == "200 OK"
    assert records()[0] == records()[1]


@short.LIMITED
@given(key=short.keys, slug=short.slugs, body=short.bodies)
def test_it_answers_the_same_to_anything_or_does_nothing(key: str, slug: str, body: bytes) -> None:
    question = {"path": f"/api/v1/models/{slug}/predict/", "body": body, "key": key}
    cache.clear()
    asked = in_a_thread(**question)
    calls, events = records(), AuditEvent.objects.count()

    again = at_once(**question)

    assert AuditEvent.objects.count() == events
    if again is None:
        assert records() == calls
    else:
        assert again == asked
        assert asked[0].startswith("200")
        assert records() == [*calls, calls[-1]]


def revoke() -> None:
    ApiKey.objects.update(revoked_at=timezone.now())


def take_roles() -> None:
    RoleGrant.objects.filter(role=Role.INTEGRATOR).delete()


def roll_back() -> None:
    model = RegisteredModel.objects.get(slug="loans")
    releases.roll_back(model, reason="Alarms from the clinic", actor=create_user(roles=[Role.OPERATOR]))


@pytest.mark.parametrize("change", [revoke, take_roles, roll_back])
def test_it_forgets_with_everybody_else(change: Callable[[], Any]) -> None:
    in_a_thread(body=plain(row()))
    assert at_once(body=plain(row())) is not None

    change()

    assert at_once(body=plain(row())) is None
    if change is roll_back:
        in_a_thread(body=plain(row()))
        found = at_once(body=plain(row()))
        assert found is not None
        assert json.loads(found[2])["version"] == 1


def test_a_mark_from_the_network_is_remembered_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    monkeypatch.setattr(changes, "_mark_at_once", lambda: None)

    assert at_once(body=plain(row())) is None


def test_what_is_wanted_is_renewed_beside_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    monkeypatch.setattr(changes, "RENEWED", -1.0)
    asked_at = {name: fact.asked_at for name, fact in changes._known._facts.items()}
    assert at_once(body=plain(row())) is not None

    changes.renewed()

    assert all(fact.asked_at > asked_at[name] for name, fact in changes._known._facts.items())
    assert not changes._known.is_wanted
    assert at_once(body=plain(row())) is not None
    assert changes._known.is_wanted


def test_what_is_too_old_is_asked_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    monkeypatch.setattr(changes, "LONGEST", -1.0)

    assert at_once(body=plain(row())) is None


def test_the_loop_reads_the_mark_once_for_what_comes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    assert at_once(body=plain(row())) is not None
    monkeypatch.setattr(changes, "SHARED_BY_LOOP", 3600.0)
    assert at_once(body=plain(row())) is not None
    revoke()
    assert at_once(body=plain(row())) is not None, "within that time it is not seen"

    monkeypatch.setattr(changes, "SHARED_BY_LOOP", -1.0)

    assert at_once(body=plain(row())) is None


def test_very_many_rows_are_for_a_thread() -> None:
    some, many = (plain(*[row()] * count) for count in (500, 501))
    in_a_thread(body=some)

    assert at_once(body=some) is not None
    assert at_once(body=many) is None


def fsync(settings: Any) -> None:
    settings.MODELGATE_LOG_FSYNC = True


def give_a_rate(_settings: Any) -> None:
    ApiKey.objects.update(rate=1000)


@pytest.mark.parametrize("hindrance", [fsync, give_a_rate])
def test_what_has_to_wait_is_for_a_thread(hindrance: Callable[[Any], None], settings: Any) -> None:
    hindrance(settings)
    asked = in_a_thread(body=plain(row()))

    assert asked[0] == "200 OK"
    assert at_once(body=plain(row())) is None
    assert len(records()) == 1


def test_the_use_of_a_key_is_written_down_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    assert at_once(body=plain(row())) is not None
    monkeypatch.setattr(authentication, "USED_EVERY", timedelta(0))

    assert at_once(body=plain(row())) is None


def test_a_log_that_takes_nothing_is_told_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_thread(body=plain(row()))
    monkeypatch.setattr("inference.segments.Writer.append", _full)

    assert at_once(body=plain(row())) is None
    assert in_a_thread(body=plain(row()))[0].startswith("503")


def _full(*_given: Any) -> None:
    raise OSError(28, "No space left on device")
