"""Rows that were encoded already, as one matrix for the estimator alone.

It travels as a table of one column, a list of fixed length for each row, so that such rows are packed, joined, cut and
waited for as all others are. No column of a schema has this type.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def as_table(matrix: npt.NDArray[np.float64]) -> pa.Table:
    """The matrix of shape rows × width, at least one wide."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.table({"encoded": lists})


def matrix_of(table: pa.Table) -> npt.NDArray[Any] | None:
    """The matrix, writable as estimators expect it; None where the table holds plain columns."""
    if table.num_columns != 1 or not pa.types.is_fixed_size_list(table.schema.field(0).type):
        return None
    column = table.column(0)
    numbers = pa.concat_arrays([chunk.flatten() for chunk in column.chunks])
    return np.array(numbers.to_numpy(), np.float64).reshape(-1, column.type.list_size)
