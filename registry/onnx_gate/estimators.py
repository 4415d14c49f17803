"""Operators whose attributes point into one another: trees, support vectors, coefficients.

An index out of range reads memory that is not the model's, a cycle never ends, and a chain of a million nodes may
exhaust a thread's stack while it is read: so each list is looked through before anything else reads it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from registry.errors import Refused

from .graph import ML, domain_of, place_of
from .refusals import refused, shown
from .shapes import Walk

MAX_TREE_NODES = 20_000_000
#: Far more than a tree of scikit-learn has; a reader may recurse once for each level.
MAX_LEVELS = 1_000
STEP_WORK = 16  # one step down a tree, in multiplications: chosen, for the walk waits for memory

Ints = npt.NDArray[np.int64]


class Lists:
    """The attributes of one node as arrays, and a sentence that says where a bad one is."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.attributes = {each.name: each for each in node.attribute}
        #: For one row: numbers that are multiplied, or what takes as long.
        self.work = sum(self.length(name) for name in ("coefficients", "support_vectors"))

    def ints(self, name: str) -> Ints:
        return np.array(self.attributes[name].ints if name in self.attributes else (), np.int64)

    def length(self, name: str) -> int:
        """Members of a list of numbers, however it is kept."""
        if name in self.attributes:
            each = self.attributes[name]
            self.require(
                f"{name}_as_tensor" not in self.attributes, _("%(name)s is given twice") % {"name": name}
            )
            return len(each.ints) or len(each.floats) or len(each.strings)
        tensor = self.attributes.get(f"{name}_as_tensor")
        return math.prod(tensor.t.dims) if tensor else 0

    def integer(self, name: str, default: int) -> int:
        return int(self.attributes[name].i) if name in self.attributes else default

    def bad(self, why: str) -> Refused:
        return refused(
            "indices",
            _("Operator “%(operator)s” (%(place)s): %(why)s.")
            % {"operator": shown(self.node.op_type), "place": place_of(self.node), "why": why},
            _("Convert the model again with a current skl2onnx; do not edit the result."),
        )

    def require(self, fits: bool, why: str) -> None:
        if not fits:
            raise self.bad(why)


def check(node: Any, walk: Walk) -> None:
    """Refuse a node of ai.onnx.ml whose lists do not fit each other."""
    rule = RULES.get(node.op_type) if domain_of(node.domain) == ML else None
    if rule is not None:
        width = (walk.shape_of(node.input[0]) or (1,))[-1] or 1
        lists = Lists(node)
        rule(lists, width)
        walk.toil_at(node, lists.work)


# --- trees ---


def _check_trees(lists: Lists, width: int) -> None:
    trees, nodes = lists.ints("nodes_treeids"), lists.ints("nodes_nodeids")
    lists.require(0 < len(trees) <= MAX_TREE_NODES, _("it has no nodes, or too many"))
    for name in ("nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_truenodeids", "nodes_falsenodeids",
                 "nodes_values"):  # fmt: skip
        lists.require(lists.length(name) == len(trees), _("%(name)s has another length") % {"name": name})
    for name in ("nodes_hitrates", "nodes_missing_value_tracks_true"):
        lists.require(
            lists.length(name) in (0, len(trees)), _("%(name)s has another length") % {"name": name}
        )
    modes = np.array([mode == b"LEAF" for mode in lists.attributes["nodes_modes"].strings])
    features = lists.ints("nodes_featureids")[~modes]
    lists.require(
        not len(features) or bool(features.min() >= 0 and features.max() < width),
        _("a tree asks for a column that the input does not have"),
    )
    places = _Places(lists, trees, nodes)
    branches = np.flatnonzero(~modes)
    children = [
        places.find(trees[branches], lists.ints(name)[branches], name)
        for name in ("nodes_truenodeids", "nodes_falsenodeids")
    ]
    _require_trees(lists, len(trees), branches, children, trees)
    _check_leaves(lists, places, modes)


class _Places:
    """Where each node (its tree, its number) stands in the lists."""

    def __init__(self, lists: Lists, trees: Ints, nodes: Ints) -> None:
        self.lists = lists
        limit = 1 << 31
        lists.require(
            bool(min(trees.min(), nodes.min()) >= 0 and max(trees.max(), nodes.max()) < limit),
            _("a node's number is out of range"),
        )
        keys = trees << 32 | nodes
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]
        lists.require(not np.any(self.keys[1:] == self.keys[:-1]), _("two nodes have the same number"))

    def find(self, trees: Ints, nodes: Ints, name: str) -> Ints:
        outside = len(nodes) and (
            min(trees.min(), nodes.min()) < 0 or max(trees.max(), nodes.max()) >= 1 << 31
        )
        wanted = trees << 32 | nodes
        found = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        self.lists.require(
            not outside and bool(np.array_equal(self.keys[found], wanted)),
            _("%(name)s points to a node that does not exist") % {"name": name},
        )
        return self.order[found]


