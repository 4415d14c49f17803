"""A version goes through its checks for real: runner, reference data, results one by one."""

import io
import pickle
import zipfile
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from django.utils import timezone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from inference import checks, dispatch, golden, runners
from inference.checks import run, steps, tasks
from inference.checks.outcome import Outcome
from inference.models import GoldenSet
from registry import artifacts
from registry.actions import admissions, catalog, policies
from registry.models import AuditEvent, CheckResult, Dataset, ModelVersion, RegisteredModel, User
from registry.signals import version_checked
from tests import trained
from tests.factories import create_release

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

State = ModelVersion.State
Results = dict[str, CheckResult]


def create_model(author: User, **fields: Any) -> RegisteredModel:
    fields = {"slug": "repay", "name": "Repay", "task": "classification", **fields}
    return catalog.create_model(actor=author, **fields)


def add_data(
    author: User, model: RegisteredModel, target: str, frame: Any = None, role: str = "reference"
) -> Dataset:
    frame = trained.people()[[*trained.INPUTS, target]] if frame is None else frame
    file = io.BytesIO(frame.to_csv(index=False).encode())
    return catalog.add_dataset(
        model, file=file, filename="people.csv", role=role, target=target, actor=author
    )


def upload(
    author: User, estimator: Any, target: str = "repaid", task: str = "classification", **papers: Any
) -> Any:
    """A version of a new model; `estimator` may be the bytes of a file."""
    model = papers.pop("model", None) or create_model(author, task=task)
    papers.setdefault("reference", add_data(author, model, target))
    data = estimator if isinstance(estimator, bytes) else trained.joblib_bytes(estimator)
    return catalog.upload_version(
        model, file=io.BytesIO(data), filename="model.joblib", target=target, actor=author, **papers
    )


def finish(version: ModelVersion) -> Results:
    run.run(version.pk)
    version.refresh_from_db()
    return {each.name: each for each in version.checks.all()}


def failed(results: Results) -> dict[str, str]:
    return {name: each.detail for name, each in results.items() if each.status == "failed"}


def test_it_passes_a_sound_version(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic())

    results = finish(version)

    assert failed(results) == {}
    assert version.state == State.CHECKED
    assert list(results) == list(steps.STEPS)
    assert results["expected"].status == "skipped"
    assert all(each.detail for each in results.values())
    assert all(each.seconds is not None for each in results.values())
    depends = results["explanation"].figures
    assert (depends["method"], depends["scale"]) == ("linear", "margin")
    assert set(depends["importance"]) == set(trained.INPUTS)
    assert list(depends["importance"].values()) == sorted(depends["importance"].values(), reverse=True)
    assert version.measured_metrics["accuracy"] > 0.8
    assert set(version.measured_metrics) == {"accuracy", "f1", "auc", "log_loss"}
    assert version.environment["packages"]["scikit-learn"]
    assert version.environment["made_with"] == [
        f"scikit-learn {version.environment['packages']['scikit-learn']}"
    ]


@pytest.mark.parametrize(
    ("estimator", "target", "task", "measured"),
    [
        (trained.three_classes, "band", "classification", {"accuracy", "f1", "auc", "log_loss"}),
        (trained.regression, "income_next", "regression", {"mae", "rmse", "r2"}),
        (trained.forest, "repaid", "classification", {"accuracy", "f1", "auc", "log_loss"}),
        (trained.boosted, "repaid", "classification", {"accuracy", "f1", "auc", "log_loss"}),
    ],
)
def test_it_passes_every_kind_of_task(
    author: User, modeld: Any, estimator: Any, target: str, task: str, measured: set[str]
) -> None:
    version = upload(author, estimator(), target, task)

    assert failed(finish(version)) == {}
    assert set(version.measured_metrics) == measured


