"""Exact Shapley values of tree ensembles, path-dependent as in Lundberg et al. 2020 (Nature Machine Intelligence 2).

A leaf answers for the rows that satisfy its path. Let z_j be the share of training rows that pass feature j's splits
on the path and o_j whether this row does (0 or 1). The Shapley value of i for that leaf is

    v (o_i − z_i) Σ_S |S|! (D−1−|S|)! / D!  Π_{j∈S} o_j Π_{j∉S} z_j      over subsets S of the other D−1 features,

and as |S|! (D−1−|S|)! / D! = ∫₀¹ t^|S| (1−t)^(D−1−|S|) dt, the sum is ∫₀¹ Π_{j≠i} (o_j t + z_j (1−t)) dt: a polynomial
of degree D−1, which Gauss–Legendre quadrature with ⌈D/2⌉ points integrates exactly. So a whole forest is a handful of
array operations instead of a recursion.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A branch that no training row took still answers: its share is as good as nothing, but may be divided by.
NOTHING = 1e-12


@dataclass(frozen=True)
class Forest:
    """All nodes of all trees, one after the other. `left` and `right` are places in these arrays, -1 at a leaf."""

    roots: Ints
    left: Ints
    right: Ints
    feature: Ints
    cover: Floats  # weighted training rows that reached the node
    values: Floats  # nodes × outputs; what a leaf answers
    base: Floats  # outputs; what is added to the sum of the trees


class Paths:
    """Every path from a root to a leaf: splits (edges), grouped by feature (slots), grouped by leaf."""

    def __init__(self, forest: Forest) -> None:
        leaf, child = _edges(forest)
        parent, is_left = _parents(forest)
        feature = forest.feature[parent[child]]
        order = np.lexsort((feature, leaf))
        leaf, child, feature = leaf[order], child[order], feature[order]
        first = np.flatnonzero(np.diff(leaf, prepend=-1) | np.diff(feature, prepend=-1))
        share = np.maximum(forest.cover[child] / forest.cover[parent[child]], NOTHING)
        self.node_of_edge, self.takes_left = parent[child], is_left[child]
        self.slots, self.feature = first, feature[first]
        self.zero = _products(share, first)
        self.leaves = np.flatnonzero(np.diff(leaf[first], prepend=-1))
        widths = np.diff(np.append(self.leaves, len(first)))
        self.leaf_of_slot = np.repeat(np.arange(len(self.leaves)), widths)
        self.values = forest.values[leaf[first][self.leaves]]
        points, weights = np.polynomial.legendre.leggauss((int(widths.max(initial=1)) + 1) // 2)
        self.points, self.weights = (points + 1) / 2, weights / 2
        single = forest.roots[forest.left[forest.roots] < 0]
        expected = self.values * _products(self.zero, self.leaves)[:, None]
        self.base = forest.base + forest.values[single].sum(axis=0) + expected.sum(axis=0)

    def contributions(self, goes_left: Bools, output: int, features: int) -> Floats:
        """What each feature adds to `output` for one row; `goes_left` is the row's way at each node."""
        if not len(self.slots):
            return np.zeros(features)
        passes = goes_left[self.node_of_edge] == self.takes_left
        one = np.logical_and.reduceat(passes, self.slots).astype(np.float64)
        total = np.zeros(len(one))
        for point, weight in zip(self.points, self.weights, strict=True):
            factors = one * point + self.zero * (1 - point)
            total += weight * _products(factors, self.leaves)[self.leaf_of_slot] / factors
        added = self.values[self.leaf_of_slot, output] * (one - self.zero) * total
        summed = np.bincount(self.feature, weights=added, minlength=features)
        return summed.astype(np.float64)


def _parents(forest: Forest) -> tuple[Ints, Bools]:
    parent = np.full(len(forest.left), -1, np.int64)
    is_left = np.zeros(len(forest.left), np.bool_)
    inner = np.flatnonzero(forest.left >= 0)
    parent[forest.left[inner]] = parent[forest.right[inner]] = inner
    is_left[forest.left[inner]] = True
    return parent, is_left


def _edges(forest: Forest) -> tuple[Ints, Ints]:
    """For every leaf, the nodes on its way up that are somebody's child."""
    parent, _is_left = _parents(forest)
    leaves = np.flatnonzero((forest.left < 0) & (parent >= 0))
    found_leaves, found_children, at = [], [], leaves
    while len(leaves):
        found_leaves.append(leaves)
        found_children.append(at)
        at = parent[at]
        inner = parent[at] >= 0
        leaves, at = leaves[inner], at[inner]
    if not found_leaves:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(found_leaves), np.concatenate(found_children)


def _products(factors: Floats, starts: Ints) -> Floats:
    return np.multiply.reduceat(factors, starts) if len(starts) else np.empty(0)
