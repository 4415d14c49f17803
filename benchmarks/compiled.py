"""Compiled forms against the fitted pipelines that they are made of, in one process and on one thread.

    .venv/bin/python -m benchmarks.compiled
    .venv/bin/python -m benchmarks.compiled --models logistic --rows 1 100
    .venv/bin/python -m benchmarks.compiled --table people.parquet --target employed --leave-out person_id

Microseconds a row by the processor's clock, so that whatever else runs here does not count; the sides take turns. Each
line also says how many labels differ (none may) and how far apart the probabilities are. With a table, the models learn
from its first half and are compared on 100,000 rows of the other; the program fails if a label differs.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks import data, models

ROWS = [1, 100, 1_000, 100_000]
NAMES = ["logistic", "forest", "boosted"]
AS_ROWS = 100  # so many rows and fewer come as JSON; more come as a table
ENOUGH_SECONDS = 1.5
PARITY_ROWS = 100_000


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="modelgate-bench-") as scratch, threadpool_limits(1):
        folder = Path(options.work or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if options.table:
            frame = pd.read_parquet(options.table).drop(columns=options.leave_out)
            flips = [compare(name, frame, options.target) for name in options.models]
            sys.exit(any(flips))
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


def compare(name: str, frame: pd.DataFrame, target: str) -> int:
    """How many rows of somebody's own table get another label from the form: none may."""
    half = len(frame) // 2
    inputs = frame.drop(columns=target)
    numbers = [str(column) for column in inputs.select_dtypes("number")]
    model = models.pipeline(
        models.estimators()[name], numbers, [str(column) for column in inputs if column not in numbers]
    )
    model.fit(inputs.head(half).head(models.ROWS), frame[target].head(half).head(models.ROWS))
    form, _opened = _compiled(
        model, [(str(column), "number" if column in numbers else "category") for column in inputs]
    )
    asked = inputs.tail(len(frame) - half).head(PARITY_ROWS)
    found = form.answer_table(pa.Table.from_pandas(asked, preserve_index=False))
    expected = model.predict_proba(asked)
    flips = int(np.count_nonzero(found.indices != expected.argmax(axis=1)))
    apart = float(np.abs(found.probabilities - expected).max())
    print(
        f"{models.NAMES[name]}: {len(asked):,} rows, labels differing {flips}, apart {apart:.1e}", flush=True
    )
    return flips


def _compiled(model: Any, columns: list[tuple[str, str]] | None = None) -> tuple[Any, float]:
    """The form, by the very way an upload takes, but for the jail."""
    from inference.compiled.form import CompiledForm
    from inference.runner import compiling, scoring

    columns = columns or [(name, "number" if name in data.NUMBERS else "category") for name in data.INPUTS]
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
    parser.add_argument("--table", help="a Parquet file with outcomes, on which labels are compared")
    parser.add_argument("--target", help="its column of outcomes")
    parser.add_argument("--leave-out", nargs="*", default=[], help="its columns that no model may see")
    parser.add_argument("--work", help="a folder in which the fitted models are kept between runs")
    return parser.parse_args()


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    main()
