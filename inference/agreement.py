"""How often two versions answer alike on the same rows. Arrays in, plain values out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from inference.checks.measuring import Answers
from registry import audit
from registry.schema import Label

#: Two regressions agree when they differ by less than this share of the larger.
TOLERANCE = 0.01
EXAMPLES = 10
MOST_CLASSES = 12
BINS = 11

Array = npt.NDArray[Any]


def agreement(a: Answers, b: Answers, table: pa.Table | None = None) -> dict[str, Any]:
    """Share of equal answers, how they differ, and some rows where they do (`table`: the whole dataset's rows)."""
    places = np.intersect1d(a.places, b.places)
    first, second = a.at(places), b.at(places)
    if not len(places):
        return {"rows": 0, "share": None, "note": ""}
    if first.indices is not None and second.indices is not None:
        before, after = first.labels, second.labels
        same = np.array([_same(one, other) for one, other in zip(before, after, strict=True)])
        found = {"matrix": _matrix(before, after)}
    else:
        one, other = (np.asarray(each.values, np.float64) for each in (first, second))
        same = np.isclose(one, other, rtol=TOLERANCE, atol=0)
        before, after = one.tolist(), other.tolist()
        found = {"differences": _differences(other - one)}
    changed = np.flatnonzero(~same)
    return {
        "rows": len(places),
        "share": round(float(np.mean(same)), 4),
        "changed": len(changed),
        "note": "",
        **found,
        "examples": [] if table is None else _examples(table, places, before, after, changed),
    }


def _same(one: Label, other: Label) -> bool:
    return one == other and type(one) is type(other)


def _matrix(before: list[Label], after: list[Label]) -> dict[str, Any] | None:
    """Counts by both answers; none where the classes are too many to be looked at."""
    labels = sorted({*before, *after}, key=str)
    if len(labels) > MOST_CLASSES:
        return None
    place = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    for one, other in zip(before, after, strict=True):
        counts[place[one], place[other]] += 1
    return {"labels": labels, "counts": counts.tolist()}


def _differences(change: Array) -> dict[str, Any]:
    """How far the second's answers lie from the first's."""
    low, high = float(change.min()), float(change.max())
    counts, edges = np.histogram(change, BINS, (low, high if high > low else low + 1))
    quantiles = np.quantile(change, [0.05, 0.5, 0.95]).tolist()
    return {
        "mean": float(change.mean()),
        "p5": quantiles[0],
        "median": quantiles[1],
        "p95": quantiles[2],
        "bins": [
            {"low": float(edges[n]), "high": float(edges[n + 1]), "count": int(counts[n])}
            for n in range(BINS)
        ],
    }


def _examples(
    table: pa.Table, places: Array, before: list[Any], after: list[Any], changed: Array
) -> list[dict[str, Any]]:
    """Rows that are answered otherwise now, spread over all of them."""
    if len(changed) > EXAMPLES:
        changed = changed[np.linspace(0, len(changed) - 1, EXAMPLES).astype(int)]
    rows = table.take(pa.array(places[changed])).to_pylist()
    return [
        {
            "row": int(places[index]) + 1,
            "a": before[index],
            "b": after[index],
            "inputs": audit.plain(row),
        }
        for index, row in zip(changed.tolist(), rows, strict=True)
    ]
