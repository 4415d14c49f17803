"""The scored rows of a chunk, as columns: the person's cells as text, our answer beside them.

Columns: `c0`, `c1`, … the original cells · `row` the 0-based row · `status` scored or invalid · `error` and `fix`
what is wrong with the row · `warnings` · `why` where reasons were asked for · `label` the class in the words of the
version · `value` · `p0`, `p1`, … the probability of each class.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference import csvfile

STATUS, ERROR, FIX, WARNINGS, LABEL, VALUE = "status", "error", "fix", "warnings", "label", "value"
WHY = "why"
SCORED, INVALID = "scored", "invalid"


def probability_column(position: int) -> str:
    return f"p{position}"


def write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", write_statistics=False)


def read(path: Path | pa.NativeFile) -> pa.Table:
    return pq.read_table(path, partitioning=None, memory_map=False)


def spread(mask: np.ndarray[Any, np.dtype[np.bool_]], values: pa.Array) -> pa.Array:
    """Values of the valid rows at their places, null at the others."""
    places = np.full(len(mask), -1, dtype=np.int64)
    places[mask] = np.arange(int(mask.sum()))
    return values.take(pa.array(places, mask=~mask))


def rows(table: pa.Table, size: int = 2_000) -> Iterator[dict[str, list[Any]]]:
    """The table in small pieces of Python lists by column."""
    for batch in table.to_batches(max_chunksize=size):
        yield batch.to_pydict()


def cell_columns(table: pa.Table) -> list[str]:
    """The names of the person's own columns, in their order."""
    count = sum(1 for name in table.column_names if name[:1] == "c" and name[1:].isdecimal())
    return [csvfile.column_name(n) for n in range(count)]
