"""From an answered call to a verdict: counted once, in any order, judged against the version's reference."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from django.utils import timezone

from inference import ports, runners
from inference.ports import CallBatch
from monitoring import actions, compaction, counting, reference
from monitoring.models import ProfilePart, ReferenceProfile, ServicePart, Verdict
from registry.errors import Forbidden, Invalid, NothingServing
from registry.models import AuditEvent, ModelVersion
from tests.factories import create_model, create_user, create_version
from tests.monitoring.traffic import NOW, answer, calls, outcomes, people, serving


@pytest.fixture(autouse=True)
def model_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "predict", lambda version, table, deadline=None: answer(table))


def check(version: ModelVersion, **options: Any) -> Verdict:
    return actions.run_check(version.model, as_of=NOW, window=timedelta(days=7), **options)


def state_of(verdict: Verdict, name: str) -> str:
    return next(each["state"] for each in (*verdict.columns, *verdict.outputs) if each["name"] == name)


# --- counting


def test_the_sink_is_registered() -> None:
    assert counting.count_calls in ports.sinks


def test_it_counts_a_source_once(db: None) -> None:
    version = serving()
    batch = calls(version, people(1, 100))

    counting.count_calls(batch)
    counting.count_calls(batch)

    assert ProfilePart.objects.get().rows == 100
    assert ServicePart.objects.get().requests == 1


def test_it_counts_rows_in_the_hour_of_their_answer(db: None) -> None:
    version = serving()
    batch = calls(version, people(1, 4))
    hours = [NOW, NOW + timedelta(minutes=45), NOW, NOW]
    counting.count_calls(CallBatch(**{**vars(batch), "at": hours}))

    assert sorted(ProfilePart.objects.values_list("hour__hour", "rows")) == [(12, 3), (13, 1)]


def test_refused_calls_are_counted_without_rows(db: None) -> None:
    version = serving()
    batch = calls(version, {name: values[:0] for name, values in people(1, 1).items()}, statuses=[422, 503])
    counting.count_calls(CallBatch(**{**vars(batch), "version_id": None}))

    assert ServicePart.objects.get().errors == {"422": 1, "503": 1}
    assert not ProfilePart.objects.exists()


def test_a_version_without_reference_data_is_served_but_not_profiled(db: None) -> None:
    version = create_version()
    counting.count_calls(calls(version, people(1, 10)))

    assert not ProfilePart.objects.exists()
    assert ServicePart.objects.get().rows == 10


def test_reference_data_that_is_lost_keeps_no_prediction_out(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = serving()

    def lost(dataset: Any) -> pa.Table:
        raise FileNotFoundError(dataset.sha256)

    monkeypatch.setattr(reference.tables, "read_dataset", lost)
    counting.count_calls(calls(version, people(1, 10)))

    assert not ProfilePart.objects.exists()
    assert ServicePart.objects.get().rows == 10


# --- the reference


def test_it_profiles_the_reference_and_the_answers_to_it(db: None) -> None:
    version = serving()

    built = reference.build(version)

    assert built is not None
    assert built.outputs is not None
    assert built.rows == 2000
    assert [column["name"] for column in built.outputs["columns"]] == ["prediction", "probability_yes"]
    assert built.metrics["metrics"]["accuracy"] == 1.0
    assert reference.build(version) == built


def test_without_the_model_service_the_inputs_are_profiled_and_the_answers_later(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = serving()

    def away(*args: Any, **kwargs: Any) -> runners.Answer:
        raise runners.ModelUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(runners, "predict", away)
        assert reference.of(version).outputs is None  # type: ignore[union-attr]
    assert actions.missing_references() == [version.pk]
    reference.build(version)

    assert reference.of(version).outputs is not None  # type: ignore[union-attr]
    assert actions.missing_references() == []


# --- verdicts


def test_unchanged_traffic_is_healthy(db: None) -> None:
    version = serving()
    counting.count_calls(calls(version, people(1, 500), statuses=[200] * 30))

    verdict = check(version)

    assert (verdict.state, verdict.drift_state, verdict.data_state, verdict.service_state) == ("ok",) * 4
    assert verdict.performance_state == "insufficient_data"
    assert verdict.sentence == (
        "Healthy: no outcomes yet, predictions as before, none of 3 inputs drifted, p95 19.7 ms."
    )


def test_drift_is_seen_in_input_and_prediction(db: None) -> None:
    version = serving()
    counting.count_calls(calls(version, people(1, 500, income=2600)))

    verdict = check(version)

    assert verdict.state == "drift"
    assert {name: state_of(verdict, name) for name in ("age", "income", "prediction")} == {
        "age": "ok",
        "income": "drift",
        "prediction": "drift",
    }


def test_parts_of_many_sources_add_up_to_one_verdict(db: None) -> None:
    version = serving()
    columns = people(1, 600)
    counting.count_calls(calls(version, columns, source="once"))
    once = check(version).columns
    ProfilePart.objects.all().delete()
    for i in range(6):
        part = {name: values[i * 100 : (i + 1) * 100] for name, values in columns.items()}
        counting.count_calls(calls(version, part, source=f"part {i}"))

    for before, after in zip(once, check(version).columns, strict=True):
        assert (before["psi"], before["ks"], before["chi2"]) == (after["psi"], after["ks"], after["chi2"])


def test_compacting_changes_no_verdict(db: None) -> None:
    version = serving()
    for i in range(5):
        counting.count_calls(calls(version, people(i, 50), source=f"part {i}", statuses=[200, 500]))
    before = check(version)

    compaction.compact(NOW + timedelta(days=3))

    after = check(version)
    assert ProfilePart.objects.count() == ServicePart.objects.count() == 1
    assert (after.columns, after.outputs, after.service) == (before.columns, before.outputs, before.service)


def test_many_parts_become_one_bit_by_bit(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite nobody else writes while parts are merged: few at a time, and the next tick goes on."""
    monkeypatch.setattr(compaction, "MOST_PARTS", 2)
    version = serving()
    for i in range(4):
        counting.count_calls(calls(version, people(i, 50), source=f"part {i}"))

    for left in (3, 2, 1, 1):
        compaction.compact(NOW + timedelta(days=3))
        assert ProfilePart.objects.count() == ServicePart.objects.count() == left

    assert check(version).rows == 200