def test_it_leaves_an_audit_event_and_tells_the_apps_above(
    author: User, modeld: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        heard.append(kwargs)

    version = upload(author, trained.logistic())
    version_checked.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            finish(version)
    finally:
        version_checked.disconnect(listen)

    event = AuditEvent.objects.get(action="version.checked")
    assert (event.target_id, event.channel) == (str(version.pk), "task")
    assert [(each["version_id"], each["passed"]) for each in heard] == [(version.pk, True)]


def test_a_version_that_misses_a_gate_fails_its_checks_and_the_numbers_say_why(
    author: User, modeld: Any
) -> None:
    model = create_model(author)
    gates = [
        {"metric": "accuracy", "at_least": 0.5},
        {"metric": "auc", "at_least": 0.9999},
        {"p95_ms": 60_000},
    ]
    policies.change_policy(model, {"gates": gates}, actor=author)
    version = upload(author, trained.logistic(), model=model)

    results = finish(version)

    assert set(failed(results)) == {"gates"}
    assert "AUC at least 0.9999" in results["gates"].detail
    assert (
        "reference (training) data" in results["gates"].detail
    )  # there is no evaluation data, and it says so
    found = results["gates"].figures["against"]["0"]
    assert [each["passed"] for each in found] == [True, False, True]
    assert found[0]["value"] == version.measured_metrics["accuracy"]
    assert results["latency"].figures["p95_ms"] > 0
    assert version.state == State.CHECKS_FAILED


# --- figures ---


def test_it_believes_figures_within_the_tolerance(author: User, modeld: Any) -> None:
    first = upload(author, trained.logistic())
    finish(first)
    true = {name: round(value, 3) for name, value in first.measured_metrics.items()}

    second = upload(author, trained.logistic(), model=first.model, reference=first.reference, metrics=true)

    assert failed(finish(second)) == {}


def test_it_names_a_figure_that_is_not_true(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic(), metrics={"accuracy": 0.999, "auc": 0.5, "gini": 0.4})

    results = finish(version)

    assert set(failed(results)) == {"metrics"}
    assert "accuracy 0.9990 →" in results["metrics"].detail
    assert "gini" not in results["metrics"].detail
    assert "gini" in results["metrics"].log
    assert version.state == State.CHECKS_FAILED


def test_figures_are_measured_on_the_evaluation_data_when_there_is_some(author: User, modeld: Any) -> None:
    model = create_model(author)
    easy = trained.people()[[*trained.INPUTS, "repaid"]]
    easy = easy[trained.logistic().predict(easy[trained.INPUTS]) == easy["repaid"]]
    evaluation = add_data(author, model, "repaid", easy, role="evaluation")

    version = upload(
        author, trained.logistic(), model=model, evaluation=evaluation, metrics={"accuracy": 1.0}
    )

    assert failed(finish(version)) == {}
    assert version.measured_metrics["accuracy"] == 1.0


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_an_author_may_average_f1_in_any_usual_way(author: User, modeld: Any, average: str) -> None:
    from sklearn.metrics import f1_score

    frame = trained.people()
    answers = trained.three_classes().predict(frame[trained.INPUTS])
    declared = float(f1_score(frame["band"], answers, average=average))

    version = upload(author, trained.three_classes(), "band", metrics={"f1": declared})

    assert failed(finish(version)) == {}
    assert version.measured_metrics["f1"] == pytest.approx(declared)


# --- what is wrong with a version ---


def test_a_model_of_the_other_task_fails(author: User, modeld: Any) -> None:
    results = finish(upload(author, trained.regression(), "repaid"))

    assert set(failed(results)) == {"load"}
    assert "regression" in results["load"].detail
    assert results["predict"].status == "skipped"
    assert results["environment"].status == "passed"


def test_a_column_that_the_schema_lacks_fails(author: User, modeld: Any) -> None:
    model = create_model(author)
    reference = add_data(author, model, "repaid", trained.people()[["age", "city", "member", "repaid"]])

    results = finish(upload(author, trained.logistic(), model=model, reference=reference))

    assert set(failed(results)) == {"schema"}
    assert "income" in results["schema"].detail


def test_classes_that_the_schema_calls_otherwise_fail(author: User, modeld: Any) -> None:
    model = create_model(author)
    frame = trained.people()[[*trained.INPUTS, "repaid"]].replace({"repaid": {"yes": "good", "no": "bad"}})
    reference = add_data(author, model, "repaid", frame)

    results = finish(upload(author, trained.logistic(), model=model, reference=reference))

    assert set(failed(results)) == {"schema"}
    assert "'good'" in results["schema"].detail and "'yes'" in results["schema"].detail


@pytest.mark.parametrize(("learned", "declared"), [("text", "integer"), ("number", "category")])
def test_an_encoder_that_would_know_no_value_fails(
    author: User, modeld: Any, learned: str, declared: str
) -> None:
    """It would answer every row, and every answer would be wrong."""
    frame = trained.people()[["age", "repaid"]].copy()
    frame["age"] = frame["age"] // 30
    words = frame.astype({"age": str}) if learned == "text" else frame
    columns = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["age"])])
    model = Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(
        words[["age"]], words["repaid"]
    )
    registered = create_model(author)
    schema = {
        "fields": [
            {"name": "age", "type": declared, "categories": ["0", "1"] if declared == "category" else []}
        ],
        "target": {"name": "repaid", "task": "classification", "classes": ["no", "yes"]},
    }

    version = upload(
        author,
        model,
        model=registered,
        schema=schema,
        reference=add_data(author, registered, "repaid", frame),
    )

    results = finish(version)
    assert set(failed(results)) == {"schema"}
    assert "Column age" in results["schema"].detail


