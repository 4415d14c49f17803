"""True outcomes: recorded by id at any time, corrected by a new row, all or none."""

from typing import Any

import pytest
from django.utils import timezone

from inference import feedback
from inference.feedback import give_feedback
from inference.models import Feedback
from inference.predictions import predict
from inference.signals import feedback_given
from registry.errors import Forbidden, Invalid
from registry.models import AuditEvent, Release, Role, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


def ask(release: Release, actor: User, count: int = 1) -> list[str]:
    return [row.id for row in predict(release.model, answers.rows(count), actor=actor, channel="api").rows]


def test_it_records_an_outcome_with_what_was_predicted(release: Release, business: User) -> None:
    [public_id] = ask(release, business)

    receipt = give_feedback([{"prediction": public_id, "actual": "yes"}], actor=business)

    assert receipt.to_json() == {"accepted": 1, "corrected": 0, "unknown": []}
    row = Feedback.objects.get()
    assert (row.actual, row.label, row.value) == ("yes", "no", 0.2)
    assert (row.model, row.version, row.environment) == (release.model, release.version, "production")
    assert row.recorded_by == business
    event = AuditEvent.objects.get(action="feedback.given")
    assert event.details["outcomes"] == 1


def test_a_correction_is_a_new_row_and_the_latest_wins(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    give_feedback([{"prediction": public_id, "actual": "yes"}], actor=business)

    receipt = give_feedback([{"prediction": public_id, "actual": "no"}], actor=business)

    assert (receipt.accepted, receipt.corrected) == (0, 1)
    assert Feedback.objects.count() == 2
    assert Feedback.objects.current().get().actual == "no"


def test_saying_the_same_again_changes_nothing(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    for _again in range(2):
        receipt = give_feedback([{"prediction": public_id, "actual": "yes"}], actor=business)

    assert receipt.accepted == 1
    assert Feedback.objects.count() == 1


def test_one_call_may_correct_itself(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    items = [{"prediction": public_id, "actual": actual} for actual in ("yes", "no")]

    assert give_feedback(items, actor=business).to_json() == {"accepted": 1, "corrected": 1, "unknown": []}


def test_ids_that_nobody_knows_come_back(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    items = [
        {"prediction": each, "actual": "yes"} for each in ("p_nothing", public_id, "b_nothing_1", "p_\x00")
    ]

    receipt = give_feedback(items, actor=business)

    assert receipt.to_json() == {
        "accepted": 1,
        "corrected": 0,
        "unknown": ["p_nothing", "b_nothing_1", "p_\x00"],
    }


def test_a_hidden_models_prediction_is_unknown(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    release.model.groups.create(name="others")

    assert give_feedback([{"prediction": public_id, "actual": "yes"}], actor=business).unknown == [public_id]


def test_it_refuses_a_role_that_gives_no_feedback(release: Release, business: User, operator: User) -> None:
    [public_id] = ask(release, business)

    with pytest.raises(Forbidden):
        give_feedback([{"prediction": public_id, "actual": "yes"}], actor=operator)


@pytest.mark.parametrize(
    ("item", "field", "code"),
    [
        ("text", "items", "wrong_type"),
        ({"actual": "yes"}, "prediction", "missing"),
        ({"prediction": 5, "actual": "yes"}, "prediction", "missing"),
        ({"prediction": "p_x"}, "actual", "missing"),
        ({"prediction": "p_x", "actual": "yes", "at": "yesterday"}, "at", "wrong_type"),
        ({"prediction": "p_x", "actual": "yes", "at": "2026-02-30T00:00:00Z"}, "at", "wrong_type"),
        ({"prediction": "p_x", "actual": "yes", "note": "x"}, "note", "unknown_field"),
    ],
)
def test_it_names_what_is_wrong_with_an_item(business: User, item: Any, field: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        give_feedback([{"prediction": "p_y", "actual": "yes"}, item], actor=business)

    [error] = caught.value.errors
    assert (error["row"], error["field"], error["code"]) == (1, field, code)


@pytest.mark.parametrize("actual", ["perhaps", 1, True, ["yes"], "YES"])
def test_an_outcome_that_is_no_class_records_nothing(release: Release, business: User, actual: Any) -> None:
    first, second = ask(release, business, 2)
    items = [{"prediction": first, "actual": "yes"}, {"prediction": second, "actual": actual}]

    with pytest.raises(Invalid) as caught:
        give_feedback(items, actor=business)

    assert [(error["row"], error["code"]) for error in caught.value.errors] == [(1, "not_in_list")]
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("count", [0, 10_001])
def test_it_takes_one_to_ten_thousand_items(business: User, count: int) -> None:
    with pytest.raises(Invalid):
        give_feedback([{"prediction": "p_x", "actual": 1}] * count, actor=business)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5.0), (5.5, 5.5), ("5", None), (True, None), (float("nan"), None), (10**400, None), (None, None)],
)
def test_a_regressions_outcome_is_a_finite_number(value: Any, expected: float | None) -> None:
    target = factories.create_version(
        schema={**factories.SCHEMA, "target": {"name": "y", "task": "regression"}}
    ).schema_object.target

    assert feedback.read_actual(target, value) == expected


def test_it_tells_the_apps_above_after_commit(
    release: Release, business: User, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[dict[str, Any]] = []

    def listen(sender: Any, **what: Any) -> None:
        heard.append(what)

    ids = ask(release, business, 2)
    feedback_given.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            give_feedback([{"prediction": each, "actual": "yes"} for each in ids], actor=business)
    finally:
        feedback_given.disconnect(listen)

    assert heard[0]["model_id"] == release.model_id
    assert heard[0]["version_ids"] == [release.version_id]
    assert len(heard[0]["feedback_ids"]) == 2


def test_an_outcome_may_come_late_and_says_when_it_was_true(release: Release, business: User) -> None:
    [public_id] = ask(release, business)
    at = timezone.now().replace(microsecond=0)

    give_feedback([{"prediction": public_id, "actual": "yes", "at": at.isoformat()}], actor=business)

    assert Feedback.objects.get().at == at


def test_an_integrator_may_tell_the_outcome_of_what_a_colleague_asked(
    release: Release, business: User
) -> None:
    [public_id] = ask(release, business)
    integrator = factories.create_user(roles=[Role.INTEGRATOR])

    assert give_feedback([{"prediction": public_id, "actual": "no"}], actor=integrator).accepted == 1
