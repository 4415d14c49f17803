"""Trees as arrays that were checked: no walk through them can leave its tree, turn in a circle or go too deep."""

from typing import Any

import numpy as np

from inference.compiled.container import Array, BadForm, Parts, starts

MAX_TREES = 20_000
MAX_DEPTH = 400
MAX_LEAVES = 1 << 24  # of one tree: beyond it a float32 does not tell them apart


class Forest:
    """The structure, checked: a child lies behind its parent, in the same tree, and has no other parent."""

    def __init__(self, parts: Parts, claim: dict[str, Any], width: int) -> None:
        self.feature = parts.integers(claim.get("feature"), (None,), 0, width)
        count = len(self.feature)
        self.threshold = parts.floats(claim.get("threshold"), (count,))
        self.left = parts.integers(claim.get("left"), (count,), -1, count)
        self.right = parts.integers(claim.get("right"), (count,), -1, count)
        self.missing_left = parts.flags(claim.get("missing_left"), (count,))
        self.is_leaf = self.left < 0
        ends = parts.integers(claim.get("starts"), (None,), 0, count + 1)
        self.trees = len(ends) - 1
        if not 1 <= self.trees <= MAX_TREES or (np.diff(starts(ends, self.trees, count)) < 1).any():
            raise BadForm("trees")
        self.roots = ends[:-1].astype(np.int64)
        self.tree = np.repeat(np.arange(self.trees), np.diff(ends))
        self._require_trees()
        leaves = np.cumsum(self.is_leaf) - 1
        self.first_leaf = leaves[self.roots] + ~self.is_leaf[self.roots]
        self.leaf_number = leaves - self.first_leaf[self.tree]
        self.leaves = int(self.is_leaf.sum())
        if self.leaf_number.max() >= MAX_LEAVES:
            raise BadForm("leaves")

    def _require_trees(self) -> None:
        if np.isnan(self.threshold).any() or ((self.right < 0) != self.is_leaf).any():
            raise BadForm("splits")
        parents = np.flatnonzero(~self.is_leaf)
        children = np.concatenate([self.left[parents], self.right[parents]])
        doubled = np.concatenate([parents, parents])
        if (children <= doubled).any() or (self.tree[children] != self.tree[doubled]).any():
            raise BadForm("a child that does not follow its parent")
        found = np.bincount(children, minlength=len(self.left))
        found[self.roots] += 1
        if (found != 1).any():
            raise BadForm("a node with another number of parents than one")
        level, depth = self.roots, 0
        while len(level := level[~self.is_leaf[level]]):
            level = np.concatenate([self.left[level], self.right[level]])
            depth += 1
            if depth > MAX_DEPTH:
                raise BadForm("a tree that is too deep")
        self.depth = depth


def at_most(thresholds: Array, dtype: Any) -> Array:
    """The largest number of the type that is not above the threshold."""
    with np.errstate(over="ignore"):
        found = thresholds.astype(dtype)
    above = found.astype(np.float64) > thresholds
    found[above] = np.nextafter(found[above], dtype.type(-np.inf))
    return found
