"""Quality gates: measured by us on the rows that the version is judged on, against what serves, and never on a word."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from inference import runners
from inference.checks import gates, measuring, slices
from inference.checks.outcome import Problem
from inference.models import Measurement
from inference.runners import Answer
from registry import ports
from registry.actions import approvals, policies, releases
from registry.errors import Refused
from registry.models import AuditEvent, CheckResult, Dataset, ModelVersion, RegisteredModel, Role, User
from tests.factories import (
    SCHEMA,
    create_approval,
    create_dataset,
    create_model,
    create_release,
    create_user,
    create_version,
)

CITIES = ["Delhi", "Pune"]


def rows(count: int = 80) -> bytes:
    """People of 20 to 59: who is 40 or older repaid."""
    lines = [
        f"{20 + n % 40},{1000 + n},{CITIES[n % 2]},{'yes' if n % 40 >= 20 else 'no'}" for n in range(count)
    ]
    return "\n".join(["age,income,city,repaid", *lines, ""]).encode()


class Runner:
    """Answers by a rule; `wrong` are the ages that it gets wrong, in Pune only."""

    asked: list[int]

    def __init__(self, number: int, wrong: range = range(0)) -> None:
        self.number, self.wrong = number, wrong
        self.asked = []

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *args: Any) -> None:
        pass

    def predict(self, table: pa.Table, deadline: float = 0) -> Answer:
        self.asked.append(table.num_rows)
        ages, cities = table["age"].to_pylist(), table["city"].to_pylist()
        yes = [
            (age >= 40) != (age in self.wrong and city == "Pune")
            for age, city in zip(ages, cities, strict=True)
        ]
        chances = np.where(yes, 0.9, 0.1)
        return Answer(
            ("no", "yes"), np.array(yes).astype(int), np.column_stack([1 - chances, chances]), chances, 0.0
        )


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> dict[int, Runner]:
    """By number of the version: how it answers."""
    known: dict[int, Runner] = {}
    monkeypatch.setattr(
        runners, "fresh", lambda version: known.setdefault(version.number, Runner(version.number))
    )
    return known


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(owners=[author])


@pytest.fixture
def data(model: RegisteredModel) -> Dataset:
    return create_dataset(model=model, content=rows(), role="evaluation")


def version_of(model: RegisteredModel, data: Dataset | None, **fields: Any) -> ModelVersion:
    version = create_version(model=model, evaluation=data, **fields)
    CheckResult.objects.create(version=version, name="latency", position=7, figures={"p95_ms": 12.0})
    return version


def judged(model: RegisteredModel, version: ModelVersion, *policy: dict[str, Any]) -> list[tuple[bool, str]]:
    model.policy = {"gates": list(policy)}
    model.save()
    version.refresh_from_db()
    serving = gates.serving_in(model, "production")
    return [(each.passed, each.detail) for each in gates.judge(version, serving)]


# --- each gate ---


@pytest.mark.parametrize(("least", "passed"), [(0.925, True), (0.926, False)])
def test_a_figure_against_a_number(
    model: RegisteredModel, data: Dataset, ask: Any, least: float, passed: bool
) -> None:
    ask[1] = Runner(1, wrong=range(51, 60, 4))  # three ages, each twice: 6 of 80 rows

    found = judged(model, version_of(model, data), {"metric": "accuracy", "at_least": least})

    assert found == [(passed, "Measured: 0.925 on 80 rows.")]


def test_not_worse_than_what_serves_on_the_same_rows(model: RegisteredModel, data: Dataset, ask: Any) -> None:
    gate = {"metric": "accuracy", "not_worse_than_serving_by": 0.01}
    version = version_of(model, data)
    assert judged(model, version, gate)[0] == (
        True,
        "Measured: 1 on 80 rows. Nothing serves that it could be compared with.",
    )
    create_release(version=version)
    ask[2] = Runner(2, wrong=range(41, 60, 2))
    worse = version_of(model, data)

    passed, detail = judged(model, worse, gate)[0]

    assert not passed
    assert "v1 on the same rows: 1." in detail
    assert ask[1].asked == [80]  # once, and kept


def test_a_loss_is_a_loss_when_it_grows(model: RegisteredModel, data: Dataset, ask: Any) -> None:
    create_release(version=version_of(model, data))
    ask[2] = Runner(2, wrong=range(41, 60, 2))

    worse = judged(model, version_of(model, data), {"metric": "log_loss", "not_worse_than_serving_by": 0.1})

    assert not worse[0][0]


@pytest.mark.parametrize(("limit", "passed"), [(12.0, True), (11.9, False)])
def test_the_time_of_one_row(
    model: RegisteredModel, data: Dataset, ask: Any, limit: float, passed: bool
) -> None:
    assert judged(model, version_of(model, data), {"p95_ms": limit}) == [(passed, "Measured: 12.0 ms.")]


def test_no_group_may_lose_even_where_the_whole_does_not(
    model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    ask[1] = Runner(1, wrong=range(41, 60, 2))
    create_release(version=version_of(model, data))
    ask[2] = Runner(2, wrong=range(20, 25))
    better = version_of(model, data)
    gate = {"slices": ["age", "city"], "metric": "accuracy", "max_loss": 0.03, "min_rows": 20}

    passed, detail = judged(model, better, gate, {"metric": "accuracy", "not_worse_than_serving_by": 0})[0]

    assert measuring.of(better, data).metrics["accuracy"] > 0.9
    assert not passed
    assert "age = 20 – 29.75 (20 rows)" in detail


def test_groups_that_are_too_small_do_not_count(model: RegisteredModel, data: Dataset, ask: Any) -> None:
    create_release(version=version_of(model, data))
    ask[2] = Runner(2, wrong=range(20, 60))
    gate = {"slices": ["city"], "metric": "accuracy", "max_loss": 0, "min_rows": 41}

    assert judged(model, version_of(model, data), gate) == [(False, "No group of city has 41 rows.")]


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"metric": "accuracy", "at_least": 0.1}, "no data with outcomes"),
        ({"slices": ["city"], "metric": "accuracy", "max_loss": 1}, "no data with outcomes"),
    ],
)
def test_what_cannot_be_measured_is_not_passed(
    model: RegisteredModel, ask: Any, gate: Any, said: str
) -> None:
    passed, detail = judged(model, version_of(model, None), gate)[0]

    assert not passed
    assert said in detail


def test_a_column_that_the_data_lacks_is_named(model: RegisteredModel, data: Dataset, ask: Any) -> None:
    create_release(version=version_of(model, data))
    gate = {"slices": ["sex"], "metric": "accuracy", "max_loss": 1}

    assert judged(model, version_of(model, data), gate) == [(False, "The data has no column sex.")]


def test_a_serving_version_that_answers_none_of_the_rows_is_told(
    model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    other = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "rent", "type": "number"}]}
    create_release(version=version_of(model, data, schema=other))
    gate = {"metric": "accuracy", "not_worse_than_serving_by": 1}

    assert judged(model, version_of(model, data), gate) == [
        (False, "v1 could not be measured: It answers none of these rows.")
    ]


# --- a request ---


def keep_check(version: ModelVersion) -> None:
    gates.judge_model(version.model_id)
    version.refresh_from_db()


def test_a_request_keeps_the_gates_that_it_saw(
    author: User, model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    version = version_of(model, data)
    policies.change_policy(model, {"gates": [{"metric": "accuracy", "at_least": 0.9}]}, actor=author)
    keep_check(version)

    request = approvals.ask(version, reason="passes everything", actor=author)

    assert [(each["words"], each["passed"]) for each in request.gates] == [("Accuracy at least 0.9", True)]
    event = AuditEvent.objects.get(action="request.made")
    assert event.details["gates"][0]["value"] == 1.0


def test_a_missed_gate_refuses_the_request(
    author: User, model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    ask[1] = Runner(1, wrong=range(41, 60, 2))
    version = version_of(model, data)
    policies.change_policy(model, {"gates": [{"metric": "accuracy", "at_least": 0.9}]}, actor=author)
    keep_check(version)

    with pytest.raises(Refused) as caught:
        approvals.ask(version, reason="please let it through", actor=author)

    assert (caught.value.code, caught.value.status) == ("gates_missed", 409)
    assert caught.value.errors[0]["expected"] == "Accuracy at least 0.9"
    check = version.checks.get(name="gates")
    assert (check.status, "Accuracy at least 0.9" in check.detail) == ("failed", True)
    assert not version.requests.exists()


def test_a_new_policy_must_be_judged_before_anybody_asks(
    author: User, model: RegisteredModel, data: Dataset, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(ports.gates, "_start", started.append)
    version = version_of(model, data)
    model.policy = {"gates": [{"metric": "accuracy", "at_least": 0.9}]}
    model.save()
    version.refresh_from_db()

    with pytest.raises(Refused) as caught:
        approvals.ask(version, reason="at once", actor=author)

    assert (caught.value.code, started) == ("gates_pending", [model.pk])
    keep_check(version)
    assert approvals.ask(version, reason="at once", actor=author).gates


def test_another_serving_version_means_judging_again(
    author: User, model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    policies.change_policy(
        model, {"gates": [{"metric": "accuracy", "not_worse_than_serving_by": 0}]}, actor=author
    )
    ask[1] = Runner(1, wrong=range(41, 60, 2))
    version = version_of(model, data)
    keep_check(version)
    create_release(version=version_of(model, data))

    with pytest.raises(Refused) as caught:
        approvals.ask(version, reason="it was fine before", actor=author)
    assert caught.value.code == "gates_pending"

    keep_check(version)
    with pytest.raises(Refused) as caught:
        approvals.ask(version, reason="it was fine before", actor=author)
    assert caught.value.code == "gates_missed"


@pytest.mark.django_db(transaction=True)
def test_policy_and_release_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(gates.dispatch, "enqueue", lambda task, pk: started.append(pk))
    author, operator = create_user(roles=[Role.AUTHOR]), create_user(roles=[Role.OPERATOR])
    model = create_model(owners=[author])
    policies.change_policy(model, {"gates": [{"p95_ms": 50}]}, actor=author)
    assert started == [model.pk]

    version = create_version(model=model)
    create_approval(version=version)
    releases.release(model, version=version, reason="goes live", actor=operator)
    assert started == [model.pk, model.pk]


# --- what is kept ---


def test_answers_are_kept_and_read_again_as_they_were(
    model: RegisteredModel, data: Dataset, ask: Any
) -> None:
    version = version_of(model, data)
    kept = measuring.of(version, data)

    again = measuring.answers_of(Measurement.objects.get(pk=kept.pk))

    assert again.labels[:3] == ["no", "no", "no"]
    assert again.places.tolist() == list(range(80))
    assert again.at(np.array([20, 60])).values.tolist() == [0.9, 0.9]  # type: ignore[union-attr]
    measuring.of(version, data)
    assert ask[1].asked == [80]


def test_an_outcome_that_the_model_does_not_know_leaves_answers_and_a_note(
    model: RegisteredModel, ask: Any
) -> None:
    data = create_dataset(
        model=model, content=b"age,income,city,repaid\n30,1000,Delhi,perhaps\n40,2000,Pune,no\n"
    )
    version = version_of(model, data)

    kept = measuring.of(version, data)

    assert (kept.rows, kept.metrics) == (2, {})
    assert "perhaps" in kept.note
    with pytest.raises(Problem):
        measuring.measure(version, data, Runner(1).predict)


# --- groups and figures ---


def test_groups_are_values_or_quarters_and_gaps_are_a_group_of_their_own() -> None:
    table = pa.table(
        {"age": [*range(40), None], "city": ["Pune", None] * 20 + ["Pune"], "id": list(map(str, range(41)))}
    )

    assert [(each.name, each.rows) for each in slices.groups(table, "city")] == [
        ("Pune", 21),
        ("missing", 20),
    ]
    assert [each.rows for each in slices.groups(table, "age")] == [10, 10, 10, 10, 1]
    assert slices.groups(table, "id") == []


@pytest.mark.parametrize("positive", [None, 1])
def test_figures_of_groups_are_those_of_sklearn(positive: int | None) -> None:
    from sklearn import metrics

    random = np.random.default_rng(3)
    truth, answers = random.integers(0, 2, 200), random.integers(0, 2, 200)
    average = "macro" if positive is None else "binary"

    assert slices.score("accuracy", truth, answers) == pytest.approx(metrics.accuracy_score(truth, answers))
    assert slices.score("f1", truth, answers, positive) == pytest.approx(
        metrics.f1_score(truth, answers, average=average)
    )
    assert slices.score("mae", truth, answers) == pytest.approx(metrics.mean_absolute_error(truth, answers))
    assert slices.score("rmse", truth, answers) == pytest.approx(
        np.sqrt(metrics.mean_squared_error(truth, answers))
    )
