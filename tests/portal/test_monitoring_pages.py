"""The pages that answer "is my model OK?", with and without something to show."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference import runners
from monitoring import actions, counting
from monitoring.models import Verdict
from registry.models import ModelVersion, Role, User
from tests.factories import create_model, create_user
from tests.monitoring.traffic import answer, calls, outcomes, people, serving


@pytest.fixture(autouse=True)
def model_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "predict", lambda version, table, deadline=None: answer(table))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def observed(*, income: float = 2000.0) -> ModelVersion:
    """A model with three judged weeks."""
    version = serving()
    now = timezone.now()
    for week in (2, 1, 0):
        at = now - timedelta(weeks=week, hours=1)
        batch = calls(
            version, people(week, 300, income=income), source=f"w{week}", at=at, statuses=[200, 500, 422]
        )
        counting.count_calls(batch)
        actions.run_check(version.model, as_of=at, window=timedelta(days=7))
    return version


def figures_of(html: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html)]


def test_the_fleet_lists_the_worst_model_first(operator: User) -> None:
    version = observed(income=2700)
    html = signed_in(operator).get(reverse("fleet")).content.decode()

    assert version.model.name in html
    assert "Alert" in html
    assert "1 model needs attention" in html


def test_the_fleet_says_so_when_nothing_is_live(operator: User) -> None:
    assert "Nothing to watch yet" in signed_in(operator).get(reverse("fleet")).content.decode()


def test_the_drift_page_shows_the_verdict_and_every_column(operator: User) -> None:
    version = observed(income=2700)
    response = signed_in(operator).get(reverse("drift", args=[version.model.slug]))
    html = response.content.decode()

    assert Verdict.objects.latest().sentence in html
    assert html.count("badge") >= 8
    assert "Differs clearly from the reference" in html
    assert len(figures_of(html)) == 3
    assert "style-src-attr 'unsafe-inline'" in response["Content-Security-Policy"]
    assert len(html) < 200_000


def test_the_address_chooses_window_and_column(operator: User) -> None:
    version = observed()
    first = Verdict.objects.order_by("window_end")[0]
    url = reverse("drift", args=[version.model.slug])
    html = signed_in(operator).get(url, {"window": str(first.pk), "column": "city"}).content.decode()

    assert f'<option value="{first.pk}" selected>' in html
    assert "city: Like the reference" in html


@pytest.mark.parametrize("query", [{"window": "999999"}, {"window": "9" * 17}])
def test_a_window_of_nobody_is_not_found(operator: User, query: dict[str, str]) -> None:
    version = observed()

    assert signed_in(operator).get(reverse("drift", args=[version.model.slug]), query).status_code == 404


@pytest.mark.parametrize(
    "query", [{"window": "²"}, {"column": "<script>"}, {"environment": "moon"}, {"period": "x"}]
)
def test_odd_addresses_fall_back(operator: User, query: dict[str, str]) -> None:
    version = observed()
    client = signed_in(operator)

    assert client.get(reverse("drift", args=[version.model.slug]), query).status_code == 200
    assert client.get(reverse("health", args=[version.model.slug]), query).status_code == 200


def test_realized_performance_is_drawn_when_outcomes_are_known(operator: User) -> None:
    version = observed()
    outcomes(version, right=90, wrong=10, at=timezone.now() - timedelta(hours=2))
    actions.run_check(version.model, window=timedelta(days=7))

    html = signed_in(operator).get(reverse("drift", args=[version.model.slug])).content.decode()

    assert "Realized accuracy 0.9 in the last window" in html


def test_pages_without_data_say_why(operator: User) -> None:
    version = serving()
    client = signed_in(operator)

    assert "Not measured yet" in client.get(reverse("drift", args=[version.model.slug])).content.decode()
    assert (
        "No requests in this period"
        in client.get(reverse("health", args=[version.model.slug])).content.decode()
    )
    unserved = create_model(slug="unserved")
    assert "No version is serving" in client.get(reverse("drift", args=[unserved.slug])).content.decode()


def test_the_health_page_counts_requests_errors_and_speed(operator: User) -> None:
    version = observed()
    html = (
        signed_in(operator)
        .get(reverse("health", args=[version.model.slug]), {"period": "month"})
        .content.decode()
    )

    assert "9 requests, 3 failed." in html
    assert "3 failed, 3 refused" in html
    assert len(figures_of(html)) == 3


@pytest.mark.parametrize("name", ["columns", "predictions", "distribution", "heat-map"])
def test_every_chart_of_the_drift_page_is_a_csv_too(operator: User, name: str) -> None:
    version = observed()
    response = signed_in(operator).get(reverse("drift-csv", args=[version.model.slug, name]))

    assert response["Content-Type"].startswith("text/csv")
    assert len(response.content.decode().splitlines()) >= 3


@pytest.mark.parametrize("name", ["requests", "latency", "rows"])
def test_every_chart_of_the_health_page_is_a_csv_too(operator: User, name: str) -> None:
    version = observed()
    response = signed_in(operator).get(reverse("health-csv", args=[version.model.slug, name]))

    assert response.status_code == 200
    assert response.content.decode().startswith("From (UTC)")


def test_a_chart_of_nothing_is_a_csv_of_zeros(operator: User) -> None:
    model = create_model()
    response = signed_in(operator).get(reverse("health-csv", args=[model.slug, "rows"]))

    assert response.content.decode().splitlines()[1].endswith(",0,0")


def test_a_chart_that_does_not_exist_is_not_found(operator: User) -> None:
    version = observed()
    client = signed_in(operator)

    assert client.get(reverse("drift-csv", args=[version.model.slug, "nothing"])).status_code == 404
    assert client.get(reverse("health-csv", args=[version.model.slug, "nothing"])).status_code == 404


def test_an_operator_checks_now_and_others_do_not(operator: User) -> None:
    version = observed()
    url = reverse("drift-check", args=[version.model.slug])

    assert signed_in(operator).post(url).status_code == 302
    assert Verdict.objects.count() == 4
    assert signed_in(create_user(roles=[Role.BUSINESS])).post(url).status_code == 403
    assert signed_in(operator).get(url).status_code == 405


def test_a_model_that_is_not_shared_is_not_found(business: User) -> None:
    version = observed()
    version.model.groups.add(Group.objects.create(name="others"))
    client = signed_in(business)

    for name in ("health", "drift"):
        assert client.get(reverse(name, args=[version.model.slug])).status_code == 404
    assert version.model.name not in client.get(reverse("fleet")).content.decode()


def test_an_operator_changes_limits_and_schedule(operator: User) -> None:
    version = observed()
    url = reverse("drift-settings", args=[version.model.slug])
    client = signed_in(operator)
    body = {"enabled": "on", "window_hours": "24", "every_minutes": "30", "watch": "0.1", "drift": "0.2"}

    assert client.get(url).status_code == 200
    assert client.post(url, {**body, "watch_1": "0.3", "drift_1": "0.5"}).status_code == 302
    settings = actions.settings_of(version.model)
    assert (settings.window_hours, settings.every_minutes) == (24, 30)
    assert settings.thresholds["income"] == {"watch": 0.3, "drift": 0.5}
    assert "income" in client.get(url).content.decode()


@pytest.mark.parametrize(
    "wrong", [{"window_hours": "0"}, {"watch": "0.9"}, {"drift": "much"}, {"watch_0": "7"}]
)
def test_limits_that_make_no_sense_are_named(operator: User, wrong: dict[str, str]) -> None:
    version = observed()
    url = reverse("drift-settings", args=[version.model.slug])
    body = {"enabled": "on", "window_hours": "24", "every_minutes": "30", "watch": "0.1", "drift": "0.2"}

    answered = signed_in(operator).post(url, body | wrong)

    assert answered.status_code == 422
    assert "1 thing to fix" in answered.content.decode()


def test_others_do_not_change_the_settings(business: User) -> None:
    version = observed()
    url = reverse("drift-settings", args=[version.model.slug])

    assert signed_in(business).get(url).status_code == 403
