"""Two versions side by side: the same rows, the same code, and who would be refused."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from inference import agreement, clients, comparing, runners
from inference.checks.measuring import Answers
from inference.models import Comparison, Measurement, Prediction
from registry import differences
from registry.actions import approvals
from registry.models import Dataset, ModelVersion, RegisteredModel, User
from tests.api import ok, program
from tests.factories import SCHEMA, create_dataset, create_model, create_release, create_version
from tests.inference.test_gates import Runner, rows

State = Comparison.State


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> dict[int, Runner]:
    known: dict[int, Runner] = {}
    monkeypatch.setattr(
        runners, "fresh", lambda version: known.setdefault(version.number, Runner(version.number))
    )
    return known


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="loans", owners=[author])


@pytest.fixture
def data(model: RegisteredModel) -> Dataset:
    return create_dataset(model=model, content=rows(), role="evaluation")


@pytest.fixture
def pair(model: RegisteredModel, data: Dataset, ask: dict[int, Runner]) -> tuple[ModelVersion, ModelVersion]:
    ask[2] = Runner(2, wrong=range(41, 60, 2))
    return create_version(model=model, evaluation=data), create_version(model=model, evaluation=data)


def compared(a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    """As a worker leaves it."""
    found = comparing.start(a, b)
    assert found is not None
    comparing.compute(found.pk)
    return comparing.compare(a, b)


# --- computed by a worker ---


def test_both_are_asked_the_same_rows_once(pair: Any, ask: dict[int, Runner]) -> None:
    a, b = pair

    found = compared(a, b)

    assert (found["state"], found["measured_rows"]) == ("done", 80)
    assert (found["agreement"]["rows"], found["agreement"]["changed"]) == (80, 20)
    assert found["agreement"]["share"] == 0.75
    assert found["agreement"]["matrix"] == {"labels": ["no", "yes"], "counts": [[40, 0], [20, 20]]}
    assert found["metrics"][0] == {"name": "accuracy", "a": 1.0, "b": 0.75, "delta": -0.25, "better": False}
    assert "v2 is worse on Accuracy −0.25" in found["verdict"]
    compared(b, a)
    assert (ask[1].asked, ask[2].asked) == ([80], [80])


def test_examples_are_rows_whose_answer_changes(pair: Any) -> None:
    example = compared(*pair)["agreement"]["examples"][0]

    assert (example["a"], example["b"]) == ("yes", "no")
    assert example["inputs"]["city"] == "Pune"
    assert example["inputs"]["age"] % 2 == 1
    assert comparing.without_rows(compared(*pair))["agreement"]["examples"] == []


def test_groups_say_how_many_rows_they_are_of(pair: Any) -> None:
    found = {each["group"]: each for each in compared(*pair)["slices"]}

    assert (found["Pune"]["rows"], found["Pune"]["a"], found["Pune"]["b"]) == (40, 1.0, 0.5)
    assert (found["Delhi"]["loss"], found["Delhi"]["is_few"]) == (0.0, False)


def test_small_groups_are_marked(model: RegisteredModel, ask: Any) -> None:
    data = create_dataset(model=model, content=rows(40))
    versions = [create_version(model=model, reference=data) for _n in range(2)]

    assert all(each["is_few"] for each in compared(*versions)["slices"])


def test_running_it_twice_changes_nothing_more(pair: Any) -> None:
    found = comparing.start(*pair)
    assert found is not None
    comparing.compute(found.pk)
    finished = Comparison.objects.get().finished_at

    comparing.compute(found.pk)

    assert Comparison.objects.get().finished_at == finished


def test_the_tick_makes_good_what_nobody_looks_at(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(comparing.dispatch, "enqueue", lambda task, pk: sent.append((task, pk)))
    found = comparing.start(*pair)
    assert found is not None
    long_ago = timezone.now() - 2 * Comparison.LEASE
    lost = [{"asked_at": long_ago}, {"state": State.RUNNING, "started_at": long_ago, "asked_at": long_ago}]

    assert comparing.requeue_lost() == 0
    for state in lost:
        Comparison.objects.update(**state)
        assert (comparing.requeue_lost(), comparing.requeue_lost()) == (1, 0)
    Comparison.objects.update(state=State.DONE, asked_at=long_ago)
    assert comparing.requeue_lost() == 0

    assert sent == [(comparing.TASK, found.pk)] * 3


def test_a_lost_message_and_a_dead_worker_are_made_good(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(comparing.dispatch, "enqueue", lambda task, pk: sent.append(pk))
    comparing.start(*pair)
    comparing.start(*pair)
    assert len(sent) == 1

    Comparison.objects.update(asked_at=timezone.now() - 2 * Comparison.PATIENCE)
    comparing.start(*pair)
    assert len(sent) == 2

    long_ago = timezone.now() - 2 * Comparison.LEASE
    Comparison.objects.update(state=State.RUNNING, started_at=long_ago, asked_at=long_ago)
    comparing.start(*pair)
    assert len(sent) == 3
    comparing.compute(sent[0])
    assert Comparison.objects.get().state == State.DONE


def test_one_that_takes_its_worker_along_each_time_ends_as_failed(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_comparison: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(comparing, "_compute", die)
    found = comparing.start(*pair)
    long_ago = timezone.now() - 2 * Comparison.LEASE
    for _worker in range(Comparison.TRIES):
        with pytest.raises(SystemExit):
            comparing.compute(found.pk)
        Comparison.objects.update(started_at=long_ago, asked_at=long_ago)
        assert comparing.requeue_lost() == 1

    comparing.compute(found.pk)

    ended = Comparison.objects.get()
    assert (ended.state, "took its worker with it" in ended.note) == (State.FAILED, True)
    Comparison.objects.update(asked_at=long_ago)
    assert comparing.requeue_lost() == 0


def test_a_version_that_fails_is_told_and_not_hidden(
    pair: Any, ask: dict[int, Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise runners.ModelError("The model failed on these rows.", code="model_failed")

    monkeypatch.setattr(ask[2], "predict", fail)

    found = compared(*pair)

    assert (found["state"], found["agreement"]["share"]) == ("failed", None)
    assert "failed on these rows" in found["agreement"]["note"]


def test_a_request_starts_it(
    author: User, pair: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    a, b = pair
    create_release(version=a)

    with django_capture_on_commit_callbacks(execute=True):
        approvals.ask(b, reason="retrained on spring data", actor=author)

    assert [(each.a_id, each.b_id) for each in Comparison.objects.all()] == [(a.pk, b.pk)]


def test_checking_a_version_again_forgets_what_it_answered(pair: Any) -> None:
    compared(*pair)

    comparing.measuring.forget(pair[1])

    assert not Comparison.objects.exists()
    assert [each.version_id for each in Measurement.objects.all()] == [pair[0].pk]


# --- why not ---


def test_without_data_nobody_can_say_and_says_so(model: RegisteredModel) -> None:
    found = comparing.compare(create_version(model=model), create_version(model=model))

    assert found["state"] == "none"
    assert "Neither version has reference data" in found["agreement"]["note"]
    assert "nobody can say which is better" in found["verdict"]


def test_a_version_that_may_not_answer_is_not_asked(model: RegisteredModel, data: Dataset) -> None:
    draft = create_version(model=model, evaluation=data, state="draft")

    assert comparing.compare(create_version(model=model), draft)["agreement"]["note"] == (
        "Only checked versions are asked."
    )


# --- agreement of numbers ---


def test_regressions_agree_within_a_hundredth() -> None:
    places = np.arange(4)
    a = Answers(places, None, np.array([100.0, 100.0, 100.0, 0.0]), ())
    b = Answers(places, None, np.array([100.9, 102.0, 90.0, 0.0]), ())

    found = agreement.agreement(a, b)

    assert (found["share"], found["changed"]) == (0.5, 2)
    assert found["differences"]["mean"] == pytest.approx(-1.775)
    assert sum(each["count"] for each in found["differences"]["bins"]) == 4


def test_only_rows_that_both_answered_count() -> None:
    a = Answers(np.array([0, 2, 4]), np.array([0, 1, 0]), None, ("no", "yes"))
    b = Answers(np.array([2, 3, 4]), np.array([0, 0, 0]), None, ("yes", "no"))

    found = agreement.agreement(a, b)

    assert (found["rows"], found["changed"]) == (2, 1)


def test_the_class_1_is_not_the_class_true() -> None:
    a = Answers(np.array([0]), np.array([0]), None, (1,))
    b = Answers(np.array([0]), np.array([0]), None, (True,))

    assert agreement.agreement(a, b)["share"] == 0


# --- clients ---


def called(version: ModelVersion, key: str, count: int, channel: str = "api", **inputs: Any) -> None:
    row = {"age": 30, "income": 1000.0, "city": "Pune", **inputs}
    for number in range(count):
        Prediction.objects.create(
            public_id=f"p_{key}-{channel}-{number}-{len(inputs)}",
            model=version.model,
            version=version,
            environment="production",
            channel=channel,
            user_name="bot@example.com",
            key_name=key,
            at=timezone.now(),
            inputs=row,
            latency_ms=1.0,
        )


def changed(**changes: Any) -> dict[str, Any]:
    """The factories' schema with other properties of `age` and `income`, and perhaps other fields."""
    stays = [each for each in SCHEMA["fields"] if each["name"] not in changes.get("drop", ())]
    fields = [{**each, **changes.get(each["name"], {})} for each in stays]
    return {**SCHEMA, "fields": [*fields, *changes.get("add", [])], "examples": []}


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        (changed(add=[{"name": "tenure", "type": "integer"}]), {"old": 3, "young": 2}),
        (changed(add=[{"name": "tenure", "type": "integer", "required": False}]), {}),
        (changed(drop=["income"]), {"old": 3}),
        (changed(income={"required": True}), {"young": 2}),
        (changed(age={"max": 50}), {"old": 3}),
        (changed(city={"categories": ["Delhi"], "strict": True}), {"old": 3, "young": 2}),
    ],
)
def test_clients_that_would_be_refused_are_counted_by_key(
    model: RegisteredModel, schema: dict[str, Any], refused: dict[str, int]
) -> None:
    now = create_version(model=model)
    called(now, "old", 3, age=60)
    called(now, "young", 2, income=None)
    called(now, "person", 4, channel="page", age=60)

    found = comparing.compare(now, create_version(model=model, schema=schema))["clients"]

    assert {each["client"]: each["refused"] for each in found["clients"]} == refused


