"""Compiled answers are scikit-learn's own: for every step and estimator that is compiled, over generated data."""

import warnings
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import discriminant_analysis, ensemble, feature_selection, linear_model, neighbors, svm, tree
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from threadpoolctl import threadpool_limits

from inference.checks import edges, parity
from inference.compiled import limits, walking
from inference.compiled.boundaries import boundaries
from inference.compiled.container import BadForm
from inference.compiled.errors import Declined
from inference.compiled.form import CompiledForm
from inference.runner import compiling, encoded, scoring
from inference.runners import Answer, ModelError
from inference.validation import ARROW_TYPES
from registry.schema import Field, Schema, Target

NUMBERS, WORDS = ["age", "income", "rooms"], ["city", "trade"]
FIELDS = (
    Field(name="age", type="integer", required=False),
    Field(name="income", type="number", required=False),
    Field(name="rooms", type="integer", required=False),
    Field(name="owner", type="boolean", required=False),
    Field(name="city", type="category", required=False, categories=("Agra", "Delhi", "Pune", "Oslo")),
    Field(name="trade", type="category", required=False, categories=("smith", "baker", "nurse")),
)
SCHEMA = Schema(fields=FIELDS, target=Target(name="y", task="classification", classes=(0, 1)))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn warns of what these small tables are, and its threads only get into each other's way here."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


@cache
def people(seed: int = 0, rows: int = 160) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "income": random.lognormal(7, 1, rows).round(2),
            "rooms": random.integers(1, 4, rows),
            "owner": random.random(rows) > 0.5,
            "city": random.choice(["Agra", "Delhi", "Pune", "Oslo"], rows, p=[0.5, 0.3, 0.18, 0.02]),
            "trade": random.choice(["smith", "baker", "nurse"], rows),
        }
    ).astype({"city": object, "trade": object})
    frame.loc[random.random(rows) < 0.1, "income"] = np.nan
    frame.loc[random.random(rows) < 0.1, "trade"] = np.nan
    return frame


def outcome(frame: pd.DataFrame, kind: str) -> Any:
    noise = np.random.default_rng(1).normal(size=len(frame))
    score = frame["age"] / 30 + np.log(frame["income"].fillna(900)) + (frame["city"] == "Agra") - 8.5 + noise
    if kind == "number":
        return score * 100 + 1000
    if kind == "many":
        return np.select([score > 1, score > 0], ["high", "middle"], "low")
    return np.where(score > 0, "yes", "no")


def mixed(estimator: Any, numbers: Any = None, words: Any = None) -> Pipeline:
    numbers = numbers or make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = words or make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("words", words, WORDS)])
    return Pipeline([("columns", columns), ("model", estimator)])


def table_of(frame: pd.DataFrame) -> pa.Table:
    arrays = {}
    for each in FIELDS:
        values = [None if pd.isna(value) else value for value in frame[each.name].tolist()]
        arrays[each.name] = pa.array(values, ARROW_TYPES[each.type])
    return pa.table(arrays)


class Asked:
    """scikit-learn itself, asked in this process just as a runner asks it."""

    def __init__(self, model: Any) -> None:
        self.scorer = scoring.Scorer(model)

    def __call__(self, table: pa.Table) -> Answer:
        try:
            (reply,) = self.scorer.answer([table])
        except Exception as error:
            raise ModelError("failed", code="model_failed") from error
        classes = (
            tuple(scoring.plain(each) for each in self.scorer.classes)
            if self.scorer.classes is not None
            else ()
        )

        def array(name: str, dtype: str) -> Any:
            packed = reply.get(name)
            return packed and np.frombuffer(packed["data"], dtype).reshape(packed["shape"])

        return Answer(
            classes, array("labels", "<i4"), array("probabilities", "<f8"), array("values", "<f8"), 0.0
        )


def compile_model(model: Any, *, whole: bool = True) -> bytes:
    columns = [(each.name, each.type) for each in FIELDS]
    return compiling.compile_form(scoring.Scorer(model), columns, whole=whole)


