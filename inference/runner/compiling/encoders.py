"""OneHotEncoder, OrdinalEncoder and TargetEncoder as tables: asked once about everything that they can tell apart."""

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from .plan import Column, NotCompiled, Number, Plan, Text

MOST_CATEGORIES = 20_000
MOST_CELLS = 4_000_000
EXACT = 2.0**53  # beyond it two whole numbers may be one float64
DECLINES = -2
NOWHERE = -1


@dataclass
class Asked:
    """One column's values to ask about: its categories, then nothing, then something unseen."""

    keys: list[Any]
    has_nothing: bool  # nothing is a category of its own
    unseen: Any
    rows: list[Any] = field(default_factory=list)


def encode(plan: Plan, encoder: Any, columns: list[Column]) -> list[Column]:
    asked = [_asked(values, column) for values, column in zip(encoder.categories_, columns, strict=True)]
    if isinstance(encoder, OneHotEncoder):
        widths = [int(width) for width in encoder._n_features_outs]
        encoder = copy.copy(encoder)
        encoder.sparse_output = True
        encoder.set_output(transform="default")
    else:
        classes = len(encoder.classes_) if _is_per_class(encoder) else 1
        widths = [classes] * len(columns)
    return _tabled(plan, encoder, columns, asked, widths)


def _is_per_class(encoder: Any) -> bool:
    return isinstance(encoder, TargetEncoder) and encoder.target_type_ == "multiclass"


def _asked(categories: Any, column: Column) -> Asked:
    values = np.asarray(categories).tolist()
    if len(values) > MOST_CATEGORIES:
        raise NotCompiled(f"a column has {len(values)} categories")
    known = [value for value in values if not _is_nothing(value)]
    has_nothing = any(isinstance(value, float) and value != value for value in values)  # noqa: PLR0124 - NaN
    if isinstance(column, Text):
        if not all(isinstance(value, str) for value in known):
            raise NotCompiled("it learned other categories than text for a column of text")
        return Asked(known, has_nothing, "\U0010fffd never seen \U0010fffd")
    if not all(isinstance(value, int | float) and abs(value) < EXACT for value in known):
        raise NotCompiled("it learned other categories than numbers for a column of numbers")
    numbers = sorted({float(value) for value in known})
    return Asked(numbers, has_nothing, (max(map(abs, numbers), default=0.0) + 1.5))


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _tabled(
    plan: Plan, encoder: Any, columns: list[Column], asked: list[Asked], widths: list[int]
) -> list[Column]:
    """One node for the whole encoder; per column the row of its table for each key, for nothing, for unseen."""
    ends = np.cumsum([0, *widths]).tolist()
    answers = _answers(encoder, columns, asked)
    one_hot = isinstance(encoder, OneHotEncoder)
    tables = []
    for place, (column, question) in enumerate(zip(columns, asked, strict=True)):
        found = [None if row is None else _cut(row, ends[place], ends[place + 1]) for row in answers[place]]
        entry = _source(plan, column) | {"keys": _keys(plan, column, question)}
        tables.append(entry | (_places(plan, found) if one_hot else _values(plan, found, widths[place])))
    op = "onehot" if one_hot else "lookup"
    extra = {"starts": plan.array(ends, "<i4")} if one_hot else {}
    return plan.columns(plan.node(op, ends[-1], tables=tables, **extra))


def _cut(row: Any, start: int, end: int) -> Any:
    return np.asarray(row[start:end], "<f8")


def _source(plan: Plan, column: Column) -> dict[str, Any]:
    if isinstance(column, Number):
        return {"of": plan.matrix([column])}
    return {"input": column.input, "fill": column.fill}


def _keys(plan: Plan, column: Column, question: Asked) -> Any:
    return plan.array(question.keys) if isinstance(column, Number) else question.keys


def _places(plan: Plan, found: list[Any]) -> dict[str, Any]:
    """Which of the column's outputs is 1 for each key: none of them, or one."""
    places = []
    for row in found:
        if row is None:
            places.append(DECLINES)
            continue
        hot = np.flatnonzero(row)
        if len(hot) > 1 or (len(hot) and row[hot[0]] != 1):
            raise NotCompiled("it makes something else than a single 1 of a category")
        places.append(int(hot[0]) if len(hot) else NOWHERE)
    return {"places": plan.array(places, "<i4")}


def _values(plan: Plan, found: list[Any], width: int) -> dict[str, Any]:
    declines = [row is None for row in found]
    values = [np.zeros(width) if row is None else row for row in found]
    return {"values": plan.array(np.array(values)), "declines": plan.array(declines, "|u1")}


def _answers(encoder: Any, columns: list[Column], asked: list[Asked]) -> list[list[Any]]:
    """What the encoder makes of each value of each column; None where it refuses. Everything known is asked at once."""
    most = max(len(question.keys) for question in asked)
    if most * sum(len(question.keys) for question in asked) > 50 * MOST_CELLS:
        raise NotCompiled("it has too many categories")
    usual = [question.keys[0] if question.keys else np.nan for question in asked]
    known = [
        [*question.keys, *[usual[place]] * (most - len(question.keys))]
        for place, question in enumerate(asked)
    ]
    made = _dense(_transform(encoder, columns, known)) if most else []
    answers: list[list[Any]] = []
    for place, question in enumerate(asked):
        rows = [made[index] for index in range(len(question.keys))]
        for value in (np.nan, question.unseen):
            others = [[each] for each in usual]
            others[place] = [value]
            rows.append(_one_answer(encoder, columns, others))
        answers.append(rows)
    return answers


def _one_answer(encoder: Any, columns: list[Column], values: list[list[Any]]) -> Any:
    try:
        return _dense(_transform(encoder, columns, values))[0]
    except ValueError:
        return None  # it refuses what it has not seen, and so must the form


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def _transform(encoder: Any, columns: list[Column], values: list[list[Any]]) -> Any:
    names = getattr(encoder, "feature_names_in_", None)
    labels = list(names) if names is not None else list(range(len(columns)))
    frame = pd.DataFrame(
        {
            label: pd.Series(given, dtype="float64" if _is_numeric(column, learned) else object)
            for label, column, learned, given in zip(
                labels, columns, encoder.categories_, values, strict=True
            )
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return encoder.transform(frame if names is not None else frame.to_numpy())


def _is_numeric(column: Column, learned: Any) -> bool:
    """An encoder that learned objects, be they numbers, compares them with objects."""
    return isinstance(column, Number) and np.asarray(learned).dtype.kind != "O"