def test_calls_of_long_ago_are_nobody_s(model: RegisteredModel) -> None:
    now = create_version(model=model)
    called(now, "old", 2)
    Prediction.objects.update(at=timezone.now() - timedelta(days=clients.DAYS + 1))
    after = create_version(model=model, schema=changed(drop=["income"]))

    assert comparing.compare(now, after)["clients"]["clients"] == []


def test_calls_whose_inputs_the_policy_has_emptied_count_for_nothing(model: RegisteredModel) -> None:
    now = create_version(model=model)
    called(now, "old", 2)
    Prediction.objects.update(inputs={}, inputs_removed_at=timezone.now())
    after = create_version(model=model, schema=changed(age={"max": 40}))

    assert comparing.compare(now, after)["clients"]["clients"] == []


# --- differences in words ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age": {"max": 50}}, "age: range 0 – 120 becomes 0 – 50"),
        ({"age": {"type": "number"}}, "age: integer becomes number"),
        ({"income": {"required": True}}, "income: is required now"),
        ({"city": {"categories": ["Delhi", "Agra"]}}, "city: categories: new Agra, gone Pune"),
        ({"drop": ["income"]}, "income: is no longer used"),
        ({"add": [{"name": "rent", "type": "number", "required": False}]}, "rent: is new (number, optional)"),
    ],
)
def test_a_schema_s_changes_are_told_in_words(
    model: RegisteredModel, changes: dict[str, Any], words: str
) -> None:
    a, b = create_version(model=model), create_version(model=model, schema=changed(**changes))

    lines = differences.schema_lines(differences.schema_changes(a, b))

    assert [f"{line.field}: {line.text}" for line in lines] == [words]


