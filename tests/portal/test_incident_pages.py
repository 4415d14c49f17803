"""Alerts: the list, what to do about one, and the acts behind the buttons."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from inference import golden
from monitoring import incidents
from monitoring.models import Incident
from registry.actions import quarantine
from registry.models import ModelVersion, User
from tests.factories import create_model, create_release, create_request, create_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def moved(django_capture_on_commit_callbacks: Any) -> ModelVersion:
    """The second version of a model: released, and quarantined by now."""
    model = create_model(slug="loans", name="Loans")
    first, second = create_version(model=model), create_version(model=model)
    create_release(version=first)
    create_release(version=second)
    with django_capture_on_commit_callbacks(execute=True):
        quarantine.quarantine(second, reason="3 of 100 golden rows get another answer.")
    return second


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_an_operator_is_told_everywhere_and_shown_the_way_back(
    client: Client, operator: User, moved: ModelVersion
) -> None:
    client.force_login(operator)
    incident = Incident.objects.get()

    home = page(client, reverse("home"))
    assert "Loans: Version quarantined" in home
    assert '1<span class="visually-hidden"> waiting' in home
    assert incident.get_absolute_url() in page(client, moved.model.get_absolute_url())
    listed = page(client, reverse("alert-list"))
    assert "1 incident needs somebody" in listed
    detail = page(client, incident.get_absolute_url())
    assert "v2 answers no more. 3 of 100 golden rows get another answer." in detail
    assert reverse("release-list", args=["loans"]) + "?to=1" in detail
    assert "Roll back to v1…" in detail


def test_with_nothing_open_the_page_says_so(client: Client, operator: User) -> None:
    client.force_login(operator)

    assert "No open alerts" in page(client, reverse("alert-list"))


def test_it_is_acknowledged_muted_and_resolved(client: Client, operator: User) -> None:
    incident = incidents.open_or_update(create_model(), "service", "Slow.")
    client.force_login(operator)
    url = incident.get_absolute_url()

    assert client.post(url, {"act": "acknowledge"}).url == url  # type: ignore[attr-defined]
    assert client.post(url, {"act": "mute", "days": "7"}).status_code == 422  # no reason
    assert client.post(url, {"act": "mute", "days": "7", "reason": "known"}).status_code == 302
    incident.refresh_from_db()
    assert incident.state == "muted"
    assert "Still open; they come back by themselves." in page(client, reverse("alert-list"))
    assert client.post(url, {"act": "resolve", "reason": "fast again"}).status_code == 302
    assert client.post(url, {"act": "resolve", "reason": "fast again"}).status_code == 422
    assert "It is over." in page(client, url)


def test_who_may_not_act_sees_no_buttons(client: Client, auditor: User, moved: ModelVersion) -> None:
    client.force_login(auditor)
    detail = page(client, Incident.objects.get().get_absolute_url())

    assert "Operators and the model's owners act on it." in detail.replace("&#x27;", "'")
    assert 'value="resolve"' not in detail
    assert "Roll back to v1…" not in detail


def test_an_approver_lifts_the_quarantine_by_the_page(
    client: Client, approver: User, moved: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(approver)
    url = reverse("version-lift", args=["loans", 2])
    assert url in page(client, Incident.objects.get().get_absolute_url())

    said = client.post(url, {"reason": "numpy went back"}, follow=True).content.decode()
    assert "has no golden rows" in said
    moved.refresh_from_db()
    assert moved.state == "quarantined"


def test_opening_a_request_has_the_verdict_made_ready(
    client: Client, approver: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ModelVersion] = []
    monkeypatch.setattr(golden, "prepare", asked.append)
    client.force_login(approver)
    request = create_request()

    page(client, request.get_absolute_url())

    assert asked == [request.version]