def test_reference_data_that_does_not_fit_the_schema_fails(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic(), draft=True)
    schema = version.schema
    next(each for each in schema["fields"] if each["name"] == "age")["max"] = 30
    catalog.edit_draft(version, schema=schema, actor=author)
    catalog.start_checks(version, actor=author)

    results = finish(version)

    assert set(failed(results)) == {"schema"}
    assert "age" in results["schema"].detail


def test_an_unfitted_model_fails_with_the_reason(author: User, modeld: Any) -> None:
    results = finish(upload(author, pickle.dumps(LogisticRegression())))

    assert set(failed(results)) == {"load"}
    assert "fitted" in results["load"].detail


def test_answers_that_change_fail(author: User, modeld: Any) -> None:
    model = trained.forest()
    copy = pickle.loads(pickle.dumps(model))
    forest: RandomForestClassifier = copy.steps[-1][1]
    pipeline = Pipeline([copy.steps[0], ("dice", trained.dice(forest))])

    results = finish(upload(author, trained.joblib_bytes(pipeline)))

    assert set(failed(results)) == {"predict"}
    assert "random" in results["predict"].detail


def test_expected_answers_are_compared(author: User, modeld: Any) -> None:
    frame = trained.people().head(50)
    answers = frame.assign(
        prediction=trained.logistic().predict(frame[trained.INPUTS]),
        probability_yes=trained.logistic().predict_proba(frame[trained.INPUTS])[:, 1].round(5),
    )[["prediction", "probability_yes"]]
    wrong = answers.copy()
    wrong.loc[3, "probability_yes"] = 0.123

    good = upload(author, trained.logistic(), expected=io.BytesIO(answers.to_csv(index=False).encode()))
    assert finish(good)["expected"].status == "passed"

    bad = upload(
        author,
        trained.logistic(),
        model=good.model,
        reference=good.reference,
        expected=io.BytesIO(wrong.to_csv(index=False).encode()),
    )
    results = finish(bad)
    assert set(failed(results)) == {"expected"}
    assert "rows 4" in results["expected"].detail


def test_another_minor_version_that_does_not_work_says_what_to_pin(author: User, modeld: Any) -> None:
    data = trained.joblib_bytes(LogisticRegression()).replace(b"1.9.1", b"1.6.9")

    results = finish(upload(author, data))

    assert set(failed(results)) == {"load", "environment"}
    assert "scikit-learn 1.6.9" in results["environment"].detail
    assert "scikit-learn==" in results["environment"].detail


