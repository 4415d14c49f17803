"""Which rows of a long table are looked at: evenly over all of it, for the first ones of a sorted file are alike."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def places(rows: int, count: int) -> npt.NDArray[np.int64]:
    """Which rows these are: in order, each once."""
    return np.arange(rows) if rows <= count else np.linspace(0, rows - 1, count).astype("int64")


def spread(table: pa.Table, count: int) -> pa.Table:
    """At most `count` rows of it."""
    return table if table.num_rows <= count else table.take(pa.array(places(table.num_rows, count)))
