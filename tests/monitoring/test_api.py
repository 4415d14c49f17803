"""Monitoring over HTTP, as the contract has it."""

import io
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from inference import runners
from monitoring import actions, counting
from monitoring.models import Verdict
from registry.actions import keys
from registry.models import AuditEvent, ModelVersion, User
from tests.monitoring.traffic import answer, calls, csv, outcomes, people, serving

BASE = "/api/v1/models/repay"
COLUMN_FIELDS = set(
    "name type state psi js ks wasserstein chi2 p p_adjusted n_reference n_current noise_floor missing "
    "new_categories out_of_range message".split()
)


@pytest.fixture(autouse=True)
def model_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "predict", lambda version, table, deadline=None: answer(table))


@pytest.fixture
def client(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


def observed(income: float = 2000.0) -> ModelVersion:
    version = serving()
    at = timezone.now() - timedelta(hours=2)
    counting.count_calls(
        calls(version, people(1, 400, income=income), at=at, statuses=[200] * 20 + [422, 500])
    )
    outcomes(version, right=190, wrong=10, at=at)
    actions.run_check(version.model)
    return version


def upload(columns: dict[str, Any], /, **more: Any) -> dict[str, Any]:
    return {"file": SimpleUploadedFile("now.csv", csv(columns)), **more}


def test_a_file_is_judged_column_by_column(client: Client) -> None:
    serving()
    answered = client.post(f"{BASE}/drift/evaluate/", upload(people(5, 400, income=2700))).json()

    assert (answered["state"], answered["version"]) == ("drift", 1)
    assert [column["state"] for column in answered["columns"]] == ["ok", "drift", "ok"]
    assert set(answered["columns"][0]) >= COLUMN_FIELDS
    assert answered["dataset"] | {"share_drifted": 0} == {
        "rows": 400,
        "rows_reference": 2000,
        "columns": 3,
        "drifted": 1,
        "watched": 0,
        "share_drifted": 0,
        "insufficient_data": 0,
        "not_comparable": 0,
    }
    assert not Verdict.objects.exists()


def test_a_parquet_file_and_chosen_columns(client: Client) -> None:
    serving()
    buffer = io.BytesIO()
    pq.write_table(pa.table(people(5, 400)), buffer)
    body = {
        "file": SimpleUploadedFile("now.parquet", buffer.getvalue()),
        "columns": ["age", "city"],
        "version": "1",
    }

    answered = client.post(f"{BASE}/drift/evaluate/", body).json()

    assert [column["name"] for column in answered["columns"]] == ["age", "city"]


def test_few_rows_and_a_missing_column_have_their_states(client: Client) -> None:
    serving()
    few = people(5, 20)
    del few["city"]
    answered = client.post(f"{BASE}/drift/evaluate/", upload(few)).json()

    assert [column["state"] for column in answered["columns"]] == [
        "insufficient_data",
        "insufficient_data",
        "not_comparable",
    ]
    assert answered["columns"][2]["message"].startswith("The column is missing.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"columns": '["shoe size"]'}, 422),
        ({"version": "9"}, 422),
        ({"file": SimpleUploadedFile("empty.csv", b"")}, 422),
        ({"file": SimpleUploadedFile("one.csv", b"age,income,city\n")}, 422),
    ],
)
def test_it_refuses_what_it_cannot_judge(client: Client, body: dict[str, Any], status: int) -> None:
    serving()
    sent = body if body == {} or "file" in body else upload(people(1, 60), **body)

    assert client.post(f"{BASE}/drift/evaluate/", sent).status_code == status


def test_stored_verdicts_come_newest_first(client: Client) -> None:
    observed(income=2700)
    answered = client.get(f"{BASE}/drift/").json()

    assert answered["count"] == 1
    assert answered["results"][0]["drift_state"] == "drift"
    assert set(answered["results"][0]["columns"][0]) >= COLUMN_FIELDS
    past = {"to": (timezone.now() - timedelta(days=400)).isoformat()}
    assert client.get(f"{BASE}/drift/", past).json()["count"] == 0
    assert client.get(f"{BASE}/drift/", {"from": "yesterday"}).status_code == 422


def test_performance_tells_metrics_and_coverage(client: Client) -> None:
    observed()
    result = client.get(f"{BASE}/performance/").json()["results"][0]

    assert (result["outcomes"], result["coverage"], result["realized"]["accuracy"]) == (200, 0.5, 0.95)
    assert result["estimated"] is None


def test_service_tells_requests_errors_and_speed(client: Client) -> None:
    observed()
    answered = client.get(f"{BASE}/service/").json()

    assert (answered["requests"], answered["errors"], answered["by_status"]) == (22, 2, {"422": 1, "500": 1})
    assert answered["p95"] == pytest.approx(20, rel=0.03)
    assert sum(step["requests"] for step in answered["steps"]) == 22
    assert len(answered["steps"]) <= 60


def test_settings_are_read_changed_and_audited(client: Client) -> None:
    serving()
    assert client.get(f"{BASE}/monitoring/").json()["window_hours"] == 168

    change = {"window_hours": 24, "thresholds": {"income": {"watch": 0.3, "drift": 0.5}}}
    answered = client.put(f"{BASE}/monitoring/", change, content_type="application/json")

    assert answered.json() | change == answered.json()
    assert AuditEvent.objects.filter(action="monitoring.changed").count() == 1
    bad = client.put(f"{BASE}/monitoring/", {"window_hours": 0}, content_type="application/json")
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "window_hours")


def test_a_check_is_asked_for_by_an_operator_only(client: Client, business: User) -> None:
    observed()
    assert client.post(f"{BASE}/drift/check/", {}, content_type="application/json").json()["rows"] == 400

    other = Client()
    other.force_login(business)
    assert other.post(f"{BASE}/drift/check/", {}, content_type="application/json").status_code == 403


def test_a_key_needs_the_action_monitor(operator: User) -> None:
    observed()
    _, reading = keys.create_key(
        owner=operator, name="r", actions=["read"], models=None, days=9, actor=operator
    )
    _, watching = keys.create_key(
        owner=operator, name="m", actions=["monitor"], models=None, days=9, actor=operator
    )

    def status(secret: str) -> int:
        return Client().get(f"{BASE}/service/", headers={"Authorization": f"Bearer {secret}"}).status_code

    assert (status(reading), status(watching)) == (403, 200)