def require_parity(model: Any, frame: pd.DataFrame, *, whole: bool = True) -> parity.Report:
    data = compile_model(model, whole=whole)
    asked, report = Asked(model), parity.Report()
    form = CompiledForm(data).asking(lambda matrix: asked(encoded.as_table(matrix)))
    base = table_of(frame)
    for rows in (base, edges.plain(SCHEMA, base, boundaries(data)), edges.wild(SCHEMA, base)):
        parity._compare_rows(form, asked, rows, report)
    return report


CLASSIFIERS = [
    linear_model.LogisticRegression(),
    linear_model.LogisticRegressionCV(cv=2, max_iter=20),
    linear_model.SGDClassifier(loss="log_loss", max_iter=20),
    linear_model.SGDClassifier(loss="hinge", max_iter=20),
    linear_model.RidgeClassifier(),
    linear_model.RidgeClassifierCV(),
    linear_model.Perceptron(max_iter=20),
    svm.LinearSVC(max_iter=100),
    discriminant_analysis.LinearDiscriminantAnalysis(),
    tree.DecisionTreeClassifier(max_depth=5),
    tree.ExtraTreeClassifier(max_depth=5),
    ensemble.RandomForestClassifier(10, random_state=0),
    ensemble.ExtraTreesClassifier(10, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=8),
    ensemble.HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3),
]
REGRESSORS = [
    linear_model.LinearRegression(),
    linear_model.Ridge(),
    linear_model.RidgeCV(),
    linear_model.Lasso(),
    linear_model.LassoCV(cv=2),
    linear_model.ElasticNet(),
    linear_model.SGDRegressor(max_iter=20),
    linear_model.HuberRegressor(),
    linear_model.BayesianRidge(),
    linear_model.PoissonRegressor(),
    linear_model.GammaRegressor(),
    linear_model.TweedieRegressor(),
    svm.LinearSVR(max_iter=100),
    tree.DecisionTreeRegressor(max_depth=5),
    tree.ExtraTreeRegressor(max_depth=5),
    ensemble.RandomForestRegressor(10, random_state=0),
    ensemble.ExtraTreesRegressor(10, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=8),
    ensemble.HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=3),
    ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=8, min_samples_leaf=3),
]


def name_of(each: Any) -> str:
    return each if isinstance(each, str) else type(each).__name__


@pytest.mark.parametrize("kind", ["two", "many"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=name_of)
def test_classifiers_answer_alike(estimator: Any, kind: str) -> None:
    frame = people()
    require_parity(mixed(estimator).fit(frame, outcome(frame, kind)), frame)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=name_of)
def test_regressors_answer_alike(estimator: Any) -> None:
    frame = people()
    require_parity(mixed(estimator).fit(frame, outcome(frame, "number")), frame)


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier((4,), max_iter=30, random_state=0),
        CalibratedClassifierCV(linear_model.LogisticRegression(), cv=2),
        ensemble.StackingClassifier([("line", linear_model.LogisticRegression())], cv=2),
    ],
    ids=name_of,
)
def test_estimators_as_graphs_answer_alike(estimator: Any) -> None:
    frame = people()
    require_parity(mixed(estimator, words=WORDS_TO_NUMBERS).fit(frame, outcome(frame, "two")), frame)


#: No form of ours, or none that would be opened outside of the jail.
LEFT_TO_THE_RUNNER = [
    neighbors.KNeighborsClassifier(),
    svm.SVC(probability=False),
    ensemble.AdaBoostClassifier(n_estimators=5, random_state=0),
    ensemble.VotingClassifier([("near", neighbors.KNeighborsClassifier())], voting="soft"),
    GridSearchCV(neighbors.KNeighborsClassifier(), {"n_neighbors": [3, 5]}, cv=2),
    neighbors.KNeighborsRegressor(),
    svm.SVR(),
]


