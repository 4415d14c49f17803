"""Incidents: what a person must act on, one open per model and kind, and who did what about it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from monitoring import incidents
from monitoring.models import Incident
from monitoring.signals import incident_opened
from registry.actions import quarantine
from registry.errors import Forbidden, Invalid, Refused
from registry.models import AuditEvent, ModelVersion, RegisteredModel, Role, User
from tests.api import Program, create_key, ok, problem
from tests.factories import create_model, create_release, create_user, create_version

pytestmark = pytest.mark.django_db

Kind = Incident.Kind


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="repay", owners=[author])


@pytest.fixture
def incident(model: RegisteredModel) -> Incident:
    return incidents.open_or_update(model, Kind.SERVICE, "Every second call fails.")


@pytest.fixture
def heard() -> Iterator[list[int]]:
    ids: list[int] = []

    def listen(incident_id: int, **kwargs: Any) -> None:
        ids.append(incident_id)

    incident_opened.connect(listen)
    yield ids
    incident_opened.disconnect(listen)


def test_what_comes_again_is_written_into_the_open_incident(
    model: RegisteredModel, heard: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    version = create_version(model=model)
    with django_capture_on_commit_callbacks(execute=True):
        first = incidents.open_or_update(model, Kind.SERVICE, "Slow.")
        again = incidents.open_or_update(
            model, Kind.SERVICE, "Slower.", severity=Incident.Severity.CRITICAL, version=version
        )

    assert again == first
    assert (again.sentence, again.severity, again.version) == ("Slower.", "critical", version)
    assert [(line["version"], line["sentence"]) for line in again.history] == [
        (None, "Slow."),
        (1, "Slower."),
    ]
    assert heard == [first.pk]


def test_the_database_allows_one_open_incident_per_model_and_kind(incident: Incident) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Incident.objects.create(
            model=incident.model, kind=incident.kind, severity="warning", sentence="The same again."
        )


def test_a_resolved_incident_stays_and_the_next_one_is_new(incident: Incident, operator: User) -> None:
    incidents.resolve(incident, reason="restarted it", actor=operator)
    following = incidents.open_or_update(incident.model, Kind.SERVICE, "Every second call fails.")

    assert following != incident
    assert (incident.state, following.state) == ("resolved", "open")


def test_each_act_names_who_when_and_why_and_is_audited(incident: Incident, operator: User) -> None:
    until = timezone.now() + timedelta(days=1)
    incidents.acknowledge(incident, reason="looking into it", actor=operator)
    assert incident.state == "acknowledged"
    incidents.mute(incident, until=until, reason="a new one comes tomorrow", actor=operator)
    assert incident.state == "muted"
    incidents.resolve(incident, reason="the new one answers", actor=operator)

    assert incident.state == "resolved"
    assert (incident.acknowledged_by, incident.muted_by, incident.resolved_by) == (operator,) * 3
    events = AuditEvent.objects.order_by("seq").values_list("action", "actor_name", "reason", "model_slug")
    assert list(events) == [
        ("incident.opened", "system", "Every second call fails.", "repay"),
        ("incident.acknowledged", str(operator), "looking into it", "repay"),
        ("incident.muted", str(operator), "a new one comes tomorrow", "repay"),
        ("incident.resolved", str(operator), "the new one answers", "repay"),
    ]


def test_a_mute_ends_by_itself(incident: Incident, operator: User) -> None:
    incidents.mute(incident, until=timezone.now() + timedelta(hours=1), reason="known", actor=operator)
    Incident.objects.update(muted_until=timezone.now() - timedelta(seconds=1))
    incident.refresh_from_db()

    assert incident.state == "open"
    assert list(Incident.objects.needing_somebody()) == [incident]


@pytest.mark.parametrize("days", [-1, 91])
def test_a_mute_has_an_end_that_one_lives_to_see(incident: Incident, operator: User, days: int) -> None:
    with pytest.raises(Invalid) as refusal:
        incidents.mute(
            incident, until=timezone.now() + timedelta(days=days), reason="for good", actor=operator
        )
    assert refusal.value.errors[0]["field"] == "until"


def test_nobody_acts_twice_nor_on_what_is_over(incident: Incident, operator: User) -> None:
    stale = Incident.objects.get()
    incidents.acknowledge(incident, actor=operator)
    with pytest.raises(Refused, match="acknowledged already"):
        incidents.acknowledge(stale, actor=operator)

    incidents.resolve(incident, reason="done with it", actor=operator)
    for act in (
        lambda: incidents.resolve(stale, reason="me too", actor=operator),
        lambda: incidents.mute(
            stale, until=timezone.now() + timedelta(days=1), reason="me too", actor=operator
        ),
    ):
        with pytest.raises(Refused, match="resolved already"):
            act()
    assert AuditEvent.objects.count() == 3


def test_operators_and_owners_act_and_nobody_else(incident: Incident, author: User, operator: User) -> None:
    incidents.acknowledge(incident, actor=author)  # owns the model
    for roles in ([Role.AUTHOR], [Role.APPROVER], [Role.AUDITOR], [Role.ADMIN], [Role.BUSINESS], []):
        other = create_user(roles=roles)
        with pytest.raises(Forbidden):
            incidents.resolve(incident, reason="not mine", actor=other)
    incidents.resolve(incident, reason="over", actor=operator)


# --- quarantine ---


def quarantined(
    model: RegisteredModel, django_capture_on_commit_callbacks: Any
) -> tuple[ModelVersion, ModelVersion]:
    good, moved = create_version(model=model), create_version(model=model)
    create_release(version=good)
    create_release(version=moved)
    with django_capture_on_commit_callbacks(execute=True):
        quarantine.quarantine(moved, reason="3 of 100 answers moved.")
    return good, moved


def test_a_quarantine_opens_a_critical_incident(
    model: RegisteredModel, django_capture_on_commit_callbacks: Any
) -> None:
    _good, moved = quarantined(model, django_capture_on_commit_callbacks)

    incident = Incident.objects.get()
    assert (incident.kind, incident.severity, incident.version) == ("quarantine", "critical", moved)
    assert incident.sentence == "v2 answers no more. 3 of 100 answers moved."


def test_a_quarantine_is_not_over_while_its_version_is_the_released_one(
    model: RegisteredModel, operator: User, django_capture_on_commit_callbacks: Any
) -> None:
    good, _moved = quarantined(model, django_capture_on_commit_callbacks)
    incident = Incident.objects.get()
    with pytest.raises(Refused, match="still the released version in production") as refusal:
        incidents.resolve(incident, reason="looks fine", actor=operator)
    assert "Roll back" in refusal.value.fix

    create_release(version=good)
    incidents.resolve(incident, reason="rolled back", actor=operator)
    assert incident.state == "resolved"


# --- over HTTP ---


def test_the_api_lists_and_acts(incident: Incident, operator: User) -> None:
    program = Program(create_key(operator))
    listed = ok(program.get("/incidents/", state="open"))
    assert [(each["id"], each["model"], each["state"]) for each in listed["results"]] == [
        (incident.public_id, "repay", "open")
    ]
    path = f"/incidents/{incident.public_id}"
    assert ok(program.post(f"{path}/acknowledge/", {}))["state"] == "acknowledged"
    until = (timezone.now() + timedelta(hours=3)).isoformat()
    assert ok(program.post(f"{path}/mute/", {"until": until, "reason": "known"}))["state"] == "muted"
    assert ok(program.get("/incidents/", state="muted"))["count"] == 1
    problem(program.post(f"{path}/resolve/", {}), 422, "reason_length")
    resolved = ok(program.post(f"{path}/resolve/", {"reason": "over"}))
    assert (resolved["state"], resolved["resolved_by"]) == ("resolved", operator.email)
    problem(program.post(f"{path}/resolve/", {"reason": "over"}), 409, "incident_resolved")
    assert AuditEvent.objects.filter(action="incident.resolved", result="refused").count() == 1


def test_an_incident_of_a_hidden_model_does_not_exist(incident: Incident, operator: User) -> None:
    other = create_model(slug="other")
    program = Program(create_key(operator, models=[other]))

    assert ok(program.get("/incidents/"))["count"] == 0
    problem(program.get(f"/incidents/{incident.public_id}/"), 404)


def test_one_that_is_resolved_in_between_makes_room_for_another(
    incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody resolves it after the database has said that one is open, and before the word is added to it."""
    update = incidents._update

    def too_late(*args: Any) -> Incident:
        Incident.objects.update(resolved_at=timezone.now())
        return update(*args)

    monkeypatch.setattr(incidents, "_update", too_late)

    made = incidents.open_or_update(incident.model, Kind.SERVICE, "Again.")

    assert made != incident
    assert (made.sentence, made.resolved_at) == ("Again.", None)


def test_a_quarantine_that_nobody_was_told_of_is_found_by_the_tick(model: RegisteredModel) -> None:
    """Its signal is sent after the commit, by a process that may have died."""
    version = create_version(model=model)
    quarantine.quarantine(version, reason="3 of 100 golden rows moved.")
    assert not Incident.objects.exists()

    assert (incidents.open_missed(), incidents.open_missed()) == (1, 0)

    found = Incident.objects.get()
    assert (found.kind, found.version, found.severity) == (Kind.QUARANTINE, version, "critical")
    assert "3 of 100 golden rows moved." in found.sentence


def test_one_that_a_person_has_resolved_is_not_opened_again(model: RegisteredModel) -> None:
    version = create_version(model=model)
    quarantine.quarantine(version, reason="Moved.")
    incidents.open_missed()
    Incident.objects.update(resolved_at=timezone.now())

    assert incidents.open_missed() == 0
