"""A loaded model, asked: Arrow rows in; class indices, probabilities and values out.

Whatever the model returns is checked here for its shape, and again on the other side for its bytes.
"""

import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.base import is_classifier, is_regressor
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline

from . import arrays, encoded
from .explaining import Unexplainable
from .reasoning import Reasoner

MAX_TEXT = 1000
MAX_WARNINGS = 20
MAX_CLASSES = 10_000
MAX_FEATURES = 10_000
SEARCHES = frozenset({"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})


class NotServable(ValueError):
    """It loads, but it does not answer the way a model here must."""


class Notes(threading.local):
    """Warnings as data, per thread. Python's own catch_warnings is not safe with one thread per connection."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def listen(self) -> None:
        warnings.simplefilter("always")
        warnings.showwarning = self._show

    def _show(self, message: Warning | str, category: type[Warning], *_where: Any, **_more: Any) -> None:
        line = f"{category.__name__}: {message}"[:300]
        if len(self.lines) < MAX_WARNINGS and line not in self.lines:
            self.lines.append(line)

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


notes = Notes()


class Scorer:
    """What this model is and how to feed it, found out once."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.estimator = unfolded(model)[1]
        self.kind = _kind(model)
        self.classes = _classes(model) if self.kind == "classifier" else None
        self.has_probabilities = self.kind == "classifier" and hasattr(model, "predict_proba")
        self.features = _features(model)
        self.feeds = _feeds(model, self.features)
        feed = pd.DataFrame.to_numpy if self.feeds == "array" else _as_it_is
        self.reasoner = Reasoner(model, self.classes, self._explained, feed)
        _work_alone(model)

    def describe(self) -> dict[str, Any]:
        count = getattr(self.model, "n_features_in_", None)
        return {
            "kind": self.kind,
            "type": type(self.model).__name__[:200],
            "estimator": type(_last(self.model)).__name__[:200],
            "classes": None if self.classes is None else [plain(value) for value in self.classes],
            "probabilities": self.has_probabilities,
            "features": self.features,
            "feature_count": int(count) if isinstance(count, (int, np.integer)) else None,
            "feeds": self.feeds,
            "encoded": encoded_columns(self.model),
        }

    def answer(self, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
        """One answer for each table, all from one call of the model."""
        return apart(self._score(joined(tables)), tables)

    def _score(self, table: pa.Table) -> dict[str, Any]:
        if not table.num_rows:  # scikit-learn refuses to answer nothing
            return self._nothing()
        model, inputs = self._asked(table)
        if self.classes is None:
            return {"values": self._values(model.predict(inputs), table.num_rows)}
        labels = model.predict(inputs)
        probabilities = model.predict_proba(inputs) if self.has_probabilities else None
        return {
            "labels": self._indices(labels, table.num_rows),
            "probabilities": None
            if probabilities is None
            else self._probabilities(probabilities, table.num_rows),
        }

    def _nothing(self) -> dict[str, Any]:
        if self.classes is None:
            return {"values": np.empty(0, "<f8")}
        return {
            "labels": np.empty(0, "<i4"),
            "probabilities": np.empty((0, len(self.classes)), "<f8") if self.has_probabilities else None,
        }

    def _asked(self, table: pa.Table) -> tuple[Any, Any]:
        """Who answers, and from what: rows are transformed once for labels and probabilities, with the very same steps.

        Rows that come encoded are for the estimator alone.
        """
        if (matrix := encoded.matrix_of(table)) is not None:
            names = getattr(self.estimator, "feature_names_in_", None)
            return self.estimator, matrix if names is None else pd.DataFrame(matrix, columns=names)
        model, inputs = self.model, self._inputs(table)
        if self.has_probabilities and type(model) is Pipeline and len(model.steps) > 1:
            return model.steps[-1][1], model[:-1].transform(inputs)
        return model, inputs

    def _inputs(self, table: pa.Table) -> Any:
        if self.feeds == "text":
            return _text_column(table)
        frame = self._frame(table)
        return frame if self.feeds == "frame" else frame.to_numpy()

    def _frame(self, table: pa.Table) -> pd.DataFrame:
        """The columns that the model was trained with, in its order."""
        frame = to_frame(table)
        if self.features is None:
            return frame
        missing = [name for name in self.features if name not in frame.columns]
        if missing:
            raise NotServable(
                f"the model was trained with columns that the rows lack: {', '.join(missing[:10])}"
            )
        return frame[self.features]

    def _explained(self, table: pa.Table) -> pd.DataFrame:
        if self.feeds == "text":
            raise Unexplainable("it reads a text as a whole")
        return self._frame(table)

    def _indices(self, labels: Any, rows: int) -> Any:
        labels = np.asarray(labels)
        if labels.shape != (rows,):
            raise NotServable(
                f"predict answered with shape {labels.shape} for {rows} rows; one label a row is expected"
            )
        assert self.classes is not None
        order = np.argsort(self.classes)
        found = np.minimum(np.searchsorted(self.classes, labels, sorter=order), len(order) - 1)
        indices = order[found]
        if not np.array_equal(self.classes[indices], labels):
            raise NotServable("predict answered with a label that is not among the model's classes")
        return indices.astype("<i4")

    def _probabilities(self, values: Any, rows: int) -> Any:
        values = np.asarray(values, "<f8")
        assert self.classes is not None
        if values.shape != (rows, len(self.classes)):
            raise NotServable(f"predict_proba answered with shape {values.shape}, not one column per class")
        return values

    def _values(self, values: Any, rows: int) -> Any:
        values = np.asarray(values, "<f8")
        if values.shape == (rows, 1):
            values = values[:, 0]
        if values.shape != (rows,):
            raise NotServable(
                f"predict answered with shape {values.shape} for {rows} rows; one number a row is expected"
            )
        return values


def read_rows(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if len(tables) > 1 else tables[0]


def apart(found: dict[str, Any], tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
    """The arrays of a joined answer, cut again into one answer for each table."""
    answers, begin = [], 0
    for table in tables:
        end = begin + table.num_rows
        answers.append(
            {
                name: None if values is None else arrays.pack(values[begin:end])
                for name, values in found.items()
            }
        )
        begin = end
    return answers


def _as_it_is(rows: pd.DataFrame) -> Any:
    return rows


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The frame that scikit-learn pipelines trained on pandas expect: plain numpy columns, NaN where nothing is."""
    columns = {name: _series(table.column(name)) for name in table.column_names}
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def _series(values: pa.ChunkedArray) -> "pd.Series[Any]":
    if pa.types.is_floating(values.type):
        return pd.Series(values.cast(pa.float64()).to_numpy())
    if pa.types.is_integer(values.type):
        return pd.Series(values.cast(pa.float64() if values.null_count else pa.int64()).to_numpy())
    if pa.types.is_boolean(values.type) and not values.null_count:
        return pd.Series(values.to_numpy(), dtype=bool)
    objects = np.array(values.to_pylist(), dtype=object)
    if values.null_count:
        objects[values.is_null().to_numpy()] = np.nan
    return pd.Series(objects, dtype=object)


def _text_column(table: pa.Table) -> list[str]:
    if table.num_columns != 1:
        raise NotServable(f"the model reads one column of text; {table.num_columns} columns were given")
    return [value or "" for value in table.column(0).to_pylist()]


def _kind(model: Any) -> str:
    if not hasattr(model, "predict"):
        raise NotServable(
            f"a {type(model).__name__} has no predict(): save the fitted estimator or pipeline itself"
        )
    if is_classifier(model):
        return "classifier"
    if is_regressor(model):
        return "regressor"
    raise NotServable(f"a {type(model).__name__} is neither a classifier nor a regressor")


def _classes(model: Any) -> Any:
    classes = getattr(model, "classes_", None)
    if isinstance(classes, list):
        raise NotServable("the model answers several questions at once; one target is expected")
    classes = np.asarray(classes)
    if classes.ndim != 1 or not 1 <= len(classes) <= MAX_CLASSES:
        raise NotServable("the classifier does not say its classes: was it fitted before it was saved?")
    return classes


def _features(model: Any) -> list[str] | None:
    for step in [model, *[step for _name, step in getattr(model, "steps", [])]]:
        names = getattr(step, "feature_names_in_", None)
        if names is not None:
            return [str(name)[:MAX_TEXT] for name in list(names)[:MAX_FEATURES]]
    return None


def _feeds(model: Any, features: list[str] | None) -> str:
    first = model.steps[0][1] if isinstance(model, Pipeline) else model
    if isinstance(first, (CountVectorizer, HashingVectorizer)):
        return "text"
    return "array" if features is None else "frame"


def encoded_columns(model: Any) -> dict[str, str]:
    """Columns that an encoder learned by heart, as "number" or "text": "1" would be unknown to one that knows 1."""
    found: dict[str, str] = {}
    for step in [step for _name, step in getattr(model, "steps", [])] or [model]:
        for _name, transformer, columns in getattr(step, "transformers_", []):
            for inner in [inner for _name, inner in getattr(transformer, "steps", [])] or [transformer]:
                found |= _encoded_by(inner, columns)
    return found


def _encoded_by(encoder: Any, columns: Any) -> dict[str, str]:
    categories = getattr(encoder, "categories_", None)
    if not isinstance(categories, list) or isinstance(columns, str) or len(categories) != len(columns):
        return {}
    kinds = {str(column): _kind_of(values) for column, values in zip(columns, categories, strict=True)}
    return {column: kind for column, kind in kinds.items() if kind}


def _kind_of(values: Any) -> str:
    known = [value for value in np.asarray(values).tolist() if not pd.isna(value)]
    if known and all(isinstance(value, str) for value in known):
        return "text"
    if known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return "number"
    return ""


def unfolded(model: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The steps before the estimator, and the estimator; a search stands for what it found."""
    if hasattr(model, "best_estimator_") and type(model).__name__ in SEARCHES:
        return unfolded(model.best_estimator_)
    if type(model) is not Pipeline:
        return [], model
    *steps, (_name, last) = model.steps
    more, estimator = unfolded(last)
    return [*steps, *more], estimator


def _last(model: Any) -> Any:
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def _work_alone(model: Any) -> None:
    """One core for one model, whatever it was trained with."""
    for step in [model, *[step for _name, step in getattr(model, "steps", [])]]:
        if getattr(step, "n_jobs", None) is not None:
            step.n_jobs = 1


def plain(value: Any) -> str | int | float | bool:
    """A class as JSON knows it: its own type, not numpy's."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)  # an integer column with a gap is read as 0.0 and 1.0
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    if len(text) > MAX_TEXT:
        raise NotServable(f"a class name is longer than {MAX_TEXT} characters")
    return text


def versions() -> dict[str, str]:
    import platform

    import joblib
    import scipy
    import skops

    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "scipy": scipy.__version__,
        "joblib": joblib.__version__,
        "skops": skops.__version__,
    }
