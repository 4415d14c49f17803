"""A version's compiled form, from its checks to its answers."""

import warnings
from typing import Any

import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from inference import engines
from inference.compiled import form_of, stored
from inference.models import VersionForm
from inference.validation import validate_rows
from registry import artifacts, storage
from registry.changes import MustWait
from registry.models import User
from tests import trained
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
