"""Compiled forms against the fitted pipelines that they are made of, in one process and on one thread.

    .venv/bin/python -m benchmarks.compiled
    .venv/bin/python -m benchmarks.compiled --models logistic --rows 1 100

Microseconds a row by the processor's clock, so that whatever else runs here does not count; the sides take turns. Each
line also says how many labels differ (none may) and how far apart the probabilities are.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks import data, models

ROWS = [1, 100, 1_000, 100_000]
NAMES = ["logistic", "forest", "boosted"]
AS_ROWS = 100  # so many rows and fewer come as JSON; more come as a table
ENOUGH_SECONDS = 1.5


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="modelgate-bench-") as scratch, threadpool_limits(1):
        folder = Path(options.work or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.models:
            measure(name, joblib.load(models.make(name, folder)), options.rows)


def measure(name: str, model: Any, sizes: list[int]) -> None:
    form, opened = _compiled(model)
    print(f"{models.NAMES[name]}: opened in {1e3 * opened:.0f} ms")
    table = data.loans(max(sizes), seed=10, shift=0.3)[data.INPUTS]
    everything = pa.Table.from_pandas(table, preserve_index=False)
    for size in sizes:
        frame, rows = table.head(size), everything.slice(0, size)
        given: Any = rows.to_pylist() if size <= AS_ROWS else rows
        answer = form.answer_rows if size <= AS_ROWS else form.answer_table
        ours, theirs = _alternate(
            lambda answer=answer, given=given: answer(given),  # type: ignore[misc]
            lambda frame=frame: model.predict_proba(frame),  # type: ignore[misc]
        )
        found, expected = answer(given), model.predict_proba(frame)
        flips = int(np.count_nonzero(found.indices != expected.argmax(axis=1)))
        apart = float(np.abs(found.probabilities - expected).max())
        print(
            f"  {size:>7} rows  scikit-learn {1e6 * theirs / size:>9.1f} µs a row  compiled "
            f"{1e6 * ours / size:>7.1f} µs a row ({size / ours:>9,.0f} rows/s)  ratio {theirs / ours:>6.1f}  "
            f"labels differing {flips}  apart {apart:.1e}"
        )


def _compiled(model: Any) -> tuple[Any, float]:
    """The form, by the very way an upload takes, but for the jail."""
    from inference.compiled.form import CompiledForm
    from inference.runner import compiling, scoring

    columns = [(name, "number" if name in data.NUMBERS else "category") for name in data.INPUTS]
    packed = compiling.compile_form(scoring.Scorer(model), columns)
    started = time.process_time()
    return CompiledForm(packed), time.process_time() - started


def _alternate(*sides: Callable[[], object]) -> list[float]:
    """The median seconds of each side's call; each warms up once."""
    seconds: list[list[float]] = [[] for _side in sides]
    began = time.perf_counter()
    while len(seconds[0]) < 4 or (time.perf_counter() - began < ENOUGH_SECONDS and len(seconds[0]) < 200):
        for side, found in zip(sides, seconds, strict=True):
            started = time.process_time()
            side()
            found.append(time.process_time() - started)
    return [statistics.median(found[1:]) for found in seconds]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--work", help="a folder in which the fitted models are kept between runs")
    return parser.parse_args()


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    main()