def test_another_minor_version_that_answers_needs_review(author: User, modeld: Any) -> None:
    data = trained.joblib_bytes(trained.logistic()).replace(b"1.9.1", b"1.8.9")

    version = upload(author, data, requirements="scikit-learn==1.8.9\nnumpy==1.26.4\n")
    results = finish(version)

    assert (set(failed(results)), version.state) == ({"environment"}, State.NEEDS_REVIEW)
    assert "1.8.9" in results["environment"].detail and "1.26.4" in results["environment"].detail
    assert version.environment["made_with"] == ["scikit-learn 1.8.9", "numpy 1.26.4"]


def test_a_stored_file_that_changed_fails(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic())
    artifacts.local_path(version.sha256).write_bytes(b"something else")

    assert set(failed(finish(version))) == {"hash"}


def test_a_version_without_data_answers_made_up_rows(author: User, modeld: Any) -> None:
    schema = upload(author, trained.logistic(), draft=True).schema
    model = create_model(author, slug="other", name="Other")

    version = upload(
        author, trained.logistic(), model=model, reference=None, schema=schema, metrics={"accuracy": 0.9}
    )
    results = finish(version)

    assert failed(results) == {}
    assert results["metrics"].status == "skipped"
    assert "made-up" in results["predict"].detail


# --- never left behind ---


def test_a_model_service_that_is_away_says_nothing_about_the_version(
    author: User, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, modeld: Any
) -> None:
    there = settings.MODELGATE_MODELD_SOCKET
    monkeypatch.setattr("inference.runners.conversations.PATIENCE", 0.0)
    version = upload(author, trained.logistic())

    settings.MODELGATE_MODELD_SOCKET = str(tmp_path / "nobody.sock")
    results = finish(version)

    assert version.state == State.CHECKING
    assert (results["load"].status, "goes on by itself" in results["load"].detail) == ("waiting", True)

    settings.MODELGATE_MODELD_SOCKET = there
    finish(version)

    assert version.state == State.CHECKED


def test_a_check_that_breaks_fails_and_the_version_goes_on(
    author: User, modeld: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_case: steps.Case) -> Outcome:
        raise ZeroDivisionError

    monkeypatch.setitem(steps.STEPS, "latency", breaks)
    version = upload(author, trained.logistic())

    results = finish(version)

    assert version.state == State.CHECKS_FAILED
    assert "ZeroDivisionError" in results["latency"].detail
    assert results["metrics"].status == "passed"


