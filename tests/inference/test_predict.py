"""The verb `predict`: who may, what answers, which rows fit, and that nothing leaves unrecorded."""

from typing import Any

import pytest

from inference import log, ports, records, runners
from inference.models import Prediction
from inference.ports import CallBatch
from inference.predictions import predict
from registry.errors import Forbidden, Invalid, NothingServing, Refused, Unavailable
from registry.models import ModelVersion, Release, Role, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _runner(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[CallBatch]:
    batches: list[CallBatch] = []
    monkeypatch.setattr(ports, "sinks", [batches.append])
    return batches


def ask(release: Release, actor: User, *rows: Any, **options: Any) -> Any:
    return predict(release.model, list(rows or [answers.row()]), actor=actor, channel="api", **options)


def test_it_answers_with_the_contract_of_the_api(business: User) -> None:
    release = factories.create_release()

    answer = ask(release, business, request_id="req-12345678").to_json()

    [prediction] = answer.pop("predictions")
    assert answer == {
        "model": release.model.slug,
        "version": 1,
        "release": 1,
        "environment": "production",
        "request_id": "req-12345678",
    }
    assert len(prediction.pop("id")) == 28
    assert prediction == {
        "label": "no",
        "value": 0.4,
        "probabilities": {"no": 0.6, "yes": 0.4},
        "warnings": [],
        "reasons": [],
        "base": None,
        "scale": None,
    }


def test_it_answers_a_regression_with_a_value_alone(business: User, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch, answers.regress)
    schema = {**factories.SCHEMA, "target": {"name": "amount", "task": "regression"}}
    release = factories.create_release(version=factories.create_version(schema=schema))

    [row] = ask(release, business).rows

    assert (row.label, row.value, row.probabilities) == (None, 80.0, None)


def test_it_keeps_the_json_type_of_a_class(business: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*args: Any) -> runners.Answer:
        plain = answers.classify(*args)
        return runners.Answer((0.0, 1.0), plain.indices, plain.probabilities, plain.values, 0.0)  # type: ignore[arg-type]

    answers.install(monkeypatch, answer)
    target = {"name": "repaid", "task": "classification", "classes": [0, 1], "positive": 1}
    release = factories.create_release(
        version=factories.create_version(schema={**factories.SCHEMA, "target": target})
    )

    [row] = ask(release, business).rows

    assert type(row.label) is int
    assert row.probabilities == {"0": 0.6, "1": 0.4}


def test_it_is_readable_as_soon_as_it_was_answered(business: User) -> None:
    release = factories.create_release()
    [row] = ask(release, business, answers.row(age=95, city="Agra")).rows

    record = records.read(row.id, actor=business)

    assert record.inputs == {"age": 95, "income": 1000.0, "city": "Agra"}
    assert (record.label, record.value, record.version_id) == ("yes", 0.95, release.version_id)
    assert [each["code"] for each in record.warnings] == ["outside_training_range", "unseen_category"]
    prediction = Prediction.objects.get()
    assert (prediction.user, prediction.user_name, prediction.channel) == (business, str(business), "api")
    assert prediction.release == release


def test_it_scores_nothing_when_one_row_is_wrong(business: User, counted: list[CallBatch]) -> None:
    release = factories.create_release()

    with pytest.raises(Invalid) as caught:
        ask(release, business, answers.row(), answers.row(age="old", colour="red"))

    assert [(error["row"], error["field"], error["code"]) for error in caught.value.errors] == [
        (1, "age", "not_a_number"),
        (1, "colour", "unknown_field"),
    ]
    log.ingest()
    assert not Prediction.objects.exists()
    [batch] = counted
    assert (list(batch.call_statuses), len(batch), list(batch.call_rows)) == ([422], 0, [2])


@pytest.mark.parametrize("count", [0, 10_001])
def test_it_takes_one_to_ten_thousand_rows(business: User, count: int) -> None:
    release = factories.create_release()

    with pytest.raises(Invalid, match="1 to 10000"):
        predict(release.model, [answers.row()] * count, actor=business, channel="api")


def test_it_refuses_who_may_not_predict(auditor: User, stranger: User) -> None:
    release = factories.create_release()

    for actor in (auditor, stranger):
        with pytest.raises(Forbidden):
            ask(release, actor)


def test_it_answers_nothing_where_nothing_serves(business: User, counted: list[CallBatch]) -> None:
    model = factories.create_version().model

    with pytest.raises(NothingServing):
        predict(model, [answers.row()], actor=business, channel="api")

    log.ingest()
    assert [(batch.version_id, list(batch.call_statuses)) for batch in counted] == [(None, [503])]


def test_it_refuses_a_version_that_was_never_released_there(business: User) -> None:
    release = factories.create_release()
    factories.create_version(model=release.model)

    with pytest.raises(Refused) as caught:
        ask(release, business, version_number=2)

    assert caught.value.code == "not_released"


def test_it_refuses_a_version_that_was_retired_since(business: User) -> None:
    release = factories.create_release()
    ModelVersion.objects.update(state=ModelVersion.State.RETIRED)

    with pytest.raises(NothingServing):
        ask(release, business)


def test_it_counts_a_model_that_is_too_slow(
    business: User, counted: list[CallBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = factories.create_release()
    answers.install(monkeypatch, answers.failing(runners.ModelTimeout("too slow")))

    with pytest.raises(runners.ModelTimeout):
        ask(release, business)

    log.ingest()
    assert [(batch.version_id, list(batch.call_statuses)) for batch in counted] == [
        (release.version_id, [504])
    ]


def test_it_gives_no_answer_that_it_cannot_record(business: User, monkeypatch: pytest.MonkeyPatch) -> None:
    release = factories.create_release()

    def full(*args: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inference.segments.os.write", full)

    with pytest.raises(Unavailable) as caught:
        ask(release, business)

    assert caught.value.code == "log_unavailable"


def test_it_answers_again_when_the_disk_has_room_again(
    business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = factories.create_release()
    with monkeypatch.context() as context, pytest.raises(Unavailable):
        context.setattr("inference.segments.os.write", lambda _fd, data: len(data) // 2)
        ask(release, business)

    [row] = ask(release, business).rows

    assert records.find(row.id) is not None
    assert Prediction.objects.count() == 1


def test_a_form_that_is_sent_twice_is_one_prediction(business: User, counted: list[CallBatch]) -> None:
    release = factories.create_release()
    for _again in range(2):
        ask(release, business, ids=["p_00000000000000000000000001"])

    log.ingest()

    assert Prediction.objects.count() == 1
    [batch] = counted
    assert (len(batch), len(batch.call_at)) == (1, 2)


def test_it_shows_a_prediction_to_nobody_else(business: User, auditor: User) -> None:
    release = factories.create_release()
    [row] = ask(release, business).rows
    colleague = factories.create_user(roles=[Role.BUSINESS])

    with pytest.raises(Refused) as caught:
        records.read(row.id, actor=colleague)

    assert caught.value.status == 404
    assert records.read(row.id, actor=auditor).public_id == row.id


def test_it_tells_the_sinks_rows_in_the_schemas_types(business: User, counted: list[CallBatch]) -> None:
    release = factories.create_release()
    ask(release, business, answers.row(age=30), answers.row(age=70, income=None))

    log.ingest()

    [batch] = counted
    assert batch.columns.to_pydict() == {"age": [30, 70], "income": [1000.0, None], "city": ["Pune", "Pune"]}
    assert list(batch.labels) == ["no", "yes"]
    assert [list(shares) for shares in batch.probabilities] == [[0.7, 0.3], [pytest.approx(0.3), 0.7]]
    assert (batch.classes, batch.model_id) == (("no", "yes"), release.model_id)
    assert len(batch.at) == 2


def test_a_sink_that_fails_takes_nothing_in(business: User, monkeypatch: pytest.MonkeyPatch) -> None:
    release = factories.create_release()
    [row] = ask(release, business).rows

    def broken(batch: CallBatch) -> None:
        raise RuntimeError("sink")

    with monkeypatch.context() as context:
        context.setattr(ports, "sinks", [broken])
        with pytest.raises(RuntimeError, match="sink"):
            log.ingest()
    assert not Prediction.objects.exists()

    assert records.find(row.id) is not None