def test_what_no_client_feels_is_no_change(model: RegisteredModel) -> None:
    relabelled = changed(age={"label": {"en": "Years"}, "training": {"min": 20, "max": 80}})

    assert (
        differences.schema_changes(
            create_version(model=model), create_version(model=model, schema=relabelled)
        )
        == []
    )


def test_card_packages_and_names_are_compared(model: RegisteredModel) -> None:
    a = create_version(
        model=model,
        card="# Loans\nNot for mortgages.",
        environment={"packages": {"numpy": "2.0"}},
        globals={"names": ["sklearn.svm.SVC"]},
    )
    b = create_version(
        model=model,
        card="# Loans\nNot for cars.",
        environment={"packages": {"numpy": "2.1"}},
        globals={"names": ["sklearn.tree.Tree"]},
    )

    found = comparing.compare(a, b)

    assert [(line["kind"], line["text"]) for line in found["card"]] == [
        ("removed", "Not for mortgages."),
        ("added", "Not for cars."),
    ]
    assert found["environment"] == [{"name": "numpy", "a": "2.0", "b": "2.1"}]
    assert found["globals"] == {"added": ["sklearn.tree.Tree"], "removed": ["sklearn.svm.SVC"]}


# --- the API ---


def test_the_api_takes_a_first_look_and_then_tells_what_is_kept(
    author: User, business: User, pair: Any, ask: dict[int, Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "predict", lambda version, table, *args: ask[version.number].predict(table))
    ask[1] = Runner(1)

    first = ok(program(author).get("/models/loans/compare/", a=1, b=2))
    assert (first["state"], first["agreement"]["share"]) == ("waiting", 0.75)

    comparing.compute(Comparison.objects.get().pk)
    kept = ok(program(author).get("/models/loans/compare/", a=1, b=2))
    assert (kept["state"], len(kept["agreement"]["examples"])) == ("done", 10)
    assert kept["dataset"]["role"] == "evaluation"
    assert ok(program(business).get("/models/loans/compare/", a=1, b=2))["agreement"]["examples"] == []
