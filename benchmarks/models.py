"""The models that are measured: whole pipelines on frames, as a data scientist hands them over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks import data

ROWS = 50_000
NAMES = {
    "logistic": "logistic regression",
    "forest": "random forest, 200 trees of depth 12",
    "boosted": "histogram gradient boosting, 200 trees",
    "neighbours": "5 nearest of 2,000 neighbours (an estimator without a compiled form)",
}


def estimators() -> dict[str, Any]:
    return {
        "logistic": LogisticRegression(max_iter=500),
        "forest": RandomForestClassifier(200, max_depth=12, random_state=0),
        "boosted": HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0),
        "neighbours": KNeighborsClassifier(),
    }


def pipeline(
    estimator: Any, own_numbers: Sequence[str] = data.NUMBERS, own_words: Sequence[str] = data.WORDS
) -> Pipeline:
    numbers = Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    words = Pipeline(
        [
            ("fill", SimpleImputer(strategy="constant", fill_value="missing")),
            ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ]
    )
    columns = ColumnTransformer([("numbers", numbers, list(own_numbers)), ("words", words, list(own_words))])
    return Pipeline([("columns", columns), ("model", estimator)])


def training_rows(name: str) -> pd.DataFrame:
    return data.loans(2_000 if name == "neighbours" else ROWS, seed=1)


def make(name: str, folder: Path, seed: int = 0) -> Path:
    """The fitted model as a joblib file; made once for a folder. Another seed makes another model."""
    path = folder / (f"{name}-{seed}.joblib" if seed else f"{name}.joblib")
    if not path.exists():
        rows = training_rows(name)
        if seed:
            rows = rows.sample(len(rows), replace=True, random_state=seed)
        fitted = pipeline(estimators()[name]).fit(rows[data.INPUTS], rows[data.TARGET])
        joblib.dump(fitted, path)
    return path