def test_checking_the_same_window_again_replaces_the_verdict(db: None) -> None:
    version = serving()
    check(version)
    counting.count_calls(calls(version, people(1, 200)))

    assert check(version).rows == 200
    assert Verdict.objects.count() == 1


def test_an_empty_window_says_so(db: None) -> None:
    verdict = check(serving())

    assert (verdict.state, verdict.rows) == ("insufficient_data", 0)
    assert verdict.sentence == "Not enough data: no predictions in this window."


def test_realized_performance_decides_over_drift(db: None) -> None:
    version = serving()
    counting.count_calls(calls(version, people(1, 200, income=2600)))
    outcomes(version, right=96, wrong=4)

    verdict = check(version)

    assert (verdict.drift_state, verdict.performance_state, verdict.state) == ("drift", "ok", "ok")
    assert "accuracy 0.96 (reference 0.95, outcomes for 50 %)" in verdict.sentence


def test_worse_performance_is_an_alert_even_without_drift(db: None) -> None:
    version = serving()
    counting.count_calls(calls(version, people(1, 200)))
    outcomes(version, right=60, wrong=40)

    verdict = check(version)

    assert (verdict.drift_state, verdict.performance_state, verdict.state) == ("ok", "drift", "drift")


def test_batches_count_as_rows_and_not_as_requests(db: None) -> None:
    version = serving()
    batch = calls(version, people(1, 200), statuses=[200])
    counting.count_calls(CallBatch(**{**vars(batch), "channel": "batch", "call_latencies": [60_000.0]}))

    verdict = check(version)

    assert (verdict.service["requests"], verdict.service["batch_rows"], verdict.service["p95"]) == (
        0,
        200,
        None,
    )
    assert verdict.sentence.endswith("none of 3 inputs drifted.")


def test_answers_without_probabilities_are_counted(db: None) -> None:
    version = serving()
    batch = calls(version, people(1, 60))
    counting.count_calls(CallBatch(**{**vars(batch), "values": None, "probabilities": []}))

    assert state_of(check(version), "prediction") == "ok"
    assert state_of(check(version), "probability_yes") == "not_comparable"


def test_failing_calls_are_an_alert(db: None) -> None:
    version = serving()
    counting.count_calls(calls(version, people(1, 200), statuses=[200] * 30 + [503] * 10))

    assert check(version).service_state == "drift"


def test_it_refuses_where_nothing_was_serving(db: None) -> None:
    with pytest.raises(NothingServing):
        actions.run_check(create_model())


# --- schedules and settings


def test_the_tick_checks_models_with_traffic_once_in_an_hour(
    db: None, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    version = serving()
    now = timezone.now()
    assert actions.due_checks(now) == []

    counting.count_calls(calls(version, people(1, 60), at=now))
    assert actions.due_checks(now) == [(version.model_id, "production")]

    actions.run_check(version.model)
    assert actions.due_checks(timezone.now()) == []
    assert actions.due_checks(timezone.now() + timedelta(minutes=61)) == [(version.model_id, "production")]


def test_an_operator_sets_the_thresholds_and_it_is_audited(operator: Any) -> None:
    version = serving()
    actions.set_monitoring(version.model, thresholds={"income": {"watch": 5, "drift": 9}}, actor=operator)
    counting.count_calls(calls(version, people(1, 500, income=2600)))

    assert state_of(check(version), "income") == "ok"
    event = AuditEvent.objects.get(action="monitoring.changed")
    assert event.after is not None
    assert event.after["thresholds"]["income"] == {"watch": 5, "drift": 9}


@pytest.mark.parametrize(
    "change",
    [{"window_hours": 0}, {"every_minutes": 1}, {"thresholds": {"": {"watch": 0.3, "drift": 0.1}}}],
)
def test_it_refuses_settings_that_make_no_sense(operator: Any, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        actions.set_monitoring(create_model(), **change, actor=operator)


def test_others_may_not_change_the_settings(db: None) -> None:
    with pytest.raises(Forbidden):
        actions.set_monitoring(create_model(), window_hours=24, actor=create_user(roles=["business"]))


# --- a file


def test_a_file_is_judged_without_storing_anything(db: None) -> None:
    version = serving()
    verdicts, state = actions.evaluate_table(version, pa.table(people(3, 300, income=2600)))

    assert state == "drift"
    assert [(each.name, each.state) for each in verdicts] == [
        ("age", "ok"),
        ("income", "drift"),
        ("city", "ok"),
    ]
    assert not Verdict.objects.exists()
    assert ReferenceProfile.objects.count() == 1


def test_a_file_without_a_column_is_not_comparable_there(db: None) -> None:
    columns = people(3, 300)
    del columns["city"]
    verdicts, state = actions.evaluate_table(serving(), pa.table(columns))

    assert state == "not_comparable"
    assert verdicts[2].reason == "missing_column"