def _require_trees(lists: Lists, count: int, branches: Ints, children: list[Ints], trees: Ints) -> None:
    """Each node but one of a tree has one parent, and all are reached from the root: so every walk ends."""
    parents = np.zeros(count, np.int64)
    for child in children:
        np.add.at(parents, child, 1)
    roots = np.flatnonzero(parents == 0)
    lists.require(bool(parents.max() <= 1), _("a node of a tree has two parents, or is its own"))
    lists.require(len(roots) == len(np.unique(trees)), _("a tree has no root, or two, or a cycle"))
    # The engine begins another tree wherever the number of the tree changes, at whatever node stands there.
    begins = np.append(0, np.flatnonzero(np.diff(trees)) + 1)
    lists.require(
        np.array_equal(roots, begins), _("the nodes of a tree do not stand together, its root first")
    )
    below = np.full((2, count), -1, np.int64)
    below[0, branches], below[1, branches] = children
    level, reached = roots, 0
    for depth in range(MAX_LEVELS):
        reached += len(level)
        level = below[:, level].ravel()
        level = level[level >= 0]
        if not len(level):
            lists.require(reached == count, _("a tree has a cycle"))
            lists.work = len(roots) * (depth + 1) * STEP_WORK
            return
    raise lists.bad(_("a tree is deeper than %(limit)d levels") % {"limit": MAX_LEVELS})


def _check_leaves(lists: Lists, places: _Places, modes: npt.NDArray[np.bool_]) -> None:
    side = "class" if lists.node.op_type.endswith("Classifier") else "target"
    numbers = lists.ints(f"{side}_ids")
    for name in ("treeids", "nodeids", "weights"):
        lists.require(
            lists.length(f"{side}_{name}") == len(numbers) > 0,
            _("%(name)s has another length") % {"name": f"{side}_{name}"},
        )
    found = places.find(lists.ints(f"{side}_treeids"), lists.ints(f"{side}_nodeids"), f"{side}_nodeids")
    lists.require(bool(modes[found].all()), _("%(name)s points to a branch") % {"name": f"{side}_nodeids"})
    many = lists.integer("n_targets", 1) if side == "target" else _classes(lists)
    lists.require(
        many > 0 and bool(numbers.min() >= 0 and numbers.max() < many),
        _("%(name)s is out of range") % {"name": f"{side}_ids"},
    )
    lists.require(
        lists.length("base_values") in (0, 1, many),
        _("%(name)s has another length") % {"name": "base_values"},
    )


def _classes(lists: Lists) -> int:
    names = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
    return max(lists.length(name) for name in names)


# --- lines and vectors ---


def _check_linear_classifier(lists: Lists, width: int) -> None:
    rows, intercepts = lists.length("coefficients") / width, lists.length("intercepts")
    lists.require(
        rows in {_classes(lists), 1 if _classes(lists) == 2 else _classes(lists)} and intercepts in (0, rows),
        _("its coefficients do not fit its classes and inputs"),
    )


def _check_linear_regressor(lists: Lists, width: int) -> None:
    targets = lists.integer("targets", 1)
    lists.require(
        lists.length("coefficients") == targets * width and lists.length("intercepts") in (0, targets),
        _("its coefficients do not fit its targets and inputs"),
    )


def _check_svm_classifier(lists: Lists, width: int) -> None:
    per_class, classes = lists.ints("vectors_per_class"), _classes(lists)
    pairs = classes * (classes - 1) // 2
    if not len(per_class):
        _check_linear_classifier(lists, width)
        return
    fits = (
        classes == len(per_class) >= 2
        and bool(per_class.min() >= 0)
        and lists.length("support_vectors") == int(per_class.sum()) * width
        and lists.length("coefficients") == int(per_class.sum()) * (classes - 1)
        and lists.length("rho") == pairs
        and {lists.length("prob_a"), lists.length("prob_b")} in ({0}, {pairs})
    )
    lists.require(fits, _("its vectors do not fit its classes and inputs"))
    _check_kernel(lists)


def _check_svm_regressor(lists: Lists, width: int) -> None:
    count = lists.integer("n_supports", 0)
    fits = (
        lists.length("support_vectors") == count * width and lists.length("coefficients") == count
        if count
        else lists.length("coefficients") == width
    )
    lists.require(count >= 0 and fits and lists.length("rho") == 1, _("its vectors do not fit its inputs"))
    _check_kernel(lists)


def _check_kernel(lists: Lists) -> None:
    lists.require(lists.length("kernel_params") in (0, 3), _("its kernel needs three parameters"))


def _check_scaler(lists: Lists, width: int) -> None:
    lists.require(
        {lists.length("offset"), lists.length("scale")} <= {1, width}, _("its lists do not fit the inputs")
    )


def _check_imputer(lists: Lists, width: int) -> None:
    many = max(lists.length("imputed_value_floats"), lists.length("imputed_value_int64s"))
    lists.require(many in (1, width), _("its lists do not fit the inputs"))


def _check_encoder(lists: Lists, _width: int) -> None:
    keys = sum(lists.length(name) for name in ("keys_strings", "keys_int64s", "keys_floats", "keys_tensor"))
    values = sum(
        lists.length(name) for name in ("values_strings", "values_int64s", "values_floats", "values_tensor")
    )
    lists.require(keys == values, _("its keys and values are not equally many"))


RULES: dict[str, Callable[[Lists, int], None]] = {
    "Imputer": _check_imputer,
    "LabelEncoder": _check_encoder,
    "LinearClassifier": _check_linear_classifier,
    "LinearRegressor": _check_linear_regressor,
    "SVMClassifier": _check_svm_classifier,
    "SVMRegressor": _check_svm_regressor,
    "Scaler": _check_scaler,
    "TreeEnsembleClassifier": _check_trees,
    "TreeEnsembleRegressor": _check_trees,
}
