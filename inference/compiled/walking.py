"""Few rows through a large forest: all trees a level at a time, in numpy, and no engine to build before the first row.

The engine meets a large forest cold: for one row it waits for memory three times as long as this walk (74 against
250 µs for 200 trees of depth 12), and building it takes a quarter of a second. So it is built when many rows come.
"""

import threading
from typing import Any

import numpy as np

from inference.compiled.container import Array, BadForm
from inference.compiled.errors import Declined
from inference.compiled.forests import Forest, at_most

LARGE = 50_000  # nodes; chosen, not measured: an engine of fewer is built in tens of milliseconds
DEEP = 32  # levels; chosen, not measured: each costs the walk some 6 µs
FEW = 4  # rows; chosen, not measured: each costs another walk


class Walk:
    """The number of each tree's leaf. The arrays are checked: a child lies behind its parent."""

    def __init__(self, forest: Forest, dtype: Any) -> None:
        own = np.arange(len(forest.left))
        sides = [np.where(forest.is_leaf, own, side) for side in (forest.right, forest.left)]
        self._children = np.column_stack(sides).ravel().astype(np.intp)
        self._feature = forest.feature.astype(np.intp)
        self._threshold = at_most(forest.threshold, dtype)
        self._missing_left = forest.missing_left
        self._numbers = forest.leaf_number
        self._roots = forest.roots.astype(np.intp)
        self._depth = forest.depth

    def leaves(self, rows: Array) -> Array:
        return np.stack([self._one(row) for row in rows])

    def _one(self, row: Array) -> Array:
        at, has_gaps = self._roots, np.isnan(row).any()
        for _level in range(self._depth):
            values = row.take(self._feature.take(at))
            goes_left = values <= self._threshold.take(at)
            if has_gaps:
                goes_left |= np.isnan(values) & self._missing_left.take(at)
            at = self._children.take(2 * at + goes_left)
        return np.asarray(self._numbers.take(at))


class Leaves:
    """Each row's leaf in each tree, by the walk or by the engine, whichever is faster. Safe for many threads."""

    def __init__(self, forest: Forest, width: int, dtype: Any) -> None:
        self._lock = threading.Lock()
        self._unbuilt: tuple[Forest, int, Any] | None = (forest, width, dtype)
        self._session: Any = None
        self._walk = Walk(forest, dtype) if len(forest.left) >= LARGE and forest.depth <= DEEP else None
        if self._walk is None:
            self._engine()

    def of(self, given: Array) -> Array:
        if self._walk is not None and len(given) <= FEW:
            return self._walk.leaves(given)
        try:
            found: Array = self._engine().run_one(given).astype(np.intp)
        except BadForm:
            raise Declined from None  # the runner answers what the engine cannot be built for
        return found

    def _engine(self) -> Any:
        with self._lock:
            if self._unbuilt is not None:
                from inference.compiled import sessions  # heavy: only where the engine walks

                self._session = sessions.of_forest(*self._unbuilt)
                self._unbuilt = None
            return self._session
