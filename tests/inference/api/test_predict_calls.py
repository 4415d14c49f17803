"""Predictions and outcomes through the API: exactly the contract's answers."""

from typing import Any

import pytest

from inference import runners
from inference.runners import ModelTimeout, ModelUnavailable
from registry.models import AuditEvent, ModelVersion, RegisteredModel, Release, User
from tests.api import Program, ok, problem, program
from tests.factories import SCHEMA, create_approval, create_model, create_release, create_version
from tests.inference import answers
from tests.inference.answers import row

PREDICT = "/models/loans/predict/"


@pytest.fixture(autouse=True)
def _answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)


@pytest.fixture
def model(db: None) -> RegisteredModel:
    return create_model(slug="loans")


@pytest.fixture
def release(model: RegisteredModel) -> Release:
    return create_release(version=create_version(model=model))


@pytest.fixture
def caller(integrator: User) -> Program:
    return program(integrator)


def test_one_row_is_answered(caller: Program, release: Release) -> None:
    response = caller.post(PREDICT, {"inputs": row(age=40)})

    found = ok(response)
    (prediction,) = found.pop("predictions")
    assert found == {
        "model": "loans",
        "version": 1,
        "release": 1,
        "environment": "production",
        "request_id": response["X-Request-ID"],
    }
    assert prediction.pop("id").startswith("p_")
    assert prediction == {
        "label": "no",
        "value": 0.4,
        "probabilities": {"no": 0.6, "yes": 0.4},
        "warnings": [],
        "reasons": [],
        "base": None,
        "scale": None,
    }


def test_many_rows_are_answered_in_their_order(caller: Program, release: Release) -> None:
    found = ok(caller.post(PREDICT, {"rows": answers.rows(200)}))["predictions"]

    assert [each["value"] for each in found] == [(20 + n % 60) / 100 for n in range(200)]
    assert len({each["id"] for each in found}) == 200


@pytest.mark.parametrize("count", [0, 10_001])
def test_it_takes_1_to_10_000_rows(caller: Program, release: Release, count: int) -> None:
    problem(caller.post(PREDICT, {"rows": [row()] * count}), 422, "row_count")


@pytest.mark.parametrize(
    "body", [{}, {"inputs": {}, "rows": []}, {"rows": {}}, {"inputs": []}, {"rows": "x"}]
)
def test_it_takes_either_inputs_or_rows(caller: Program, release: Release, body: Any) -> None:
    problem(caller.post(PREDICT, body), 422)


@pytest.mark.parametrize("name", ["imputs", "rowz"])
def test_a_name_that_nobody_knows_is_named(caller: Program, release: Release, name: str) -> None:
    assert problem(caller.post(PREDICT, {name: {}}), 422, "unknown_field")["errors"][0]["field"] == name


def test_reasons_come_when_they_are_asked_for(caller: Program, release: Release) -> None:
    (found,) = ok(caller.post(PREDICT, {"inputs": row(age=40), "explain": True}))["predictions"]

    assert found["reasons"][0] == {"field": "age", "value": 40, "contribution": pytest.approx(-0.1)}
    assert (found["base"], found["scale"]) == (0.5, "probability")
    added_up = found["base"] + sum(each["contribution"] for each in found["reasons"])
    assert added_up == pytest.approx(found["value"])
    told = ok(caller.get(f"/predictions/{found['id']}/"))
    assert {name: told[name] for name in ("reasons", "base", "scale")} == {
        name: found[name] for name in ("reasons", "base", "scale")
    }


def test_reasons_are_not_given_unasked(caller: Program, release: Release) -> None:
    (found,) = ok(caller.post(PREDICT, {"inputs": row(), "explain": False}))["predictions"]

    assert found["reasons"] == []
    assert (found["base"], found["scale"]) == (None, None)
    told = ok(caller.get(f"/predictions/{found['id']}/"))
    assert (told["reasons"], told["base"], told["scale"]) == ([], None, None)


def test_a_hundred_rows_a_call_are_explained(caller: Program, release: Release) -> None:
    ok(caller.post(PREDICT, {"rows": answers.rows(100), "explain": True}))
    problem(caller.post(PREDICT, {"rows": answers.rows(101), "explain": True}), 422, "too_many_to_explain")


