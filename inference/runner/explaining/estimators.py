"""Fitted estimators of scikit-learn as what can be explained exactly: coefficients, or a forest of nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, svm, tree
from sklearn.dummy import DummyClassifier, DummyRegressor

from .trees import Bools, Floats, Forest, Ints

PROBABILITY, MARGIN, VALUE = "probability", "margin", "value"

LINEAR = (
    linear_model.LogisticRegression,
    linear_model.LogisticRegressionCV,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    linear_model.SGDClassifier,
    linear_model.Perceptron,
    linear_model.PassiveAggressiveClassifier,
    svm.LinearSVC,
    linear_model.LinearRegression,
    linear_model.Ridge,
    linear_model.RidgeCV,
    linear_model.Lasso,
    linear_model.LassoCV,
    linear_model.LassoLars,
    linear_model.Lars,
    linear_model.ElasticNet,
    linear_model.ElasticNetCV,
    linear_model.SGDRegressor,
    linear_model.HuberRegressor,
    linear_model.BayesianRidge,
    linear_model.ARDRegression,
    linear_model.TheilSenRegressor,
    linear_model.QuantileRegressor,
    linear_model.PoissonRegressor,
    linear_model.GammaRegressor,
    linear_model.TweedieRegressor,
    svm.LinearSVR,
)
#: Their answer is the exponential of the sum.
LOG_LINK = (linear_model.PoissonRegressor, linear_model.GammaRegressor)

FORESTS = (
    ensemble.RandomForestClassifier,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor,
)
SINGLE_TREES = (
    tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor,
    tree.ExtraTreeClassifier,
    tree.ExtraTreeRegressor,
)
GRADIENT_BOOSTING = (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor)
HISTOGRAM_BOOSTING = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)


@dataclass(frozen=True)
class Linear:
    """outputs × features, and outputs."""

    coefficients: Floats
    intercepts: Floats
    scale: str


@dataclass(frozen=True)
class Trees:
    """The nodes, and how one encoded row decides at each of them."""

    forest: Forest
    goes_left: Callable[[Floats], Bools]
    scale: str


def linear(estimator: Any) -> Linear | None:
    if type(estimator) not in LINEAR:
        return None
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, np.float64))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).ravel(), len(coefficients))
    if hasattr(estimator, "classes_"):
        return Linear(coefficients, intercepts, MARGIN)
    logarithm = type(estimator) in LOG_LINK or (
        type(estimator) is linear_model.TweedieRegressor and _link_is_log(estimator)
    )
    return Linear(coefficients, intercepts, MARGIN if logarithm else VALUE)


def _link_is_log(estimator: Any) -> bool:
    return bool(estimator.link == "log" or (estimator.link == "auto" and estimator.power > 0))


def trees(estimator: Any) -> Trees | None:
    """The estimator's trees; None where it has none that add up to its answer."""
    if type(estimator) in SINGLE_TREES:
        return _averaged([estimator], estimator)
    if type(estimator) in FORESTS:
        return _averaged(estimator.estimators_, estimator)
    if type(estimator) in GRADIENT_BOOSTING:
        return _boosted(estimator)
    if type(estimator) in HISTOGRAM_BOOSTING:
        return _histogram_boosted(estimator)
    return None


# --- trees of sklearn.tree ---


def _averaged(members: Any, estimator: Any) -> Trees:
    grown = [member.tree_ for member in members]
    is_classifier = hasattr(estimator, "classes_")
    values = np.concatenate([each.value[:, 0, :] for each in grown])
    if is_classifier:
        values = values / values.sum(axis=1, keepdims=True)
    forest = _forest(grown, values / len(grown), np.zeros(values.shape[1]))
    return Trees(forest, _as_sklearn_decides(grown, forest), PROBABILITY if is_classifier else VALUE)


def _boosted(estimator: Any) -> Trees | None:
    """One column of stages for each class (one alone for two classes and for numbers)."""
    start = estimator.init_
    if start != "zero" and type(start) not in (DummyClassifier, DummyRegressor):
        return None  # its start is a model of its own
    stages = estimator.estimators_
    grown = [member.tree_ for member in stages.ravel()]
    column_of_tree = np.tile(np.arange(stages.shape[1]), stages.shape[0])
    leaves = [each.value[:, 0, 0] * estimator.learning_rate for each in grown]
    nothing = np.zeros((1, estimator.n_features_in_), np.float32)
    base = np.asarray(estimator._raw_predict_init(nothing), np.float64).ravel()
    forest = _forest(grown, _in_columns(leaves, column_of_tree, stages.shape[1]), base)
    scale = MARGIN if hasattr(estimator, "classes_") else VALUE
    return Trees(forest, _as_sklearn_decides(grown, forest), scale)


def _in_columns(leaves: list[Floats], columns: Ints, count: int) -> Floats:
    values = np.zeros((sum(map(len, leaves)), count))
    values[np.arange(len(values)), np.repeat(columns, list(map(len, leaves)))] = np.concatenate(leaves)
    return values


