"""Groups of rows, and the figures of each. Arrays in, numbers out: no sklearn, so that every process may ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext as _

Array = npt.NDArray[Any]

MOST_GROUPS = 12
BANDS = 4


@dataclass(frozen=True)
class Group:
    """Rows that have something in common."""

    column: str
    name: str
    mask: Array

    @property
    def rows(self) -> int:
        return int(np.count_nonzero(self.mask))


def groups(table: pa.Table, column: str) -> list[Group]:
    """By value; numbers of many values by quarter; none where the values are too many to be groups."""
    values = table.column(column)
    found = pc.value_counts(values).to_pylist()
    if len(found) > MOST_GROUPS:
        is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        return list(_bands(column, values)) if is_number else []
    texts = np.array([_text(value) for value in values.to_pylist()], dtype=object)
    return [Group(column, name, texts == name) for name in sorted(set(texts.tolist()))]


def _bands(column: str, values: pa.ChunkedArray) -> Iterator[Group]:
    numbers = values.cast(pa.float64()).to_numpy()
    present = ~np.isnan(numbers)
    edges = np.unique(np.quantile(numbers[present], np.linspace(0, 1, BANDS + 1)))
    for position, (low, high) in enumerate(pairwise(edges)):
        is_last = position == len(edges) - 2
        mask = present & (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
        yield Group(column, f"{low:.4g} – {high:.4g}", mask)
    if not present.all():
        yield Group(column, _("missing"), ~present)


def _text(value: Any) -> str:
    return _("missing") if value is None else str(value)[:80]


def score(metric: str, truth: Array, answers: Array, positive: int | None = None) -> float:
    """One figure of these rows. `truth` and `answers` are places among the classes, or numbers.

    F1 is that of the positive class where there is one, else the mean over the classes that occur; where nothing is
    positive, neither in truth nor in the answers, it is 0, as in scikit-learn with `zero_division=0`.
    """
    if metric == "accuracy":
        return float(np.mean(truth == answers))
    if metric == "mae":
        return float(np.mean(np.abs(truth - answers)))
    if metric == "rmse":
        return float(np.sqrt(np.mean((truth - answers) ** 2)))
    if metric == "f1":
        marks = np.unique(np.concatenate([truth, answers])) if positive is None else [positive]
        return float(np.mean([_f1(truth == mark, answers == mark) for mark in marks]))
    raise ValueError(metric)


def _f1(truth: Array, answers: Array) -> float:
    hits = np.count_nonzero(truth & answers)
    total = np.count_nonzero(truth) + np.count_nonzero(answers)
    return float(2 * hits / total) if total else 0.0
