"""What answered at a time that has passed, approved by whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from registry import audit
from registry.audit import Action
from registry.history import Interval, answered_at, intervals, latest
from registry.models import RegisteredModel, Release, User
from tests.api import ok, problem, program
from tests.factories import create_approval, create_model, create_release, create_version

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def model(author: User, approver: User) -> RegisteredModel:
    """v1 from noon, v2 an hour later, back to v1 after two."""
    model = create_model(slug="loans", owners=[author])
    first, second = create_version(model=model), create_version(model=model)
    approval = create_approval(version=first, approver=approver)
    origin = create_release(version=first, request=approval, created_at=NOON, reason="the first one")
    create_release(version=second, created_at=NOON + HOUR)
    Release.objects.create(
        model=model,
        environment=origin.environment,
        number=3,
        version=first,
        kind="rollback",
        restores=origin,
        reason="more errors",
        released_by=origin.released_by,
        created_at=NOON + 2 * HOUR,
    )
    return model


def number_at(model: RegisteredModel, time: datetime) -> int | None:
    found = answered_at(model, time)
    return found.release.number if found else None


def test_an_interval_holds_its_beginning_and_not_its_end(model: RegisteredModel) -> None:
    assert number_at(model, NOON - TICK) is None
    assert number_at(model, NOON) == 1
    assert number_at(model, NOON + HOUR - TICK) == 1
    assert number_at(model, NOON + HOUR) == 2
    assert number_at(model, NOON + 2 * HOUR) == 3


def test_a_version_answered_in_every_time_that_it_did(model: RegisteredModel) -> None:
    first, second = model.versions.order_by("number")
    create_release(version=first, created_at=NOON + 4 * HOUR)  # again, and nothing in between

    assert intervals(model) == {
        first.pk: [Interval(NOON, NOON + HOUR), Interval(NOON + 2 * HOUR, None)],
        second.pk: [Interval(NOON + HOUR, NOON + 2 * HOUR)],
    }


def test_the_latest_times_add_up_to_no_more_than_one_asks_for() -> None:
    times = [
        Interval(NOON, NOON + HOUR),
        Interval(NOON + 5 * HOUR, NOON + 7 * HOUR),
        Interval(NOON + 9 * HOUR, None),
    ]
    now = NOON + 10 * HOUR

    assert latest(times, HOUR, now) == [Interval(NOON + 9 * HOUR, None)]
    assert latest(times, 2 * HOUR, now) == [Interval(NOON + 6 * HOUR, NOON + 7 * HOUR), times[2]]
    assert latest(times, 9 * HOUR, now) == times


def test_it_names_who_approved_also_what_a_rollback_restores(model: RegisteredModel, approver: User) -> None:
    found = answered_at(model, NOON + 3 * HOUR)

    assert found
    assert (found.approvers, found.until, found.sha256) == ([approver], None, found.release.version.sha256)
    assert found.request == found.release.restores.request


def bar(model: RegisteredModel, monkeypatch: Any, *times: datetime) -> None:
    """v1 is quarantined at the first time, free again at the second, and so on."""
    version = model.versions.get(number=1)
    for turn, time in enumerate(times):
        monkeypatch.setattr("registry.audit.timezone.now", lambda time=time: time)
        action = Action.VERSION_QUARANTINE_LIFTED if turn % 2 else Action.VERSION_QUARANTINED
        with transaction.atomic():
            audit.record(action, target=version, actor=None, reason="golden rows")


def test_a_quarantine_is_told_and_nothing_answered_in_it(model: RegisteredModel, monkeypatch: Any) -> None:
    start, end = NOON + HOUR / 4, NOON + HOUR / 2
    bar(model, monkeypatch, start, end)

    inside, after, later = (answered_at(model, time) for time in (start, end, NOON + 3 * HOUR))

    assert (inside.silence.start, inside.silence.end) == (start, end)
    assert (after.silence, [one.start for one in after.barred]) == (None, [start])
    assert later.barred == []


def test_the_api_tells_the_same(
    model: RegisteredModel, approver: User, business: User, monkeypatch: Any
) -> None:
    caller = program(business)

    found = ok(caller.get("/models/loans/at/", time=NOON.isoformat()))

    assert (found["version"], found["release"], found["kind"]) == (1, 1, "release")
    assert found["approved_by"] == [approver.email]
    assert found["reason"] == "the first one"
    assert found["request"] == Release.objects.get(number=1).request.public_id
    assert found["sha256"] == model.versions.get(number=1).sha256
    assert datetime.fromisoformat(found["until"]) == NOON + HOUR
    assert found["quarantined"] == []
    bar(model, monkeypatch, NOON)
    problem(caller.get("/models/loans/at/", time=NOON.isoformat()), 404, "quarantined_then")


def test_the_page_tells_the_same(
    client: Client, model: RegisteredModel, approver: User, business: User
) -> None:
    approver.name = "Meera"
    approver.save()
    client.force_login(business)
    address = reverse("release-at", args=["loans"])

    html = client.get(address, {"time": "2026-03-01T12:00:00"}).content.decode()

    assert "v1 answered" in html
    assert "Meera" in html
    assert model.versions.get(number=1).sha256 in html
    before = client.get(address, {"time": "2026-02-01T12:00:00"}).content.decode()
    assert "Nothing answered then" in before


@pytest.mark.parametrize("time", ["", "soon", "2999-01-01T00:00"])
def test_a_time_that_is_none_or_has_not_passed_is_said(
    time: str, client: Client, model: RegisteredModel, business: User
) -> None:
    client.force_login(business)

    page = client.get(reverse("release-at", args=["loans"]), {"time": time})

    assert page.status_code == 422
    assert page.context["at_form"].errors["time"]