def test_what_breaks_outside_of_a_check_ends_them_too(
    author: User, modeld: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_environment", lambda _case: 1 / 0)
    version = upload(author, trained.logistic())

    finish(version)

    assert version.state == State.CHECKS_FAILED


def test_failed_checks_can_be_started_again(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic(), metrics={"accuracy": 0.1})
    finish(version)
    ModelVersion.objects.filter(pk=version.pk).update(declared_metrics={})

    catalog.start_checks(version, actor=author)
    assert set(version.checks.values_list("status", flat=True)) == {"waiting"}

    assert failed(finish(version)) == {}
    assert version.state == State.CHECKED


def test_running_them_twice_changes_nothing_more(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic())
    finish(version)
    before = list(version.checks.values())

    tasks.check_version(version.pk)

    assert list(version.checks.values()) == before
    assert AuditEvent.objects.filter(action="version.checked").count() == 1


def test_a_second_worker_leaves_a_running_one_alone(author: User, no_checks: list[int]) -> None:
    version = upload(author, trained.logistic())
    checks.start(version.pk)
    version.checks.filter(name="hash").update(status="running")

    run.run(version.pk)

    assert version.checks.get(name="hash").status == "running"


def test_a_worker_that_was_thought_dead_stops_when_another_took_over(
    author: User, no_checks: list[int]
) -> None:
    version = upload(author, trained.logistic())
    lease = run.Lease(version.pk, version.checks_started_at)
    lease.renew()
    run.Lease(version.pk, lease.stamp).renew()

    with pytest.raises(run._Lost):
        lease.renew()


@pytest.mark.parametrize(
    "end",
    [
        lambda version, lease: run._give_up(version, lease, "broken"),
        lambda _version, lease: run._leave_for_later(lease, RuntimeError()),
    ],
    ids=["broken", "service away"],
)
def test_a_worker_that_breaks_late_leaves_the_version_to_the_one_that_took_over(
    author: User, no_checks: list[int], end: Any
) -> None:
    version = upload(author, trained.logistic())
    checks.start(version.pk)
    stale = run.Lease(version.pk, version.checks_started_at)
    stale.renew()
    run.Lease(version.pk, stale.stamp).renew()
    version.checks.filter(name="hash").update(status="running")

    end(version, stale)

    version.refresh_from_db()
    assert version.state == State.CHECKING
    assert version.checks.get(name="hash").status == "running"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids that were handed to the broker."""
    found: list[int] = []
    monkeypatch.setattr(run.dispatch, "enqueue", lambda _task, version_id: found.append(version_id))
    return found


def test_the_tick_hands_on_a_version_whose_message_was_lost(
    author: User, no_checks: list[int], published: list[int]
) -> None:
    version = upload(author, trained.logistic())
    checks.start(version.pk)
    published.clear()
    assert checks.requeue_stuck() == 0

    ModelVersion.objects.update(checks_started_at=timezone.now() - timedelta(minutes=1))

    assert checks.requeue_stuck() == 1
    assert published == [version.pk]


def test_the_tick_hands_on_a_version_whose_worker_died(
    author: User, modeld: Any, no_checks: list[int], published: list[int]
) -> None:
    version = upload(author, trained.logistic())
    checks.start(version.pk)
    version.checks.filter(name="hash").update(status="running")
    published.clear()
    ModelVersion.objects.update(checks_started_at=timezone.now() - timedelta(minutes=2))
    assert checks.requeue_stuck() == 0

    ModelVersion.objects.update(checks_started_at=timezone.now() - run.LEASE - timedelta(seconds=1))

    assert checks.requeue_stuck() == 1
    assert failed(finish(version)) == {}


def test_checks_that_take_their_worker_along_each_time_end(author: User, no_checks: list[int]) -> None:
    version = upload(author, trained.logistic())
    checks.start(version.pk)
    for _attempt in range(run.ATTEMPTS):
        assert run._claim(version.pk) is not None
        assert run._attempts(version.pk) <= run.ATTEMPTS
        version.checks.filter(name="load").update(status="running")  # and here the worker dies
        ModelVersion.objects.update(checks_started_at=timezone.now() - run.LEASE - timedelta(seconds=1))

    run.run(version.pk)

    version.refresh_from_db()
    assert version.state == State.CHECKS_FAILED
    why = version.checks.get(status="failed")
    assert why.name == "load"
    assert "3 times" in why.detail and "load" in why.detail


def test_checks_that_are_started_again_have_all_attempts_again(author: User, no_checks: list[int]) -> None:
    version = upload(author, trained.logistic())
    for _attempt in range(run.ATTEMPTS + 1):
        checks.start(version.pk)
        assert run._attempts(version.pk) == 1


def test_a_version_that_is_gone_is_no_error(db: None) -> None:
    tasks.check_version(12345)


# --- names that an approver admitted ---


def admitted(author: User, approver: User, estimator: Any) -> ModelVersion:
    version = upload(author, estimator)
    assert version.state == State.NEEDS_REVIEW
    return admissions.admit(
        version, names=version.names_to_review, comment="It only calculates.", actor=approver
    )


def with_a_step(step: Any) -> Any:
    frame = trained.people()
    model = make_pipeline(step, HistGradientBoostingClassifier(max_iter=3))
    return model.fit(frame[["age", "income"]], frame["repaid"])


def test_admitted_names_are_loaded_in_the_jail_and_no_others(
    author: User, approver: User, modeld: Any
) -> None:
    model = with_a_step(FunctionTransformer(np.nan_to_num))
    frame = trained.people()[["age", "income", "repaid"]]
    registered = create_model(author)
    version = upload(author, model, model=registered, reference=add_data(author, registered, "repaid", frame))
    with runners.fresh(version) as runner, pytest.raises(runners.ModelError) as error:
        assert runner.facts
    assert error.value.code == "not_admitted"

    admissions.admit(version, names=["numpy.nan_to_num"], comment="Only fills gaps.", actor=approver)
    results = finish(version)

    assert version.state == State.CHECKED, {name: each.detail for name, each in results.items()}
    assert (
        "1 of the" in results["inventory"].detail and "admitted by an approver" in results["inventory"].detail
    )
    table = pa.table({"age": [33], "income": [1000.0]})
    assert runners.predict(version, table).labels == model.predict(table.to_pandas()).tolist()


@pytest.mark.parametrize("form", ["pickle", "skops"])
def test_a_package_that_the_model_service_lacks_is_named(
    author: User, approver: User, modeld: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file of LightGBM is, where LightGBM is not installed; the web process may have it all the same."""
    data = {
        "pickle": lambda: pickle.dumps(trained.logistic(), protocol=2),
        "skops": lambda: skops.io.dumps(trained.logistic()),
    }[form]()
    if form == "pickle":
        data = data.replace(b"csklearn.linear_model._logistic\n", b"cnot_a_package.sub\n")
    else:
        data = renamed(data, "sklearn.linear_model._logistic", "not_a_package.sub")
    monkeypatch.setattr("registry.installed.missing_packages", lambda names: [])
    version = admitted(author, approver, data)

    results = finish(version)

    assert version.admitted == ["not_a_package.sub.LogisticRegression"]
    assert (version.state, results["load"].status) == (State.CHECKS_FAILED, "failed")
    assert "the package “not_a_package”, which is not installed here" in results["load"].detail


def renamed(data: bytes, old: str, new: str) -> bytes:
    """A skops file whose schema names another module."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(
                name, content.replace(old.encode(), new.encode()) if name == "schema.json" else content
            )
    return out.getvalue()


# --- golden rows ---


def test_it_freezes_answers_that_prove_only_that_nothing_moved(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic())

    results = finish(version)

    kept = GoldenSet.objects.get(version=version)
    assert (kept.origin, kept.rows) == ("here", 100)
    assert results["golden"].detail.startswith("100 golden rows are kept. They were frozen here")
    golden.replay(version.pk)  # by another runner, over the wire again
    assert all(each.agreed for each in kept.replays.all())
    assert kept.replays.exists()


def test_a_compiled_version_needs_no_model_service_to_prove_itself(
    author: User, modeld: Any, settings: Any
) -> None:
    version = upload(author, trained.logistic())
    finish(version)
    assert version.engine == "compiled"
    settings.MODELGATE_MODELD_SOCKET = "/nowhere/modeld.sock"

    golden.require_unmoved(version.pk)

    verdict = version.golden.replays.get()
    assert (verdict.agreed, verdict.environment["form"]) == (True, version.form.sha256)


def test_it_freezes_the_rows_whose_answers_came_from_training(author: User, modeld: Any) -> None:
    answers = trained.logistic().predict(trained.people()[trained.INPUTS].head(30))
    expected = io.BytesIO("\n".join(["prediction", *answers]).encode())
    version = upload(author, trained.logistic(), expected=expected)

    results = finish(version)

    assert failed(results) == {}
    assert (version.golden.origin, version.golden.rows) == ("training", 30)
    assert "where it was trained" in results["golden"].detail


def test_a_version_that_failed_a_check_has_no_golden_rows(author: User, modeld: Any) -> None:
    version = upload(author, trained.logistic(), metrics={"accuracy": 0.1})

    assert finish(version)["golden"].status == "skipped"
    assert not GoldenSet.objects.exists()


def test_a_version_that_was_released_before_there_were_golden_rows_gets_them(
    author: User, modeld: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = upload(author, trained.logistic())
    finish(version)
    GoldenSet.objects.all().delete()
    create_release(version=version)
    sent: list[Any] = []
    monkeypatch.setattr(dispatch, "enqueue", lambda task, *args: sent.append((task, *args)))

    assert checks.requeue_unfrozen() == 1
    assert sent == [(tasks.freeze_golden_rows.name, version.pk)]
    tasks.freeze_golden_rows(version.pk)
    tasks.freeze_golden_rows(version.pk)

    assert (GoldenSet.objects.get().origin, checks.requeue_unfrozen()) == ("here", 0)