def test_an_answer_does_not_fail_for_want_of_its_reasons(
    caller: Program, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = runners.ModelError("There are none.", code="unexplainable", detail="it reads a text")
    monkeypatch.setattr(runners, "explain", answers.failing(error))

    (found,) = ok(caller.post(PREDICT, {"inputs": row(), "explain": True}))["predictions"]

    assert found["value"] == 0.4
    assert found["reasons"] == []
    assert found["warnings"] == [
        {"field": "", "code": "not_explained", "detail": "There are none. it reads a text"}
    ]


def test_all_or_nothing_with_a_0_based_row_for_each_mistake(caller: Program, release: Release) -> None:
    rows = [row(), row(age="old"), row(), row(age=1.5, colour="red")]

    found = problem(caller.post(PREDICT, {"rows": rows}), 422, "invalid_rows")

    assert {(each["row"], each["field"], each["code"]) for each in found["errors"]} == {
        (1, "age", "not_a_number"),
        (3, "age", "not_an_integer"),
        (3, "colour", "unknown_field"),
    }
    assert all(each["expected"] or each["fix"] for each in found["errors"])


def test_missing_is_null_is_absent(caller: Program, release: Release) -> None:
    ok(caller.post(PREDICT, {"inputs": {"age": 40, "city": "Pune"}}))
    ok(caller.post(PREDICT, {"inputs": row(income=None)}))
    assert problem(caller.post(PREDICT, {"inputs": {"city": "Pune"}}), 422)["errors"][0]["field"] == "age"
    ok(caller.post(PREDICT, {"inputs": row(age=40.0)}))


def test_an_unseen_category_is_a_warning(caller: Program, release: Release) -> None:
    (found,) = ok(caller.post(PREDICT, {"inputs": row(city="Agra")}))["predictions"]

    assert [(each["field"], each["code"]) for each in found["warnings"]] == [("city", "unseen_category")]


def test_a_regression_has_a_value_and_no_label(
    caller: Program, model: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    target: dict[str, Any] = {"name": "income_next", "task": "regression", "classes": [], "positive": None}
    create_release(version=create_version(model=model, schema={**SCHEMA, "target": target}))
    answers.install(monkeypatch, answers.regress)

    (found,) = ok(caller.post(PREDICT, {"inputs": row(age=40)}))["predictions"]

    assert (found["label"], found["value"], found["probabilities"]) == (None, 80.0, None)


def test_nothing_answers_before_a_release_and_the_attempt_is_kept(
    caller: Program, model: RegisteredModel
) -> None:
    version = create_version(model=model)
    create_approval(version=version)  # approving never releases

    problem(caller.post(PREDICT, {"inputs": row()}), 503, "nothing_serving")
    problem(caller.post(PREDICT, {"inputs": row(), "version": 1}), 409, "not_released")
    problem(
        caller.post(PREDICT, {"inputs": row(), "version": 1, "environment": "staging"}), 409, "not_released"
    )

    events = [
        (event.action, event.result, event.details["code"]) for event in AuditEvent.objects.order_by("seq")
    ]
    assert events == [
        ("prediction.made", "refused", "nothing_serving"),
        ("prediction.made", "refused", "not_released"),
    ]


def test_a_program_that_insists_is_recorded_once_a_minute(caller: Program, model: RegisteredModel) -> None:
    for _time in range(3):
        problem(caller.post(PREDICT, {"inputs": row()}), 503)

    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("state", ["draft", "checking", "checks_failed", "retired", "quarantined"])
def test_a_version_that_may_not_answer_any_more_does_not(
    caller: Program, release: Release, state: str
) -> None:
    ModelVersion.objects.update(state=state)

    problem(caller.post(PREDICT, {"inputs": row()}), 503, "nothing_serving")
    problem(caller.post(PREDICT, {"inputs": row(), "version": 1}), 409, "version_barred")


def test_a_version_that_has_served_may_be_asked_by_its_number(caller: Program, release: Release) -> None:
    create_release(version=create_version(model=release.model))

    assert ok(caller.post(PREDICT, {"inputs": row()}))["version"] == 2
    assert ok(caller.post(PREDICT, {"inputs": row(), "version": 1}))["version"] == 1
    problem(caller.post(PREDICT, {"inputs": row(), "version": 3}), 409, "not_released")


def test_an_unknown_environment_is_422(caller: Program, release: Release) -> None:
    problem(caller.post(PREDICT, {"inputs": row(), "environment": "moon"}), 422, "unknown_environment")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelTimeout("slow"), 504, "model_timeout"),
        (ModelUnavailable("away", detail="secret"), 503, "model_unavailable"),
    ],
)
def test_a_model_that_fails_is_no_trace(
    caller: Program,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    code: str,
) -> None:
    answers.install(monkeypatch, answers.failing(error))

    response = caller.post(PREDICT, {"inputs": row()})

    problem(response, status, code)
    assert b"secret" not in response.content


