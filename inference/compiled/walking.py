"""Rows through a large forest: all trees a level at a time, in numpy, a node and its row's value in one word each.

The engine goes row by row through all trees, and waits for memory at each step of a forest that no cache holds. Here a
node is one 64-bit word: feature, rank of its threshold among the feature's thresholds, left child (the right one lies
behind it). A value is a word alike: feature, number of thresholds below it. So a row goes right where its word is above
the node's; ranks are whole numbers, and the comparison is as exact as that of the values. With 200 trees of depth 12,
100 rows take the engine 4.6 ms and this walk 1.0 ms, 1,000 rows 38 and 11. The engine is faster where trees are few or
small.
"""

from typing import Any

import numpy as np

from inference.compiled.container import Array
from inference.compiled.forests import Forest, at_most

LARGE = (
    50_000  # nodes; with 28,000 the engine is faster for a few rows, with 86,000 the walk is from ten rows on
)
DEEP = (
    64  # levels; with 50 of them (and 778,000 nodes) the walk still takes half the engine's time for 10 rows
)
LANES = 20_000  # rows times trees at once, so that what is between two steps stays in the cache
ROWS = 1_000

#: A word: 16 bits of feature, 22 of rank, 25 of child.
CHILD_BITS, RANK_BITS, FEATURE_BITS = 25, 22, 16
TO_FEATURE = CHILD_BITS + RANK_BITS
NO_RANK = (1 << RANK_BITS) - 1  # of a missing value, and of a leaf: nothing is above it
CHILD = (1 << CHILD_BITS) - 1
#: As arrays: of a plain number numpy makes one at every step, which takes longer than the step with few rows.
_TO_FEATURE, _TO_SIGN, _CHILD = np.array(TO_FEATURE), np.array(63), np.array(CHILD)


class Walk:
    """The place of each tree's leaf among all leaves. The arrays are checked: a child has one parent, in its tree."""

    def __init__(self, forest: Forest, width: int, dtype: Any) -> None:
        order = _by_level(forest)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        left = place[np.where(forest.is_leaf, np.arange(len(order)), forest.left)]
        thresholds = at_most(forest.threshold, dtype)
        self._ranks = _Ranks(forest, thresholds, width)
        feature = np.where(forest.is_leaf, 0, forest.feature).astype(np.int64)
        words = feature << TO_FEATURE | self._ranks.of_nodes << CHILD_BITS | left
        self._words = words[order]
        self._missing_left = forest.missing_left[order]
        self._leaves = (forest.leaf_number + forest.first_leaf[forest.tree])[order]
        self._roots = place[forest.roots]
        self._depth = forest.depth

    @staticmethod
    def knows(forest: Forest, width: int) -> bool:
        """Is it large enough to be worth it, and does it fit the words?"""
        count = len(forest.left)
        fits = count <= CHILD and width < 1 << FEATURE_BITS and count < NO_RANK
        return fits and count >= LARGE and forest.depth <= DEEP

    def leaves(self, rows: Array) -> Array:
        """For each row and tree; transposed in memory, trees first."""
        found = np.empty((len(self._roots), len(rows)), np.int64)
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            has_gaps = bool(np.isnan(part).any())
            ranks = self._ranks.of_rows(part, has_gaps).ravel()
            step = max(1, LANES // len(part))
            for tree in range(0, len(self._roots), step):
                roots = self._roots[tree : tree + step]
                at = self._walked(np.repeat(roots, len(part)), ranks, len(part), has_gaps)
                found[tree : tree + step, start : start + ROWS] = self._leaves.take(at).reshape(
                    len(roots), -1
                )
        return found.T

    def _walked(self, at: Array, ranks: Array, count: int, has_gaps: bool) -> Array:
        """From the roots, tree by tree for each row, to the leaves."""
        word, found, right = np.empty((3, len(at)), np.int64)
        row, stride = np.tile(np.arange(count), len(at) // count) if count > 1 else None, np.array(count)
        for _level in range(self._depth):
            self._words.take(at, out=word, mode="clip")
            np.right_shift(word, _TO_FEATURE, found)
            if row is not None:
                np.multiply(found, stride, found)
                np.add(found, row, found)
            ranks.take(found, out=right, mode="clip")
            is_gap = (right >> CHILD_BITS & NO_RANK) == NO_RANK if has_gaps else None
            np.subtract(word, right, right)
            np.right_shift(right, _TO_SIGN, right)  # -1 where the row is above the node, else 0
            if is_gap is not None:
                right[is_gap & self._missing_left.take(at)] = 0
            np.bitwise_and(word, _CHILD, at)
            np.subtract(at, right, at)
        return at


class _Ranks:
    """The thresholds of each feature in their order, and where a value stands among them."""

    def __init__(self, forest: Forest, thresholds: Array, width: int) -> None:
        self.of_nodes = np.full(len(thresholds), NO_RANK, np.int64)
        self._zero = np.arange(width, dtype=np.int64)[:, np.newaxis] << TO_FEATURE
        self._several: list[tuple[int, Array]] = []
        single: list[tuple[int, Any]] = []
        splits = np.flatnonzero(~forest.is_leaf)
        splits = splits[np.argsort(forest.feature[splits], kind="stable")]
        features, begins = np.unique(forest.feature[splits], return_index=True)
        for feature, nodes in zip(features.tolist(), np.split(splits, begins[1:]), strict=True):
            known, self.of_nodes[nodes] = np.unique(thresholds[nodes], return_inverse=True)
            if len(known) == 1:
                single.append((feature, known[0]))
            else:
                self._several.append((feature, known))
        self._single = np.array([feature for feature, _value in single], np.intp)
        self._value = np.array([value for _feature, value in single], thresholds.dtype)[:, np.newaxis]

    def of_rows(self, rows: Array, has_gaps: bool) -> Array:
        """The words of the values, features first."""
        values = np.ascontiguousarray(rows.T)
        found = np.zeros(values.shape, np.int64)
        found[self._single] = values[self._single] > self._value
        for feature, known in self._several:
            found[feature] = known.searchsorted(values[feature])
        if has_gaps:
            found[np.isnan(values)] = NO_RANK
        found <<= CHILD_BITS
        found += self._zero
        return found


def _by_level(forest: Forest) -> Array:
    """The nodes tree by tree, each tree level by level, and two of one parent side by side."""
    level, levels = forest.roots, []
    while len(level):
        levels.append(level)
        parents = level[~forest.is_leaf[level]]
        level = np.column_stack([forest.left[parents], forest.right[parents]]).ravel()
    nodes = np.concatenate(levels)
    return np.asarray(nodes[np.argsort(forest.tree[nodes], kind="stable")])


class Leaves:
    """The place of each row's leaf in each tree, by the walk or by the engine. Safe for many threads."""

    def __init__(self, forest: Forest, width: int, dtype: Any) -> None:
        self._walk = Walk(forest, width, dtype) if Walk.knows(forest, width) else None
        self._first_leaf = forest.first_leaf
        self._session: Any = None
        if self._walk is None:
            from inference.compiled import sessions  # heavy: only where the engine walks

            self._session = sessions.of_forest(forest, width, dtype)

    def of(self, given: Array) -> Array:
        if self._walk is not None:
            return self._walk.leaves(given)
        found: Array = self._session.run_one(given).astype(np.intp)
        return np.asarray(found + self._first_leaf)