def _forest(grown: list[Any], values: Floats, base: Floats) -> Forest:
    sizes = np.array([each.node_count for each in grown])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offsets = np.repeat(roots, sizes)
    left = np.concatenate([each.children_left for each in grown])
    right = np.concatenate([each.children_right for each in grown])
    return Forest(
        roots=roots,
        left=np.where(left < 0, -1, left + offsets),
        right=np.where(right < 0, -1, right + offsets),
        feature=np.concatenate([each.feature for each in grown]),
        cover=np.concatenate([each.weighted_n_node_samples for each in grown]),
        values=values,
        base=base,
    )


def _as_sklearn_decides(grown: list[Any], forest: Forest) -> Callable[[Floats], Bools]:
    """A row is cast to float32 and compared with float64 thresholds; a missing value goes where it went in training."""
    thresholds = np.concatenate([each.threshold for each in grown])
    missing_left = np.concatenate([each.missing_go_to_left for each in grown]).astype(bool)
    features = np.maximum(forest.feature, 0)

    def decide(row: Floats) -> Bools:
        values = row.astype(np.float32)[features]
        return np.where(np.isnan(values), missing_left, values <= thresholds)

    return decide


# --- histogram gradient boosting ---


def _histogram_boosted(estimator: Any) -> Trees:
    stages = [predictor for stage in estimator._predictors for predictor in stage]
    columns = estimator.n_trees_per_iteration_
    nodes = [stage.nodes for stage in stages]
    column_of_tree = np.tile(np.arange(columns), len(stages) // columns)
    leaves = [each["value"].astype(np.float64) for each in nodes]
    base = np.asarray(estimator._baseline_prediction, np.float64).ravel()
    forest = _histogram_forest(nodes, _in_columns(leaves, column_of_tree, columns), base)
    is_identity = getattr(estimator, "loss", "") in ("squared_error", "absolute_error", "quantile")
    scale = VALUE if is_identity and not hasattr(estimator, "classes_") else MARGIN
    return Trees(forest, _as_histograms_decide(estimator, stages, forest), scale)


def _histogram_forest(nodes: list[Any], values: Floats, base: Floats) -> Forest:
    sizes = np.array([len(each) for each in nodes])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    everything, offsets = np.concatenate(nodes), np.repeat(roots, sizes)
    is_leaf = everything["is_leaf"].astype(bool)
    return Forest(
        roots=roots,
        left=np.where(is_leaf, -1, everything["left"].astype(np.int64) + offsets),
        right=np.where(is_leaf, -1, everything["right"].astype(np.int64) + offsets),
        feature=everything["feature_idx"].astype(np.int64),
        cover=everything["count"].astype(np.float64),
        values=values,
        base=base,
    )


def _as_histograms_decide(estimator: Any, stages: list[Any], forest: Forest) -> Callable[[Floats], Bools]:
    """Numbers by float64 thresholds, categories by bit sets; a category that training did not know is missing."""
    everything = np.concatenate([stage.nodes for stage in stages])
    thresholds = everything["num_threshold"]
    missing_left = everything["missing_go_to_left"].astype(bool)
    features = np.maximum(forest.feature, 0)
    categorical = np.flatnonzero(everything["is_categorical"].astype(bool) & (forest.left >= 0))
    allowed = _category_sets(stages, categorical)
    known = _known_categories(estimator)

    def decide(row: Floats) -> Bools:
        values = row[features]
        left = np.where(np.isnan(values), missing_left, values <= thresholds)
        for node, chosen in zip(categorical, allowed, strict=True):
            value = values[node]
            if np.isnan(value) or value < 0 or int(value) not in known.get(int(features[node]), ()):
                left[node] = missing_left[node]
            else:
                left[node] = int(value) in chosen
        return left

    return decide


def _category_sets(stages: list[Any], categorical: Ints) -> list[frozenset[int]]:
    """The categories that go left, for each categorical split."""
    offsets = np.concatenate([[0], np.cumsum([len(stage.nodes) for stage in stages])])
    found = []
    for node in categorical:
        stage = int(np.searchsorted(offsets, node, side="right")) - 1
        place = stages[stage].nodes[node - offsets[stage]]["bitset_idx"]
        found.append(_members(stages[stage].raw_left_cat_bitsets[place]))
    return found


def _known_categories(estimator: Any) -> dict[int, frozenset[int]]:
    if getattr(estimator, "is_categorical_", None) is None:
        return {}
    bitsets, index = estimator._bin_mapper.make_known_categories_bitsets()
    remapped = np.flatnonzero(estimator._is_categorical_remapped)
    return {int(feature): _members(bitsets[index[feature]]) for feature in remapped}


def _members(bitset: Any) -> frozenset[int]:
    """The numbers 0 … 255 whose bit is set in eight words of 32 bits."""
    bits = np.unpackbits(np.asarray(bitset, "<u4").view(np.uint8), bitorder="little")
    return frozenset(np.flatnonzero(bits).tolist())
