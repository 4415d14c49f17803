"""Models answer from a process of their own, exactly as they would in ours."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OutputCodeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from inference.runners import Client, FreshRunner, ModelError, ModelUnavailable
from tests import as_installed, trained
from tests.inference.conftest import COLUMNS, MakeSpec

pytestmark = pytest.mark.slow

CLASSIFIERS = {"logistic": trained.logistic, "forest": trained.forest, "boosted": trained.boosted}
INPUTS = trained.INPUTS


@pytest.fixture
def client(modeld: Any) -> Client:
    found: Client = modeld.client
    return found


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("form", ["joblib", "pickle", "skops"])
def test_it_answers_like_the_model_itself(client: Client, make_spec: MakeSpec, name: str, form: str) -> None:
    model = CLASSIFIERS[name]()
    data = {"joblib": trained.joblib_bytes, "pickle": pickle.dumps, "skops": skops.io.dumps}[form](model)

    answer = client.predict(make_spec(data, form=form, positive="yes"), trained.table(), 10)

    frame = trained.people()[INPUTS]
    assert answer.labels == model.predict(frame).tolist()
    np.testing.assert_array_equal(answer.probabilities, model.predict_proba(frame))
    assert answer.values is not None
    np.testing.assert_array_equal(answer.values, model.predict_proba(frame)[:, 1])
    assert answer.classes == ("no", "yes")


def test_the_positive_class_is_the_schemas(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(make_spec(trained.logistic(), positive="no"), trained.table(3), 10)

    assert answer.values is not None and answer.probabilities is not None
    np.testing.assert_array_equal(answer.values, answer.probabilities[:, 0])


def test_it_answers_with_three_classes(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(make_spec(trained.three_classes()), trained.table(), 10)

    assert answer.classes == ("high", "low", "middle")
    assert answer.labels == trained.three_classes().predict(trained.people()[INPUTS]).tolist()
    assert answer.values is None


def test_it_answers_with_numbers(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(make_spec(trained.regression()), trained.table(), 10)

    assert answer.labels is None and answer.probabilities is None
    assert answer.values is not None
    np.testing.assert_allclose(
        answer.values, trained.regression().predict(trained.people()[INPUTS]), rtol=1e-12
    )


@pytest.mark.parametrize(
    "estimator",
    [KNeighborsClassifier(algorithm="brute"), OutputCodeClassifier(LogisticRegression(), random_state=0)],
    ids=["neighbours", "codes"],
)
def test_models_that_ask_how_many_threads_there_are_answer(
    client: Client, make_spec: MakeSpec, estimator: Any
) -> None:
    """scikit-learn looks that up in /proc, where no runner may look."""
    assert {"pytest", "_pytest", "hypothesis"} < as_installed.dev_packages(), (
        "packages that look it up on the way"
    )
    rows = trained.people()[["age"]].astype(float)
    model = estimator.fit(rows, trained.people()["band"])

    answer = client.predict(make_spec(model, columns=(("age", "number"),)), pa.Table.from_pandas(rows), 20)

    assert answer.labels == model.predict(rows).tolist()


def test_a_model_fitted_on_an_array_gets_an_array(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.plain_array(), columns=(("age", "number"), ("income", "number")))
    rows = pa.table({"age": [20.0, 60.0], "income": [1000.0, 2000.0]})

    answer = client.predict(spec, rows, 10)

    assert answer.warnings == ()
    assert answer.values is not None
    assert (
        answer.values.tolist()
        == trained.plain_array().predict(np.array([[20.0, 1000.0], [60.0, 2000.0]])).tolist()
    )


def test_a_model_of_text_gets_texts(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(
        make_spec(trained.words(), columns=(("review", "text"),)),
        pa.table({"review": ["good", "bad", None]}),
        10,
    )

    assert answer.labels is not None
    assert answer.labels[:2] == [True, False]
    assert [type(label) for label in answer.labels] == [bool] * 3


def test_whole_numbers_stay_whole_numbers(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(
        make_spec(trained.whole_numbers(), columns=(("age", "integer"),)), trained.table(5), 10
    )

    assert answer.labels is not None
    assert {type(label) for label in answer.labels} == {int}


def test_classes_from_a_column_with_gaps_are_whole_numbers(client: Client, make_spec: MakeSpec) -> None:
    model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 0.0, 1.0, 1.0])

    answer = client.predict(make_spec(model, columns=(("x", "number"),)), pa.table({"x": [0.0, 3.0]}), 10)

    assert answer.labels == [0, 1]
    assert [type(label) for label in answer.classes] == [int, int]


def test_categories_of_the_training_frame_are_found_again(client: Client, make_spec: MakeSpec) -> None:
    frame = trained.people()[["age", "city"]].astype({"city": "category"})
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5)
    model.fit(frame, trained.people()["repaid"])

    answer = client.predict(
        make_spec(model, columns=(("age", "integer"), ("city", "category"))), trained.table(), 10
    )

    np.testing.assert_array_equal(answer.probabilities, model.predict_proba(frame))


def test_a_classifier_without_probabilities_still_gives_labels(client: Client, make_spec: MakeSpec) -> None:
    model = LinearSVC().fit(trained.people()[["age"]], trained.people()["repaid"])

    answer = client.predict(make_spec(model, columns=(("age", "integer"),)), trained.table(4), 10)

    assert answer.labels == model.predict(trained.people()[["age"]].head(4)).tolist()
    assert answer.probabilities is None and answer.values is None


def test_missing_values_arrive_as_missing(client: Client, make_spec: MakeSpec) -> None:
    gaps = pa.table(
        {
            "age": pa.array([None, 30], pa.int64()),
            "income": pa.array([None, 1.5], pa.float64()),
            "city": pa.array([None, "Pune"]),
            "member": pa.array([True, False]),
        }
    )
    frame = pd.DataFrame(
        {"age": [np.nan, 30], "income": [np.nan, 1.5], "city": [np.nan, "Pune"], "member": [True, False]}
    )

    answer = client.predict(make_spec(trained.logistic()), gaps, 10)

    np.testing.assert_array_equal(answer.probabilities, trained.logistic().predict_proba(frame))


def test_columns_may_come_in_any_order_and_with_others(client: Client, make_spec: MakeSpec) -> None:
    shuffled = trained.table().select(["repaid", "member", "city", "income", "age"])

    answer = client.predict(make_spec(trained.logistic()), shuffled, 10)

    assert answer.labels == trained.logistic().predict(trained.people()[INPUTS]).tolist()


def test_no_rows_are_no_answers(client: Client, make_spec: MakeSpec) -> None:
    answer = client.predict(
        make_spec(trained.plain_array(), columns=(("a", "number"), ("b", "number"))),
        pa.table({"a": pa.array([], pa.float64()), "b": pa.array([], pa.float64())}),
        10,
    )

    assert answer.values is not None and len(answer.values) == 0


def test_values_of_another_type_are_refused_on_our_side(client: Client, make_spec: MakeSpec) -> None:
    rows = pa.table({"age": ["old"], "income": [1.0], "city": ["Pune"], "member": [True]})

    with pytest.raises(ModelError) as error:
        client.predict(make_spec(trained.logistic()), rows, 10)

    assert error.value.code == "wrong_type"


def test_it_tells_what_the_model_is(client: Client, make_spec: MakeSpec) -> None:
    facts = client.describe(make_spec(trained.logistic()))

    assert (facts.kind, facts.estimator, facts.classes) == ("classifier", "LogisticRegression", ("no", "yes"))
    assert facts.features == tuple(INPUTS)
    assert facts.versions["scikit-learn"]
    assert set(facts.layers) >= {
        "uid",
        "rlimits",
        "no_new_privs",
        "parent_death",
        "dumpable",
        "process_group",
    }
    assert facts.layers["no_new_privs"] == "on"


def test_warnings_come_as_data(client: Client, make_spec: MakeSpec) -> None:
    data = trained.joblib_bytes(trained.logistic()).replace(b"1.9.1", b"1.9.0")

    facts = client.describe(make_spec(data))

    assert any(line.startswith("InconsistentVersionWarning") for line in facts.warnings)


NOT_SERVABLE = {
    "a dictionary": ({"model": 1}, "predict"),
    "not fitted": (LogisticRegression(), "fitted"),
    "several targets": (LinearRegression().fit([[0.0], [1.0]], [[0.0, 1.0], [1.0, 2.0]]), "shape"),
}


@pytest.mark.parametrize("name", NOT_SERVABLE)
def test_it_says_why_an_object_cannot_be_served(client: Client, make_spec: MakeSpec, name: str) -> None:
    model, word = NOT_SERVABLE[name]
    spec = make_spec(pickle.dumps(model), columns=(("x", "number"),))

    with pytest.raises(ModelError) as error:
        client.predict(spec, pa.table({"x": [1.0]}), 10)

    assert word in error.value.detail


def test_the_models_own_error_is_told_to_its_owner_only(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.plain_array(), columns=(("age", "number"),))

    with pytest.raises(ModelError) as error:
        client.predict(spec, pa.table({"age": [1.0]}), 10)

    assert error.value.status == 503
    assert "2 features" in error.value.detail
    assert "features" not in str(error.value)


def test_a_fresh_runner_is_nobody_elses(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    shared = client.describe(spec)
    mine = FreshRunner(client, spec)

    answer = mine.predict(trained.table(10))
    mine.close()

    assert answer.labels == client.predict(spec, trained.table(10), 10).labels
    assert mine.facts.estimator == shared.estimator
    mine.close()


def test_a_file_that_cannot_be_loaded_is_named_so(client: Client, make_spec: MakeSpec) -> None:
    with pytest.raises(ModelUnavailable) as error:
        client.describe(make_spec(b"\x80\x04not a model"))

    assert error.value.status == 503
    assert error.value.detail


def test_columns_of_the_schema_are_all_that_travels(client: Client, make_spec: MakeSpec) -> None:
    assert [name for name, _kind in COLUMNS] == INPUTS
