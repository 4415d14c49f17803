"""Explanations are exact where the model allows it, equal to `shap`'s, and always add up to the answer."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, linear_model, neighbors, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from inference.runner.explaining import Explainer, Unexplainable

REFERENCES = Path(__file__).parent.parent / "data" / "explanations"
SECONDS = 60.0


# --- against shap ---


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("employment-gradient-boosting", "trees"),
        ("diabetes-random-forest", "trees"),
        ("wine-logistic-regression", "linear"),
    ],
)
def test_they_are_shaps_values(name: str, method: str) -> None:
    reference = json.loads((REFERENCES / f"{name}.json").read_text())
    model = joblib.load(REFERENCES / f"{name}.joblib")
    rows, background = (_frame(reference[key]) for key in ("rows", "background"))
    values, base = np.array(reference["values"]), reference["base"]
    explainer = Explainer(model, getattr(model, "classes_", None), background)

    for output in range(values.shape[2] if values.ndim == 3 else 1):
        wanted = values[:, :, output] if values.ndim == 3 else values
        place = output if values.ndim == 3 else 1
        found = explainer.explain(rows, [place] * len(rows), SECONDS)
        assert found.method == method
        np.testing.assert_allclose(found.contributions, wanted, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.base, base[output], rtol=0, atol=1e-6)


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records)
    return frame.astype({name: object for name in frame.columns if frame[name].dtype.kind not in "fi"})


# --- they add up ---


def _numbers(classes: int) -> tuple[pd.DataFrame, Any]:
    features, target = make_classification(
        300, 6, n_informative=5, n_redundant=0, n_classes=classes, random_state=3
    )
    return pd.DataFrame(features, columns=list("abcdef")), target


EXACT = [
    tree.DecisionTreeClassifier(random_state=0),
    tree.ExtraTreeClassifier(random_state=0),
    ensemble.RandomForestClassifier(12, random_state=0),
    ensemble.ExtraTreesClassifier(12, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=8, init="zero", random_state=0),
    ensemble.HistGradientBoostingClassifier(max_iter=8, random_state=0),
    linear_model.LogisticRegression(),
    linear_model.SGDClassifier(random_state=0),
    linear_model.RidgeClassifier(),
    svm.LinearSVC(),
]
SAMPLED = [
    neighbors.KNeighborsClassifier(),
    svm.SVC(),
    ensemble.AdaBoostClassifier(n_estimators=5, random_state=0),
]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", EXACT + SAMPLED, ids=lambda each: type(each).__name__)
def test_they_add_up_to_what_the_classifier_answers(estimator: Any, classes: int) -> None:
    features, target = _numbers(classes)
    estimator.fit(features, target)
    rows = features.head(4)
    explainer = Explainer(estimator, estimator.classes_, features.head(50))

    for output in range(classes):
        found = explainer.explain(rows, [output] * 4, SECONDS if estimator in EXACT else 0.4)
        assert 1 <= found.done <= 4
        assert found.done == 4 or estimator in SAMPLED
        assert (found.method != "sampled") == (estimator in EXACT)
        added_up = found.base + found.contributions.sum(axis=1)
        answers, done = _answer(estimator, rows, output, found.scale), found.done
        np.testing.assert_allclose(added_up[:done], answers[:done], rtol=1e-9, atol=1e-9)


def _answer(estimator: Any, rows: Any, output: int, scale: str) -> Any:
    if scale == "probability":
        return estimator.predict_proba(rows)[:, output]
    margins = estimator.decision_function(rows)
    if margins.ndim == 1:
        return margins if output else -margins
    return margins[:, output]


REGRESSORS = [
    (tree.DecisionTreeRegressor(random_state=0), "value"),
    (ensemble.RandomForestRegressor(12, random_state=0), "value"),
    (ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0), "value"),
    (ensemble.HistGradientBoostingRegressor(max_iter=8), "value"),
    (ensemble.HistGradientBoostingRegressor(max_iter=8, loss="poisson"), "margin"),
    (linear_model.LinearRegression(), "value"),
    (linear_model.PoissonRegressor(), "margin"),
    (neighbors.KNeighborsRegressor(), "value"),
]


@pytest.mark.parametrize(("estimator", "scale"), REGRESSORS, ids=lambda each: type(each).__name__)
def test_they_add_up_to_what_the_regressor_answers(estimator: Any, scale: str) -> None:
    features, target = _numbers(2)
    estimator.fit(features, target + features["a"] ** 2)
    rows = features.head(4)

    found = Explainer(estimator, None, features.head(50)).explain(rows, [0] * 4, SECONDS)

    assert found.scale == scale
    added_up = found.base + found.contributions.sum(axis=1)
    answers = estimator.predict(rows)
    np.testing.assert_allclose(np.exp(added_up) if scale == "margin" else added_up, answers, rtol=1e-9)


def test_categories_missing_values_and_strangers_go_the_way_that_the_trees_send_them() -> None:
    random = np.random.default_rng(5)
    features = pd.DataFrame(
        {
            "amount": random.normal(size=400),
            "colour": random.integers(0, 9, 400).astype(float),
            "size": random.normal(size=400),
        }
    )
    features.loc[::9, ["amount", "colour"]] = np.nan
    target = features["colour"].fillna(4) % 3 + features["size"]
    model = ensemble.HistGradientBoostingRegressor(max_iter=15, categorical_features=["colour"])
    model.fit(features, target)
    rows = features.head(5).copy()
    rows.loc[0, "colour"] = 77

    found = Explainer(model, None, None).explain(rows, [0] * 5, SECONDS)

    np.testing.assert_allclose(found.base + found.contributions.sum(axis=1), model.predict(rows), rtol=1e-9)
    assert np.abs(found.contributions[:, 1]).max() > 0.1  # the colour matters, and is told so


def test_a_branch_that_no_training_row_took_does_not_break_the_sum() -> None:
    features, target = _numbers(2)
    weights = np.where(features["a"] > 0, 0.0, 1.0)
    model = tree.DecisionTreeClassifier(random_state=0).fit(features, target, sample_weight=weights)
    rows = features[features["a"] > 0].head(6)

    found = Explainer(model, model.classes_, None).explain(rows, [1] * 6, SECONDS)

    np.testing.assert_allclose(
        found.base + found.contributions.sum(axis=1), model.predict_proba(rows)[:, 1], atol=1e-8
    )


# --- encoded columns are summed back ---


def _mixed() -> tuple[pd.DataFrame, Any]:
    random = np.random.default_rng(2)
    rows = pd.DataFrame(
        {
            "age": random.integers(18, 80, 300).astype(float),
            "unused": random.normal(size=300),
            "town": random.choice(["Pune", "Agra", "Kota", "Goa"], 300).astype(object),
            "income": random.normal(50, 9, 300),
        }
    )
    rows.loc[::11, "income"] = np.nan
    return rows, ((rows["age"] > 40) ^ (rows["town"] == "Pune")).astype(int)


ENCODERS = {
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore", min_frequency=5),
    "one-hot-drop": lambda: OneHotEncoder(drop="first"),
    "ordinal": OrdinalEncoder,
    "target": TargetEncoder,
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "estimator", [linear_model.LogisticRegression(), tree.DecisionTreeClassifier(max_depth=5)]
)
def test_encoded_columns_are_summed_back_to_the_ones_that_were_asked(encoder: str, estimator: Any) -> None:
    rows, target = _mixed()
    numbers = FeatureUnion(
        [
            ("scaled", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())),
            (
                "bins",
                make_pipeline(SimpleImputer(), KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf")),
            ),
        ]
    )
    prepare = ColumnTransformer(
        [("words", ENCODERS[encoder](), ["town"]), ("numbers", numbers, ["income", "age"])],
        sparse_threshold=0,
    )
    model = make_pipeline(prepare, SelectKBest(k=8 if encoder.startswith("one") else 6), estimator)
    model.fit(rows, target)
    asked = rows.head(5)

    found = Explainer(model, model.classes_, rows.head(80)).explain(asked, [1] * 5, SECONDS)

    assert found.method in ("linear", "trees")
    assert not found.contributions[:, 1].any()  # nobody looks at `unused`
    assert found.contributions[:, 2].any()
    added_up = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(added_up, _answer(model, asked, 1, found.scale), rtol=1e-9, atol=1e-9)


def test_columns_that_are_mixed_are_sampled_and_still_add_up() -> None:
    rows, target = _numbers(2)
    mixing = FunctionTransformer(lambda frame: np.asarray(frame) @ np.ones((6, 2)))
    model = make_pipeline(mixing, linear_model.LogisticRegression()).fit(rows, target)

    found = Explainer(model, model.classes_, rows.head(50)).explain(rows.head(3), [0] * 3, SECONDS)

    assert found.method == "sampled"
    added_up = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(added_up, model.predict_proba(rows.head(3))[:, 0], rtol=1e-9)


def test_sampling_finds_what_a_linear_answer_is_made_of() -> None:
    rows, target = _numbers(2)
    model = linear_model.LinearRegression().fit(rows, target)
    exact = Explainer(model, None, rows).explain(rows.head(2), [0] * 2, SECONDS)
    hidden = make_pipeline(FunctionTransformer(), neighbors.KNeighborsRegressor(300)).fit(
        rows, model.predict(rows)
    )
    hidden.steps[-1] = ("model", model)
    sampled = Explainer(hidden, None, rows).explain(rows.head(2), [0] * 2, SECONDS)

    assert (exact.method, sampled.method) == ("linear", "sampled")
    assert np.corrcoef(exact.contributions.ravel(), sampled.contributions.ravel())[0, 1] > 0.95


# --- limits ---


def test_it_stops_when_time_is_up_and_says_how_far_it_came() -> None:
    rows, target = _numbers(2)
    model = neighbors.KNeighborsClassifier().fit(rows, target)

    found = Explainer(model, model.classes_, rows).explain(rows.head(50), [1] * 50, 0.0)

    assert 1 <= found.done < 50


def test_what_needs_reference_rows_says_so() -> None:
    rows, target = _numbers(2)
    model = neighbors.KNeighborsClassifier().fit(rows, target)

    with pytest.raises(Unexplainable, match="reference data"):
        Explainer(model, model.classes_, None).explain(rows.head(1), [1], SECONDS)