@pytest.mark.parametrize("estimator", LEFT_TO_THE_RUNNER, ids=name_of)
def test_steps_before_an_estimator_that_is_asked_answer_alike(estimator: Any) -> None:
    frame = people()
    kind = "number" if is_regressor(estimator) else "many"
    report = require_parity(mixed(estimator).fit(frame, outcome(frame, kind)), frame, whole=False)

    assert report.max_difference < 1e-12


def test_an_estimator_that_learned_names_is_asked_by_them() -> None:
    frame = people()
    model = mixed(neighbors.KNeighborsClassifier(), words=WORDS_TO_NUMBERS).set_output(transform="pandas")
    require_parity(model.fit(frame, outcome(frame, "two")), frame, whole=False)

    alone = neighbors.KNeighborsClassifier().fit(frame[["age", "rooms"]], outcome(frame, "two"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_parity(alone, frame, whole=False)


def test_a_runner_is_asked_once_and_for_few_enough_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question has the time of a whole call, and its matrix is held while somebody waits."""
    frame = people()
    model = mixed(neighbors.KNeighborsClassifier()).fit(frame, outcome(frame, "two"))
    data, asked, questions = compile_model(model, whole=False), Asked(model), []

    def ask(matrix: Any) -> Answer:
        questions.append(matrix.shape)
        return asked(encoded.as_table(matrix))

    monkeypatch.setattr(limits, "CELLS_OF_A_QUESTION", 2_000)
    form = CompiledForm(data).asking(ask)

    form.answer_table(table_of(frame).slice(0, form.most_rows))
    assert len(questions) == 1
    with pytest.raises(Declined):
        form.answer_table(table_of(frame).slice(0, form.most_rows + 1))
    monkeypatch.setattr(limits, "CELLS_OF_A_QUESTION", 200)
    with pytest.raises(BadForm):
        CompiledForm(data)


def test_a_form_that_ends_with_the_matrix_answers_nothing_by_itself() -> None:
    frame = people()
    model = mixed(neighbors.KNeighborsClassifier()).fit(frame, outcome(frame, "two"))
    form, asked = CompiledForm(compile_model(model, whole=False)), Asked(model)

    assert not form.is_quick(1)
    with pytest.raises(Declined):
        form.answer_table(table_of(frame))
    another = Asked(mixed(neighbors.KNeighborsClassifier()).fit(frame, outcome(frame, "many")))
    with pytest.raises(Declined):  # it is not the model that was compared
        form.asking(lambda matrix: another(encoded.as_table(matrix))).answer_table(table_of(frame))
    with pytest.raises(Declined):  # the estimator refuses: the model itself is to say why
        form.asking(lambda matrix: asked(encoded.as_table(matrix[:, 1:]))).answer_table(table_of(frame))


WORDS_TO_NUMBERS = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
FILL = SimpleImputer()
NUMBER_STEPS = [
    SimpleImputer(strategy="mean"),
    SimpleImputer(strategy="median", add_indicator=True),
    SimpleImputer(strategy="most_frequent"),
    SimpleImputer(strategy="constant", fill_value=-1),
    make_pipeline(FILL, MinMaxScaler(clip=True)),
    make_pipeline(MaxAbsScaler(), FILL),
    make_pipeline(RobustScaler(), FILL),
    make_pipeline(FILL, RobustScaler(with_centering=False)),
    make_pipeline(FILL, StandardScaler(with_mean=False)),
    make_pipeline(FILL, StandardScaler(with_std=False)),
    make_pipeline(FILL, PowerTransformer()),
    make_pipeline(FILL, PowerTransformer("box-cox", standardize=False)),
    make_pipeline(FILL, QuantileTransformer(n_quantiles=20)),
    make_pipeline(FILL, PolynomialFeatures(2)),
    make_pipeline(FILL, PolynomialFeatures(3, interaction_only=True, include_bias=False)),
    make_pipeline(FILL, KBinsDiscretizer(4)),
    make_pipeline(FILL, KBinsDiscretizer(4, encode="ordinal", strategy="uniform")),
    make_pipeline(FILL, feature_selection.VarianceThreshold(1.0)),
    make_pipeline(FILL, feature_selection.SelectKBest(k=2)),
    make_pipeline(FILL, FunctionTransformer()),
    FeatureUnion(
        [("fill", FILL), ("gaps", MissingIndicator(features="all"))], transformer_weights={"fill": 2}
    ),
]
WORD_STEPS = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2, drop="if_binary"),
    OneHotEncoder(handle_unknown="error"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=9, encoded_missing_value=7, min_frequency=0.1
    ),
    TargetEncoder(random_state=0),
    make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), TargetEncoder(random_state=0)),
]


@pytest.mark.parametrize("step", NUMBER_STEPS, ids=lambda step: str(step)[:60].replace("\n", ""))
@pytest.mark.parametrize("behind", ["line", "tree"])
def test_steps_for_numbers_answer_alike(step: Any, behind: str) -> None:
    frame = people()
    require_parity(mixed(_behind(behind), numbers=step).fit(frame, outcome(frame, "two")), frame)


@pytest.mark.parametrize("step", WORD_STEPS, ids=lambda step: str(step)[:60].replace("\n", ""))
@pytest.mark.parametrize("kind", ["two", "many"])
def test_steps_for_words_answer_alike(step: Any, kind: str) -> None:
    frame = people()
    require_parity(mixed(_behind("tree"), words=step).fit(frame, outcome(frame, kind)), frame)


def _behind(name: str) -> Any:
    if name == "line":
        return linear_model.LogisticRegression(max_iter=50)
    return tree.DecisionTreeClassifier(max_depth=6, random_state=0)


def test_columns_are_found_by_name_index_selector_and_remainder() -> None:
    frame = people()
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=object)),
            ("place", FILL, [1]),
            ("dropped", "drop", ["rooms"]),
            ("number", OneHotEncoder(handle_unknown="ignore"), ["rooms"]),
        ],
        remainder="passthrough",
        transformer_weights={"place": 0.5},
    )
    model = make_pipeline(columns, StandardScaler(with_mean=False), linear_model.LogisticRegression())
    require_parity(model.fit(frame, outcome(frame, "two")), frame)


def test_missing_values_and_categories_of_boosting_answer_alike() -> None:
    frame = people().copy()
    words = ColumnTransformer(
        [("words", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), WORDS)],
        remainder="passthrough",
    )
    model = make_pipeline(
        words,
        ensemble.HistGradientBoostingClassifier(max_iter=12, categorical_features=[0, 1], min_samples_leaf=3),
    )
    require_parity(model.fit(frame, outcome(frame, "many")), frame)


def test_categories_that_boosting_finds_by_itself_answer_alike() -> None:
    frame = people().astype({"city": "category", "trade": "category"})
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=12, categorical_features=["city", "trade"], min_samples_leaf=3
    )
    require_parity(model.fit(frame, outcome(frame, "two")), people())


def test_missing_values_of_trees_answer_alike() -> None:
    frame = people()[NUMBERS]
    model = ensemble.RandomForestClassifier(10, random_state=0).fit(frame, outcome(people(), "two"))
    require_parity(model, people())


def test_a_search_stands_for_what_it_found() -> None:
    frame = people()
    search = GridSearchCV(mixed(linear_model.LogisticRegression()), {"model__C": [0.1, 1]}, cv=2)
    require_parity(search.fit(frame, outcome(frame, "two")), frame)


def test_a_tree_of_one_leaf_answers_alike() -> None:
    frame = people()
    forest = ensemble.RandomForestRegressor(3, max_depth=1, min_samples_leaf=150, random_state=0)
    require_parity(mixed(forest).fit(frame, outcome(frame, "number")), frame)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10_000), rows=st.integers(30, 120), data=st.data())
def test_pipelines_of_every_sort_answer_alike(seed: int, rows: int, data: st.DataObject) -> None:
    frame = people(seed, rows)
    kind = data.draw(st.sampled_from(["two", "many", "number"]))
    estimator = data.draw(st.sampled_from(REGRESSORS if kind == "number" else CLASSIFIERS))
    numbers, words = data.draw(st.sampled_from(NUMBER_STEPS)), data.draw(st.sampled_from(WORD_STEPS))
    try:
        model = mixed(estimator, numbers, words).fit(frame, outcome(frame, kind))
    except ValueError:  # scikit-learn does not fit this combination
        return
    require_parity(model, frame)


def test_it_names_the_step_that_it_does_not_know() -> None:
    frame = people()
    model = mixed(_behind("tree"), numbers=make_pipeline(FILL, FunctionTransformer(np.log1p)))

    with pytest.raises(
        compiling.NotCompiled, match=r"the step “functiontransformer” \(FunctionTransformer\)"
    ):
        compile_model(model.fit(frame, outcome(frame, "two")))


@pytest.mark.slow
def test_a_hundred_thousand_rows_of_a_census_keep_their_labels() -> None:
    """Mixed columns with gaps and rare words; fully grown trees, whose votes tie often."""
    frame = census(100_000)
    forest = ensemble.RandomForestClassifier(30, random_state=0, max_samples=4_000)
    model = mixed(forest).fit(frame.head(20_000), outcome(frame.head(20_000), "two"))
    form = CompiledForm(compile_model(model))

    found = form.answer_table(table_of(frame))

    expected = model.predict_proba(frame)
    assert np.count_nonzero(found.indices != expected.argmax(axis=1)) == 0
    assert np.abs(found.probabilities - expected).max() == 0.0


def census(rows: int) -> pd.DataFrame:
    """Ages and rooms as they are counted, incomes rounded as people round them."""
    frame = people(3, rows).copy()
    frame["income"] = frame["income"].round(-2)
    return frame


@pytest.mark.parametrize("estimator", ["forest", "regression", "boosted"])
def test_a_large_forest_is_walked_here_to_the_same_leaves(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with gaps, which each split sends its own way, and across the pieces in which rows and trees are walked."""
    table = people()[["age", "income", "rooms"]].astype(float)
    target = (table["income"].isna() | (table["age"] > 50)).astype(int)
    model = {
        "forest": ensemble.RandomForestClassifier(20, max_depth=8, random_state=0),
        "regression": ensemble.ExtraTreesRegressor(20, random_state=0),
        "boosted": ensemble.HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=2),
    }[estimator].fit(table, target)
    data = compiling.compile_form(scoring.Scorer(model), [(str(name), "number") for name in table])
    by_engine = CompiledForm(data)
    monkeypatch.setattr(walking, "LARGE", 0)
    monkeypatch.setattr(walking, "ROWS", 50)
    monkeypatch.setattr(walking, "LANES", 120)
    walked = CompiledForm(data)
    rows = pa.Table.from_pandas(table, preserve_index=False).to_pylist()
    expected = by_engine.answer_rows(rows)

    for size in (1, 7, len(rows)):
        found = [walked.answer_rows(rows[at : at + size]) for at in range(0, len(rows), size)]
        for name in ("indices", "probabilities", "values"):
            whole = getattr(expected, name)
            if whole is not None:
                assert (np.concatenate([getattr(each, name) for each in found]) == whole).all()
    assert walked._whole._model._leaves._session is None
    assert by_engine._whole._model._leaves._session is not None
    assert table["income"].isna().any()


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_ranks_decide_as_values_do(thresholds: list[float]) -> None:
    """At each threshold, beside it, at the ends of all numbers, and for nothing at all."""
    values = np.array(thresholds, np.float32)
    beside = np.concatenate(
        [values, np.nextafter(values, np.float32(9)), np.nextafter(values, np.float32(-9))]
    )
    rows = np.append(beside, np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], np.float32))[:, np.newaxis]
    size = len(values)
    forest: Any = SimpleNamespace(is_leaf=np.zeros(size, bool), feature=np.zeros(size, np.int32))
    ranks = walking._Ranks(forest, values, 1)

    found = ranks.of_rows(rows, True)[0][:, np.newaxis] > ranks.of_nodes << walking.CHILD_BITS | walking.CHILD

    assert (found == ~(rows <= values)).all()
