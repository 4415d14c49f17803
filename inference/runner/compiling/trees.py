"""Trees and what is made of them: the splits with their exact thresholds, and the values of the leaves in float64.

scikit-learn's own trees compare float32 features, histogram gradient boosting float64 ones; a categorical split of the
latter becomes a table from code to side. Leaves are added up in the order in which scikit-learn adds them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import ensemble, tree

from . import transformers
from .plan import Column, NotCompiled, Plan

TREES = (
    tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor,
    tree.ExtraTreeClassifier,
    tree.ExtraTreeRegressor,
)
FORESTS = (
    ensemble.RandomForestClassifier,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor,
)
BOOSTED = (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor)
HISTOGRAMS = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
KNOWN = frozenset({*TREES, *FORESTS, *BOOSTED, *HISTOGRAMS})

CODES = 256  # of a categorical feature; one more stands for nothing and for unknown
LINKS = {
    ("HalfBinomialLoss", 1): "sigmoid",
    ("ExponentialLoss", 1): "sigmoid_of_double",
    ("HalfMultinomialLoss", 3): "softmax",
}


@dataclass
class Nodes:
    """One tree. A leaf has no children (-1); `values` are those of its leaves, in their order."""

    feature: Any
    threshold: Any
    left: Any
    right: Any
    missing_left: Any
    values: Any


def knows(estimator: Any) -> bool:
    return type(estimator) in KNOWN


def compile_trees(plan: Plan, estimator: Any, columns: list[Column]) -> dict[str, Any]:
    kind = type(estimator)
    if kind in HISTOGRAMS:
        return _histogram(plan, estimator, columns)
    claim = {"of": plan.matrix(columns), "compare": "float32"}
    if kind in BOOSTED:
        return claim | _boosted(plan, estimator)
    if estimator.n_outputs_ != 1:
        raise NotCompiled("it answers several questions at once")
    members = [estimator] if kind in TREES else estimator.estimators_
    accepts = "nan" if members[0]._support_missing_values(np.zeros((1, 1))) else "finite"
    is_classifier = hasattr(estimator, "classes_")
    link = {"combine": "mean", "chooses": "argmax", "link": "none" if is_classifier else "identity"}
    return claim | link | {"accepts": accepts} | _packed(plan, [_nodes(member.tree_) for member in members])


def _nodes(fitted: Any, scale: float = 1.0) -> Nodes:
    is_leaf = fitted.children_left < 0
    state = fitted.__getstate__()["nodes"]
    return Nodes(
        np.where(is_leaf, 0, fitted.feature),
        np.where(is_leaf, 0.0, fitted.threshold),
        fitted.children_left,
        fitted.children_right,
        state["missing_go_to_left"] if "missing_go_to_left" in state.dtype.names else np.zeros(len(is_leaf)),
        scale * fitted.value[is_leaf, 0, :],
    )


def _packed(plan: Plan, trees: list[Nodes]) -> dict[str, Any]:
    """All trees behind each other; children are counted from the first node of all."""
    starts = np.cumsum([0, *[len(each.left) for each in trees]])

    def shifted(children: list[Any]) -> Any:
        return np.concatenate(
            [np.where(part < 0, -1, part + start) for part, start in zip(children, starts, strict=False)]
        )

    return {
        "kind": "trees",
        "starts": plan.array(starts, "<i4"),
        "feature": plan.array(np.concatenate([each.feature for each in trees]), "<i4"),
        "threshold": plan.array(np.concatenate([each.threshold for each in trees])),
        "left": plan.array(shifted([each.left for each in trees]), "<i4"),
        "right": plan.array(shifted([each.right for each in trees]), "<i4"),
        "missing_left": plan.array(np.concatenate([each.missing_left for each in trees]), "|u1"),
        "values": plan.array(np.concatenate([each.values for each in trees])),
    }


def _boosted(plan: Plan, estimator: Any) -> dict[str, Any]:
    """Gradient boosting: what it begins with, then every tree times the learning rate, class after class."""
    if not (isinstance(estimator.init_, str) or type(estimator.init_).__module__ == "sklearn.dummy"):
        raise NotCompiled("it begins with the answers of another model")
    begin = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))
    trees = [_nodes(each.tree_, estimator.learning_rate) for row in estimator.estimators_ for each in row]
    return _summed(plan, estimator, begin, ">=") | {"accepts": "finite"} | _packed(plan, trees)


def _summed(plan: Plan, estimator: Any, begin: Any, chooses: str) -> dict[str, Any]:
    begin = np.asarray(begin, "<f8").ravel()
    if hasattr(estimator, "classes_"):
        name = type(estimator._loss).__name__
        link = LINKS.get((name, min(len(begin), 3) if len(begin) != 2 else 3))
    else:
        link = {"IdentityLink": "identity", "LogLink": "exp"}.get(type(estimator._loss.link).__name__)
    if link is None:
        raise NotCompiled(f"its loss {type(estimator._loss).__name__} has no compiled form")
    return {
        "combine": "sum",
        "begin": plan.array(begin),
        "chooses": chooses if len(begin) == 1 else "argmax",
        "link": link,
    }


def _histogram(plan: Plan, estimator: Any, columns: list[Column]) -> dict[str, Any]:
    if estimator._preprocessor is not None:
        columns = transformers.apply(plan, "categories", estimator._preprocessor, columns)
    node = plan.matrix(columns)
    tables = _Tables(estimator, plan.widths[node])
    trees = [tables.nodes(each) for row in estimator._predictors for each in row]
    claim = {"of": node, "compare": "float64", "accepts": "any"}
    claim |= _summed(plan, estimator, estimator._baseline_prediction, ">") | _packed(plan, trees)
    if tables.sides:
        claim["split_features"] = plan.array(tables.features, "<i4")
        claim["split_sides"] = plan.array(np.array(tables.sides), "|u1")
    return claim


class _Tables:
    """Categorical splits, each as a feature of its own behind the others: 0 goes left, 1 goes right."""

    def __init__(self, estimator: Any, width: int) -> None:
        self.width = width
        self.features: list[int] = []
        self.sides: list[Any] = []
        self._known, self._places = estimator._bin_mapper.make_known_categories_bitsets()

    def nodes(self, predictor: Any) -> Nodes:
        given = predictor.nodes
        is_leaf = given["is_leaf"].astype(bool)
        feature = np.where(is_leaf, 0, given["feature_idx"].astype(np.int64))
        threshold = np.where(is_leaf, 0.0, given["num_threshold"])
        for place in np.flatnonzero(given["is_categorical"].astype(bool) & ~is_leaf).tolist():
            feature[place] = self._split(predictor, given[place])
            threshold[place] = 0.5
        return Nodes(
            feature,
            threshold,
            np.where(is_leaf, -1, given["left"].astype(np.int64)),
            np.where(is_leaf, -1, given["right"].astype(np.int64)),
            given["missing_go_to_left"],
            given["value"][is_leaf][:, np.newaxis],
        )

    def _split(self, predictor: Any, node: Any) -> int:
        feature = int(node["feature_idx"])
        missing = 0 if node["missing_go_to_left"] else 1
        left = _bits(predictor.raw_left_cat_bitsets[node["bitset_idx"]])
        known = _bits(self._known[self._places[feature]])
        self.features.append(feature)
        self.sides.append(np.append(np.where(left, 0, np.where(known, 1, missing)), missing))
        return self.width + len(self.sides) - 1


def _bits(words: Any) -> Any:
    """Which of the codes 0 … 255 are in a bitset of eight 32-bit words."""
    codes = np.arange(CODES)
    return (np.asarray(words, np.uint32)[codes // 32] >> (codes % 32).astype(np.uint32)) & 1 == 1