def test_auditors_do_not_predict(auditor: User, release: Release) -> None:
    problem(program(auditor).post(PREDICT, {"inputs": row()}), 403, "role_missing")


def test_a_prediction_can_be_read_as_soon_as_it_was_answered(
    caller: Program, release: Release, author: User
) -> None:
    answer = ok(caller.post(PREDICT, {"inputs": row(age=40)}))
    path = f"/predictions/{answer['predictions'][0]['id']}/"

    found = ok(caller.get(path))

    assert (found["model"], found["version"], found["release"], found["channel"]) == ("loans", 1, 1, "api")
    assert (found["inputs"], found["label"], found["value"]) == (row(age=40), "no", 0.4)
    assert (found["asked_by"], found["request_id"]) == ("integrator@example.com", answer["request_id"])
    problem(program(author).get(path), 404)


def test_a_key_for_other_models_reads_none_of_them(
    caller: Program, release: Release, integrator: User
) -> None:
    answer = ok(caller.post(PREDICT, {"inputs": row()}))
    limited = program(integrator, models=[create_model(slug="other")])
    prediction = answer["predictions"][0]["id"]

    problem(limited.get(f"/predictions/{prediction}/"), 404)
    receipt = ok(limited.post("/feedback/", {"items": [{"prediction": prediction, "actual": "yes"}]}))
    assert receipt == {"accepted": 0, "corrected": 0, "unknown": [prediction]}


def test_outcomes_are_accepted_corrected_and_unknown(caller: Program, release: Release) -> None:
    ids = [each["id"] for each in ok(caller.post(PREDICT, {"rows": answers.rows(2)}))["predictions"]]
    items = [{"prediction": ids[0], "actual": "yes"}, {"prediction": "p_nowhere", "actual": "yes"}]

    assert ok(caller.post("/feedback/", {"items": items})) == {
        "accepted": 1,
        "corrected": 0,
        "unknown": ["p_nowhere"],
    }
    assert (
        ok(caller.post("/feedback/", {"items": [{"prediction": ids[0], "actual": "no"}]}))["corrected"] == 1
    )


def test_a_bad_outcome_is_named_with_its_row(caller: Program, release: Release) -> None:
    prediction = ok(caller.post(PREDICT, {"inputs": row()}))["predictions"][0]["id"]
    items = [{"prediction": prediction, "actual": "yes"}, {"prediction": prediction, "actual": "maybe"}]

    found = problem(caller.post("/feedback/", {"items": items}), 422, "invalid_feedback")

    assert [(each["row"], each["field"]) for each in found["errors"]] == [(1, "actual")]


def test_two_versions_are_compared(author: User, model: RegisteredModel) -> None:
    wider = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "rent", "type": "number", "required": False}]}
    create_version(model=model, measured_metrics={"auc": 0.8})
    create_version(model=model, measured_metrics={"auc": 0.85}, schema=wider)

    found = ok(program(author).get("/models/loans/compare/", a=1, b=2))

    assert found["metrics"] == [{"name": "auc", "a": 0.8, "b": 0.85, "delta": 0.05, "better": True}]
    assert [(change["field"], change["kind"]) for change in found["schema"]] == [("rent", "added")]
    assert found["agreement"]["share"] is None
    assert found["verdict"] == "v2 is better on AUC +0.05, adds rent."
    problem(program(author).get("/models/loans/compare/", a=1, b=9), 404)
    problem(program(author).get("/models/loans/compare/", a=1), 422, "required")
