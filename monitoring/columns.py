"""From tables and answers to the plain columns that profiles count: the only bridge between the two."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from registry.schema import Label, Schema, Target

Columns = dict[str, Sequence[Any] | npt.NDArray[Any]]

PREDICTION = "prediction"


def of_table(table: pa.Table) -> Columns:
    return {name: values_of(table.column(name)) for name in table.column_names}


def values_of(column: pa.ChunkedArray) -> Sequence[Any] | npt.NDArray[Any]:
    """Numbers as an array with gaps as nan; everything else as Python values."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy())
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type, safe=False)
    values: list[Any] = column.to_pylist()
    return values


def input_types(schema: Schema) -> dict[str, str]:
    return {each.name: each.type for each in schema.fields}


def of_answers(
    target: Target,
    *,
    labels: Sequence[Label | None] | None,
    values: Sequence[float | None] | npt.NDArray[Any] | None,
    probabilities: Sequence[Sequence[float]] | npt.NDArray[Any] | None,
    classes: Sequence[Label],
) -> Columns:
    """Answers as columns like any other: the class or the number, and the probability of what is asked about."""
    known = () if values is None else values
    if target.task == "regression":
        return {PREDICTION: known}
    found: Columns = {PREDICTION: labels or []}
    if target.positive is not None and any(value is not None for value in known):
        found[chance_of(target.positive)] = known
    elif probabilities is not None and len(probabilities):
        table = np.asarray(probabilities, dtype=np.float64)
        found |= {chance_of(each): table[:, index] for index, each in enumerate(classes)}
    return found


def chance_of(label: Label) -> str:
    return f"probability_{label}"


def output_types(target: Target, answers: Mapping[str, Any]) -> dict[str, str]:
    """The prediction is a category or a number, as the target says; probabilities are numbers."""
    first = "number" if target.task == "regression" else "category"
    return {name: first if name == PREDICTION else "number" for name in answers}


def rows_of(columns: Columns, positions: npt.NDArray[Any]) -> Columns:
    """The same columns, only these rows."""
    return {
        name: values[positions] if isinstance(values, np.ndarray) else [values[i] for i in positions]
        for name, values in columns.items()
    }
