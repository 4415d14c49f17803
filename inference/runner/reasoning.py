"""Questions for the reasons of answers: rows and reference rows in, what each column added out."""

import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa

from . import arrays
from .explaining import Explainer

Frames = Callable[[pa.Table], pd.DataFrame]


class Reasoner:
    """One model, explained against the reference rows that came last: what they cost is paid once.

    `frames` makes of a table the columns that the model knows, `feed` of those what it is given.
    """

    def __init__(self, model: Any, classes: Any, frames: Frames, feed: Callable[[pd.DataFrame], Any]) -> None:
        self._model, self._classes = model, classes
        self._frames, self._feed = frames, feed
        self._lock = threading.Lock()
        self._against: tuple[pa.Table, Explainer] | None = None

    def explain(
        self, rows: pa.Table, background: pa.Table, *, outputs: list[int], seconds: float
    ) -> dict[str, Any]:
        """`outputs`: the place of each row's explained class. Rows from `done` on were out of time."""
        frame = self._frames(rows)
        with self._lock:
            found = self._explainer(background).explain(frame, outputs, seconds)
        return {
            "columns": [str(name) for name in frame.columns],
            "contributions": arrays.pack(found.contributions),
            "base": arrays.pack(found.base),
            "scale": found.scale,
            "method": found.method,
            "done": found.done,
        }

    def _explainer(self, background: pa.Table) -> Explainer:
        if self._against is None or not self._against[0].equals(background):
            rows = self._frames(background) if background.num_rows else None
            self._against = (background, Explainer(self._model, self._classes, rows, self._feed))
        return self._against[1]
