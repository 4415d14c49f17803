"""Where a form's answers may change: the thresholds of its trees and bins, told in the units of the inputs.

A threshold lies behind arithmetic; going back through it lands within a step or two of the value that decides, so
whoever asks should look beside these values too. Used to choose rows for a comparison, never to answer.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from inference.compiled.container import Array, Parts

Back = Callable[[Array], Array]
Origin = tuple[str, tuple[Back, ...]] | None

INVERSES: dict[str, Any] = {
    "add": np.subtract,
    "subtract": np.add,
    "multiply": np.divide,
    "divide": np.multiply,
}
SAME = frozenset({"fill", "guard", "clip"})


def boundaries(data: bytes) -> dict[str, list[float]]:
    """For each input, the values beside which an answer may change. `data` was opened as a form before."""
    parts = Parts(data)
    origins = _origins(parts)
    found: dict[str, list[float]] = defaultdict(list)
    with np.errstate(all="ignore"):
        for node, column, values in _thresholds(parts):
            origin = origins[node][column] if column < len(origins[node]) else None
            if origin is None:
                continue
            name, backs = origin
            for back in reversed(backs):
                values = back(values)
            found[name] += values[np.isfinite(values)].tolist()
    return {name: sorted(set(values)) for name, values in found.items()}


def _origins(parts: Parts) -> list[list[Origin]]:
    """For each column of each node: its input, and the way back to it; None where there is none."""
    found: list[list[Origin]] = []
    for claim in parts.plan["nodes"]:
        found.append(_columns(parts, claim, found))
    return found


def _columns(parts: Parts, claim: dict[str, Any], before: list[list[Origin]]) -> list[Origin]:
    op = claim["op"]
    if op == "inputs":
        inputs = parts.plan["inputs"]
        places = parts.integers(claim["columns"], (None,), 0, len(inputs)).tolist()
        return [(inputs[place][0], ()) for place in places]
    if op == "join":
        return [origin for node in claim["of"] for origin in before[node]]
    if op == "take":
        given = before[claim["of"]]
        return [given[place] for place in parts.integers(claim["columns"], (None,), 0, len(given)).tolist()]
    if op in SAME:
        return before[claim["of"]]
    if op in INVERSES:
        values = parts.floats(claim["values"], (None,)).tolist()
        return [
            _behind(origin, INVERSES[op], value)
            for origin, value in zip(before[claim["of"]], values, strict=True)
        ]
    return [None] * _width(parts, claim, before)


def _behind(origin: Origin, inverse: Any, value: float) -> Origin:
    if origin is None:
        return None
    name, backs = origin
    return name, (*backs, lambda given: inverse(given, value))


def _width(parts: Parts, claim: dict[str, Any], before: list[list[Origin]]) -> int:
    if claim["op"] == "onehot":
        ends = parts.integers(claim["starts"], (None,), 0, 1 << 30)
        return int(ends[-1])
    if claim["op"] == "lookup":
        return sum(parts.floats(table["values"], (None, None)).shape[1] for table in claim["tables"])
    if claim["op"] == "products":
        return len(parts.integers(claim["factors"], (None, None), -1, 1 << 30))
    return 1 if claim["op"] == "absent" else len(before[claim["of"]])


def _thresholds(parts: Parts) -> list[tuple[int, int, Array]]:
    """Node, column, and the values that are compared with it."""
    found = []
    for claim in parts.plan["nodes"]:
        if claim["op"] == "bins":
            edges = parts.floats(claim["edges"], (None,))
            ends = parts.integers(claim["starts"], (None,), 0, len(edges) + 1).tolist()
            found += [
                (claim["of"], place, edges[start:end]) for place, (start, end) in enumerate(pairwise(ends))
            ]
    model = parts.plan["model"]
    if model["kind"] == "trees":
        feature = parts.integers(model["feature"], (None,), 0, 1 << 30)
        threshold = parts.floats(model["threshold"], (len(feature),))
        splits = parts.integers(model["left"], (len(feature),), -1, len(feature)) >= 0
        for column in np.unique(feature[splits]).tolist():
            values = np.unique(threshold[splits & (feature == column)])
            found.append((model["of"], column, _compared(values, model["compare"])))
    return found


def _compared(values: Array, compare: str) -> Array:
    """A float32 feature changes sides half-way between two float32 numbers."""
    if compare == "float64":
        return values
    below = values.astype(np.float32)
    below = np.where(below.astype(np.float64) > values, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below, np.float32(np.inf)).astype(np.float64)
    return np.concatenate([values, below.astype(np.float64), above, (below.astype(np.float64) + above) / 2])
