"""Rows at the edges of what may be asked: gaps, unseen words, extremes, values at and just beside every boundary."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from inference.validation import ARROW_TYPES
from registry.schema import Field, Schema

MOST_ROWS = 20_000
MOST_CATEGORIES = 50
SMALL_NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.1, 5e-324, 1e-310, 16_777_217.0, 1e15)
#: Beyond float32, and near the end of float64: scikit-learn refuses some of them, and so must a form.
WILD_NUMBERS = (3.5e38, 1e300, -1e300, 1.7e308)
WHOLE_NUMBERS = (0, 1, -1, 16_777_217, 2**31, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63) + 1)
UNSEEN = "\u0928\u092f\u093e – never seen"

Boundaries = Mapping[str, Sequence[float]]


def plain(schema: Schema, base: pa.Table, boundaries: Boundaries) -> pa.Table:
    """Rows that most models answer: one value of a row of `base` replaced by one at an edge."""
    cases = [(each.name, value) for each in schema.fields for value in _usual(each)]
    room = max(1, (MOST_ROWS - len(cases)) // max(1, len(boundaries)))
    for each in schema.fields:
        cases += [(each.name, value) for value in _beside(each, boundaries.get(each.name, ()), room)]
    return _replaced(schema, base, cases[:MOST_ROWS])


def wild(schema: Schema, base: pa.Table) -> pa.Table:
    """Rows that many models refuse: nothing in one column, or in all; unseen words; numbers without measure."""
    cases = [(each.name, value) for each in schema.fields for value in _unusual(each)]
    rows = _replaced(schema, base, cases)
    empty = pa.table({each.name: pa.nulls(1, ARROW_TYPES[each.type]) for each in schema.fields})
    return pa.concat_tables([rows, empty])


def _usual(each: Field) -> list[Any]:
    ends = [end for end in (each.min, each.max, each.training.min, each.training.max) if end is not None]
    if each.type == "number":
        return [*SMALL_NUMBERS, *map(float, ends)]
    if each.type == "integer":
        return [*WHOLE_NUMBERS, *[int(end) for end in ends if abs(end) < 2**63]]
    if each.type == "boolean":
        return [True, False]
    return list(each.categories[:MOST_CATEGORIES])


def _unusual(each: Field) -> list[Any]:
    if each.type == "number":
        return [None, *WILD_NUMBERS]
    if each.type in ("category", "text"):
        return [None, UNSEEN, ""]
    return [None]


def _beside(each: Field, boundaries: Sequence[float], room: int) -> list[Any]:
    """Each boundary and its neighbours on both sides, evenly chosen where there are more than fit."""
    values = np.unique(np.asarray(boundaries, np.float64))
    values = values[np.isfinite(values)]
    if each.type == "integer":
        whole = np.unique(np.concatenate([np.floor(values), np.ceil(values)]))
        return [int(value) for value in _spread(whole, room) if abs(value) < 2**62]
    if each.type != "number":
        return []
    near = [values, np.nextafter(values, -math.inf), np.nextafter(values, math.inf)]
    return [float(value) for value in _spread(np.unique(np.concatenate(near)), room)]


def _spread(values: Any, room: int) -> Any:
    if len(values) <= room:
        return values
    return values[np.linspace(0, len(values) - 1, room).astype(np.intp)]


def _replaced(schema: Schema, base: pa.Table, cases: Sequence[tuple[str, Any]]) -> pa.Table:
    rows = base.take(pa.array(np.arange(len(cases)) % base.num_rows))
    columns = {}
    for each in schema.fields:
        values = rows.column(each.name).to_pylist()
        for place, (name, value) in enumerate(cases):
            if name == each.name:
                values[place] = value
        columns[each.name] = pa.array(values, ARROW_TYPES[each.type])
    return pa.table(columns)
