"""A version's compiled form, from its checks to its answers."""

import warnings
from typing import Any

import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from inference import engines, golden, keeping, runners, warming
from inference.checks import steps
from inference.compiled import form_of, stored
from inference.golden import AnswersMoved
from inference.models import VersionForm
from inference.runners import ModelError
from inference.validation import validate_rows
from registry import artifacts, storage
from registry.changes import MustWait
from registry.errors import Unavailable
from registry.models import User
from tests import factories, trained
from tests.inference.test_checks import failed, finish, upload

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def compiled(author: User, modeld: Any) -> Any:
    version = upload(author, trained.logistic())
    assert failed(finish(version)) == {}
    return version


def test_it_compiles_what_it_knows_and_answers_alike(compiled: Any) -> None:
    table = trained.table()
    form = VersionForm.objects.get(version=compiled)

    assert compiled.engine == "compiled"
    assert artifacts.is_intact(form.sha256)
    assert form.report["flips"] == 0
    assert form.report["max_difference"] < 1e-6
    assert form.made_with["scikit-learn"]
    answer = form_of(compiled).answer_table(table)
    assert answer.probabilities == pytest.approx(trained.logistic().predict_proba(trained.people()), abs=1e-9)


def test_who_must_not_wait_is_answered_once_the_form_is_open(
    compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = type(compiled).objects.get(pk=compiled.pk)
    monkeypatch.setattr(stored, "_forms", stored._Forms())
    few = validate_rows(compiled.schema_object, trained.table(3).to_pylist())
    with pytest.raises(MustWait):
        engines.predict_at_once(compiled, few)

    answer = engines.predict_checked(compiled, few)

    assert engines.predict_at_once(compiled, few).labels == answer.labels
    many = validate_rows(compiled.schema_object, trained.table(1).to_pylist() * 10_000)
    with pytest.raises(MustWait):
        engines.predict_at_once(compiled, many)


def test_the_runner_takes_over_when_the_form_is_gone(compiled: Any) -> None:
    """Its answers are exact, so falling back to them is right; the log says that it happened."""
    form = VersionForm.objects.get(version=compiled)
    storage.delete(artifacts.key_of(form.sha256))
    form.sha256 = "0" * 64
    form.save()
    compiled = type(compiled).objects.get(pk=compiled.pk)

    assert form_of(compiled) is None
    assert (
        engines.predict(compiled, trained.table(3)).labels
        == trained.logistic().predict(trained.people().head(3)).tolist()
    )


def test_the_runner_answers_for_a_step_without_a_form(author: User, modeld: Any) -> None:
    frame = trained.people()[["age", "income", "repaid"]]
    pipeline = make_pipeline(SimpleImputer(), Normalizer(), LogisticRegression())
    version = upload(author, pipeline.fit(frame[["age", "income"]], frame["repaid"]))

    results = finish(version)

    assert failed(results) == {}
    assert (version.engine, form_of(version)) == ("runner", None)
    assert results["compiled"].status == "skipped"
    assert "the step “normalizer” (Normalizer) has no compiled form" in results["compiled"].detail


@pytest.fixture
def half(author: User, modeld: Any) -> Any:
    people = trained.people()
    model = trained._mixed(KNeighborsClassifier()).fit(people[trained.INPUTS], people["repaid"])
    version = upload(author, model)
    results = finish(version)
    assert failed(results) == {}
    assert results["compiled"].status == "passed"
    assert results["compiled"].detail.startswith("Half compiled: the portal prepares the rows")
    assert (
        "not compiled as a whole: its compiled form is not acceptable (Operator “Scan”"
        in results["compiled"].log
    )
    return version


def test_an_estimator_without_a_form_is_asked_with_rows_that_are_encoded_here(
    half: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = trained.people()
    model = trained._mixed(KNeighborsClassifier()).fit(people[trained.INPUTS], people["repaid"])
    expected = model.predict_proba(people[trained.INPUTS])
    checked = validate_rows(half.schema_object, trained.table(3).to_pylist())
    monkeypatch.setattr(runners, "predict", None)  # nobody asks the whole model

    assert half.engine == "encoded"
    assert engines.predict(half, trained.table()).probabilities == pytest.approx(expected, abs=1e-12)
    assert engines.predict_checked(half, checked).probabilities == pytest.approx(expected[:3], abs=1e-12)
    with engines.fresh(half) as engine:
        assert engine.predict(trained.table()).probabilities == pytest.approx(expected, abs=1e-12)


def test_who_must_not_wait_does_not_ask_a_runner(half: Any) -> None:
    checked = validate_rows(half.schema_object, trained.table(3).to_pylist())
    engines.predict_checked(half, checked)  # the form is open now

    with pytest.raises(MustWait):
        engines.predict_at_once(half, checked)


def test_the_runner_of_a_half_compiled_version_is_kept_and_its_form_opened(
    half: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_forms", stored._Forms())
    factories.create_release(version=half)

    assert keeping.released() == [half]
    assert warming.warm() == 1


def test_rows_that_the_estimator_refuses_are_refused_by_the_model_itself(
    half: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any, **_more: Any) -> None:
        raise ModelError("no", code="model_failed")

    monkeypatch.setattr(runners, "predict_encoded", refuse)
    assert engines.predict(half, trained.table(3)).labels is not None


def test_a_comparison_has_an_end(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "COMPARE_SECONDS", -1.0)
    with runners.fresh(compiled) as runner:
        outcome = steps.check_compiled(steps.Case(compiled, runner, rows=trained.table()))

    assert outcome.skipped
    assert (
        outcome.detail == "The runner answers, because it would take too long to compare its compiled form."
    )


def test_a_service_that_is_away_is_told_at_once(
    half: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "predict_encoded", None)  # it would wait for the service to come back
    settings.MODELGATE_MODELD_SOCKET = "/nowhere/modeld.sock"

    with pytest.raises(Unavailable):
        golden.require_unmoved(half.pk)


def test_golden_rows_are_asked_of_both(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    golden.require_unmoved(half.pk)
    assert half.golden.replays.get().agreed
    half.golden.replays.all().delete()
    asked = runners.predict_encoded
    monkeypatch.setattr(
        runners,
        "predict_encoded",
        lambda version, matrix, deadline: asked(version, matrix[::-1], deadline),
    )

    with pytest.raises(AnswersMoved):
        golden.require_unmoved(half.pk)


def test_an_estimator_that_only_onnx_knows_is_converted_in_the_jail(author: User, modeld: Any) -> None:
    network = MLPClassifier((3,), max_iter=5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and need not
        version = upload(
            author, trained._mixed(network).fit(trained.people()[trained.INPUTS], trained.people()["repaid"])
        )

    results = finish(version)

    assert failed(results) == {}
    assert results["compiled"].detail.startswith("Compiled")
    assert version.engine == "compiled"
