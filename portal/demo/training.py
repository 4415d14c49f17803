"""Trains the demo's models with scikit-learn, the way a data scientist would, and measures them on rows held back.

Nothing here knows Django. It runs in the process of the command alone, never in a web or worker process, and writes
files with joblib without ever reading one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from portal.demo import data

SEED = 1
EXPECTED_ROWS = 100


@dataclass(frozen=True)
class Recipe:
    """One file to be trained: a model's data, and how the pipeline is put together from numbers and words."""

    name: str
    tables: Callable[[], data.Tables]
    target: str
    build: Callable[[list[str], list[str]], Pipeline]
    positive: str | None = None

    @property
    def filename(self) -> str:
        return f"{self.name}.joblib"


@dataclass(frozen=True)
class Trained:
    """A fitted pipeline on disk, and what it is worth on rows that it never saw."""

    path: Path
    metrics: dict[str, float]
    expected: pd.DataFrame  # what it answers to the first rows of its training data, to be compared elsewhere


def train(recipe: Recipe, folder: Path) -> Trained:
    """Fit, measure, save. The same recipe gives the same numbers on every machine with the same packages."""
    tables = recipe.tables()
    pipeline = recipe.build(*_kinds(inputs(tables.training, recipe.target)))
    # Threads that share a small machine with a web server and a worker spin against them: tenfold processor time.
    with threadpool_limits(limits=1):
        pipeline.fit(inputs(tables.training, recipe.target), _outcomes(tables.training[recipe.target]))
    path = folder / recipe.filename
    joblib.dump(pipeline, path, compress=("zlib", 3))
    first = inputs(tables.training.head(EXPECTED_ROWS), recipe.target)
    return Trained(path, measure(pipeline, recipe, tables.evaluation), _answers(pipeline, first))


def _answers(pipeline: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    answers = pd.DataFrame({"prediction": pipeline.predict(rows)})
    if hasattr(pipeline, "predict_proba"):
        names = [f"probability_{label}" for label in pipeline.classes_]
        answers[names] = pipeline.predict_proba(rows)
    return answers


def inputs(rows: pd.DataFrame, target: str) -> pd.DataFrame:
    """The columns that a model is told."""
    return rows.drop(columns=[target, *data.ALONGSIDE], errors="ignore")


def _kinds(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    numbers = list(rows.select_dtypes("number").columns)
    return numbers, [name for name in rows.columns if name not in numbers]


def _outcomes(column: pd.Series) -> np.ndarray[Any, Any]:
    return column.to_numpy()


def measure(pipeline: Pipeline, recipe: Recipe, rows: pd.DataFrame) -> dict[str, float]:
    """The figures that an uploader declares; the checks measure them again."""
    actual = _outcomes(rows[recipe.target])
    asked = inputs(rows, recipe.target)
    answered = pipeline.predict(asked)
    if not hasattr(pipeline, "predict_proba"):
        return _rounded(_of_numbers(actual, answered))
    return _rounded(_of_classes(actual, answered, pipeline.predict_proba(asked), recipe, pipeline))


def _of_numbers(actual: Any, answered: Any) -> dict[str, float]:
    return {
        "mae": metrics.mean_absolute_error(actual, answered),
        "rmse": metrics.root_mean_squared_error(actual, answered),
        "r2": metrics.r2_score(actual, answered),
    }


def _of_classes(
    actual: Any, answered: Any, chances: Any, recipe: Recipe, pipeline: Pipeline
) -> dict[str, float]:
    classes = list(pipeline.classes_)
    measured = {
        "accuracy": metrics.accuracy_score(actual, answered),
        "log_loss": metrics.log_loss(actual, chances, labels=classes),
    }
    if recipe.positive is None:
        return {**measured, "auc": metrics.roc_auc_score(actual, chances, multi_class="ovr", labels=classes)}
    score = chances[:, classes.index(recipe.positive)]
    return {
        **measured,
        "auc": metrics.roc_auc_score(actual == recipe.positive, score),
        "f1": metrics.f1_score(actual, answered, pos_label=recipe.positive),
    }


def _rounded(measured: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in measured.items()}


# --- how each is put together ---


def _logistic(numbers: list[str], words: list[str]) -> Pipeline:
    prepared = _columns(numbers, words, OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    return make_pipeline(prepared, LogisticRegression(C=0.5, max_iter=1000))


def _forest(numbers: list[str], words: list[str]) -> Pipeline:
    trees = RandomForestClassifier(
        n_estimators=100, max_depth=12, min_samples_leaf=5, random_state=SEED, n_jobs=1
    )
    return make_pipeline(_columns(numbers, words, OneHotEncoder(handle_unknown="ignore")), trees)


def _boosting(numbers: list[str], words: list[str]) -> Pipeline:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.06,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=SEED,
    )
    return make_pipeline(_columns(numbers, words, codes), trees)


def _columns(numbers: list[str], words: list[str], encoder: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("words", encoder, words),
        ]
    )


def _ridge(numbers: list[str], _words: list[str]) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), Ridge(alpha=10))


def _deep_forest(numbers: list[str], _words: list[str]) -> Pipeline:
    trees = RandomForestRegressor(n_estimators=60, min_samples_leaf=2, random_state=SEED, n_jobs=1)
    return make_pipeline(SimpleImputer(strategy="median"), trees)


def _three_ways(numbers: list[str], _words: list[str]) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


EMPLOYMENT = (
    Recipe("employment-logistic-regression", data.census, "employed", _logistic, positive="yes"),
    Recipe("employment-random-forest", data.census, "employed", _forest, positive="yes"),
    Recipe("employment-gradient-boosting", data.census, "employed", _boosting, positive="yes"),
)
DIABETES = (
    Recipe("diabetes-ridge", data.diabetes, "progression", _ridge),
    Recipe("diabetes-random-forest", data.diabetes, "progression", _deep_forest),
)
WINE = (Recipe("wine-logistic-regression", data.wine, "cultivar", _three_ways),)
