"""Trees: checked arrays, walked by onnxruntime or numpy, added up here in float64 and in scikit-learn's order.

The graph is built here, from arrays that were checked: for every row and tree it tells the leaf by its number, which a
float32 holds exactly. Thresholds are exact too. A float64 feature is compared as float64; a float32 one is at most a
float64 threshold exactly when it is at most the largest float32 below it. So no answer depends on how the engine adds.
"""

from typing import Any

import numpy as np

from inference.compiled import links, walking
from inference.compiled.container import Array, BadForm, Parts
from inference.compiled.errors import Declined
from inference.compiled.forests import Forest
from inference.compiled.links import Computed

MAX_SPLITS = 20_000
CODES = 256


class Trees:
    work = 0

    def __init__(self, parts: Parts, claim: dict[str, Any], width: int, classes: int) -> None:
        self._splits = _Splits(parts, claim, width)
        forest = Forest(parts, claim, width + self._splits.count)
        self.is_mean = claim.get("combine") == "mean"
        self._chooses = claim.get("chooses")
        if claim.get("combine") not in ("mean", "sum") or self._chooses not in ("argmax", ">", ">="):
            raise BadForm("combine")
        outputs = (classes or 1) if self.is_mean or classes > 2 else 1
        each = outputs if self.is_mean else 1
        self._values = parts.floats(claim.get("values"), (forest.leaves, each), finite=True)
        self._outputs, self._trees = outputs, forest.trees
        self._link: links.Link = (
            links.none if self.is_mean and classes else links.of(claim.get("link"), classes)
        )
        if not self.is_mean:
            self._begin = parts.floats(claim.get("begin"), (outputs,), finite=True)
            if forest.trees % outputs or (classes and (outputs == 1) == (self._chooses == "argmax")):
                raise BadForm("trees of a class")
        if claim.get("compare") not in ("float32", "float64"):
            raise BadForm("compare")
        self._type = np.dtype(claim["compare"])
        self._leaves = walking.Leaves(forest, width + self._splits.count, self._type)
        self._classes = classes
        self.cells = forest.trees * each * 3 + self._splits.count

    def compute(self, matrix: Array) -> Computed:
        leaves = self._leaves.of(self._given(matrix))
        if self.is_mean:
            scores = self._sum(leaves, np.zeros(self._outputs)) / self._trees
        else:
            scores = self._sum_by_class(leaves)
        if not self._classes:
            values: Array = self._link(scores)
            return None, None, values[:, 0]
        if self._chooses == "argmax":
            chosen = scores.argmax(axis=1)
        else:
            chosen = (scores[:, 0] >= 0 if self._chooses == ">=" else scores[:, 0] > 0).astype(np.intp)
        return chosen, scores if self.is_mean else self._link(scores), None

    def _given(self, matrix: Array) -> Array:
        if self._splits.count:
            matrix = self._splits.beside(matrix)
        given = matrix.astype(self._type)
        if self._type == np.float32 and np.isinf(given).any():
            raise Declined  # too large for scikit-learn's trees
        return given

    def _sum(self, leaves: Array, begin: Array) -> Array:
        """Tree after tree, as scikit-learn adds: another order would move the last digit, and with it a tie."""
        each: Array = self._values.take(np.ascontiguousarray(leaves.T), axis=0)
        each[0] += begin
        if each[0].size == 1:  # one run of numbers, which `reduce` would add in pairs
            return np.asarray(each.cumsum(axis=0)[-1])
        return np.asarray(np.add.reduce(each, axis=0))

    def _sum_by_class(self, leaves: Array) -> Array:
        parts = [
            self._sum(leaves[:, place :: self._outputs], self._begin[place : place + 1])
            for place in range(self._outputs)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


class _Splits:
    """Categorical splits: which side each code goes to. They stand behind the features, 0 for left and 1 for right."""

    def __init__(self, parts: Parts, claim: dict[str, Any], width: int) -> None:
        self.count = 0
        if "split_features" not in claim:
            return
        self._features = parts.integers(claim["split_features"], (None,), 0, width).astype(np.intp)
        self.count = len(self._features)
        if not 1 <= self.count <= MAX_SPLITS:
            raise BadForm("splits")
        sides = parts.flags(claim.get("split_sides"), (self.count, CODES + 1))
        self._sides = sides.astype(np.float64).ravel()
        self._rows = np.arange(self.count) * (CODES + 1)

    def beside(self, matrix: Array) -> Array:
        given = matrix[:, self._features]
        known = (given >= 0) & (given < CODES)
        codes = np.where(known, given, CODES).astype(np.intp)
        return np.concatenate([matrix, self._sides[codes + self._rows]], axis=1)
