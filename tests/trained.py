"""Small models, really trained, and the files that people upload."""

import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

ROWS = 240


@cache
def people() -> pd.DataFrame:
    """Mixed types with gaps; `repaid` follows from age and income, `income_next` too."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "income": random.normal(1500, 400, ROWS).round(2),
            "city": random.choice(["Delhi", "Pune", "Agra"], ROWS),
            "member": random.random(ROWS) > 0.5,
        }
    )
    score = frame["age"] / 40 + frame["income"] / 1500 + (frame["city"] == "Pune") - 2.3
    frame["repaid"] = np.where(score > 0, "yes", "no")
    frame["band"] = np.select([score > 0.6, score > 0], ["high", "middle"], "low")
    frame["income_next"] = frame["income"] * 1.1 + frame["age"]
    frame.loc[::17, "income"] = np.nan
    frame.loc[::23, "city"] = None
    return frame


INPUTS = ["age", "income", "city", "member"]

#: Estimators alone, by a short name; those that answer numbers begin with `to_`.
ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic": LogisticRegression,
    "forest": partial(RandomForestClassifier, 5, random_state=0),
    "boosted": partial(GradientBoostingClassifier, n_estimators=5, random_state=0),
    "network": partial(MLPClassifier, (4,), solver="lbfgs", max_iter=2000, random_state=0),
    "vectors": SVC,
    "to_boosted": partial(GradientBoostingRegressor, n_estimators=5, random_state=0),
    "to_ridge": Ridge,
}


def table(count: int = ROWS) -> pa.Table:
    return pa.Table.from_pandas(people().head(count), preserve_index=False)


def csv() -> io.BytesIO:
    return io.BytesIO(people().to_csv(index=False).encode())


def _mixed(estimator: Any) -> Pipeline:
    numbers = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
    words = Pipeline(
        [
            ("fill", SimpleImputer(strategy="most_frequent")),
            ("encode", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    columns = ColumnTransformer(
        [("numbers", numbers, ["age", "income", "member"]), ("words", words, ["city"])]
    )
    return Pipeline([("columns", columns), ("model", estimator)])


@cache
def logistic() -> Pipeline:
    return _mixed(LogisticRegression()).fit(people()[INPUTS], people()["repaid"])


@cache
def without_gaps() -> Pipeline:
    """Fitted on whole rows, so that it needs no step which skl2onnx cannot convert."""
    rows = people().dropna()
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income", "member"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    return Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(rows[INPUTS], rows["repaid"])


@cache
def forest() -> Pipeline:
    return _mixed(RandomForestClassifier(20, n_jobs=-1, random_state=0)).fit(
        people()[INPUTS], people()["repaid"]
    )


@cache
def boosted() -> Pipeline:
    return _mixed(HistGradientBoostingClassifier(max_iter=10)).fit(people()[INPUTS], people()["repaid"])


@cache
def three_classes() -> Pipeline:
    return _mixed(LogisticRegression(max_iter=500)).fit(people()[INPUTS], people()["band"])


@cache
def regression() -> Pipeline:
    return _mixed(Ridge()).fit(people()[INPUTS], people()["income_next"])


@cache
def plain_array() -> RandomForestRegressor:
    """Fitted on an array: it knows no column names."""
    frame = people()[["age", "income"]].fillna(0)
    return RandomForestRegressor(5, random_state=0).fit(frame.to_numpy(), people()["income_next"])


@cache
def words() -> Pipeline:
    """Reads one column of text."""
    texts = ["very good", "so good", "good", "bad", "very bad", "so bad"]
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [True] * 3 + [False] * 3)


@cache
def whole_numbers() -> LogisticRegression:
    """Its classes are integers."""
    frame = people()
    return LogisticRegression().fit(frame[["age"]], (frame["age"] // 30).astype(int))


def dice(classifier: Any) -> Any:
    """A classifier whose probabilities are drawn anew each time, made of reviewed names only."""
    rows = pd.DataFrame(np.zeros((4, 1)))
    thrown = DummyClassifier(strategy="stratified").fit(rows, ["no", "yes", "no", "yes"])
    thrown.classes_ = classifier.classes_
    return thrown


def joblib_bytes(model: Any, compress: int | tuple[str, int] = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    return buffer.getvalue()
