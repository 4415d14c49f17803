"""Transformers as array arithmetic: columns in, columns out, by the very numbers that fitting left behind.

Arithmetic keeps scikit-learn's own order of operations, so that float64 comes out the same to the last bit and a tree
behind it takes the same branch. Encoders are not rebuilt: each is asked what it makes of every category it knows, of
nothing, and of something it has never seen, and its answers become the table.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn import compose, feature_selection, impute, pipeline, preprocessing

from . import encoders
from .plan import Column, NotCompiled, Number, Plan, Text

Handler = Callable[[Plan, Any, list[Column]], list[Column]]


def apply_all(plan: Plan, steps: Sequence[tuple[str, Any]], columns: list[Column]) -> list[Column]:
    for name, step in steps:
        columns = apply(plan, name, step, columns)
    return columns


def apply(plan: Plan, name: str, step: Any, columns: list[Column]) -> list[Column]:
    """What comes out of a step. NotCompiled names the innermost step that has no compiled form."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    if isinstance(step, str) and step == "drop":
        return []
    handler = HANDLERS.get(type(step))
    if handler is None:
        raise NotCompiled(f"the step “{name}” ({type(step).__name__}) has no compiled form")
    if type(step) in COMPOSED:
        return handler(plan, step, columns)
    try:
        return handler(plan, step, columns)
    except NotCompiled as error:
        raise NotCompiled(f"the step “{name}” ({type(step).__name__}): {error}") from None


# --- steps made of steps ---


def _pipeline(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    return apply_all(plan, step.steps, columns)


def _union(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    weights = step.transformer_weights or {}
    out: list[Column] = []
    for name, inner in step.transformer_list:
        out += _weighted(plan, apply(plan, name, inner, columns), weights.get(name))
    return out


def _by_column(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    weights = step.transformer_weights or {}
    out: list[Column] = []
    for name, inner, _columns in step.transformers_:
        places = np.arange(len(columns))[step._transformer_to_input_indices[name]]
        given = [columns[place] for place in np.atleast_1d(places).tolist()]
        if given:
            out += _weighted(plan, apply(plan, name, inner, given), weights.get(name))
    return out


def _weighted(plan: Plan, columns: list[Column], weight: float | None) -> list[Column]:
    return columns if weight is None or not columns else plan.arithmetic("multiply", columns, weight)


# --- numbers ---


def _standard(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    if step.with_mean:
        columns = plan.arithmetic("subtract", columns, step.mean_)
    return plan.arithmetic("divide", columns, step.scale_) if step.with_std else _as_numbers(plan, columns)


def _min_max(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    columns = plan.arithmetic("multiply", plan.guard(columns), step.scale_)
    columns = plan.arithmetic("add", columns, step.min_)
    return _clip(plan, columns, *step.feature_range) if step.clip else columns


def _max_abs(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    columns = plan.arithmetic("divide", plan.guard(columns), step.scale_)
    return _clip(plan, columns, -1.0, 1.0) if getattr(step, "clip", False) else columns


def _robust(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    if step.with_centering:
        columns = plan.arithmetic("subtract", columns, step.center_)
    return (
        plan.arithmetic("divide", columns, step.scale_) if step.with_scaling else _as_numbers(plan, columns)
    )


def _clip(plan: Plan, columns: list[Column], low: float, high: float) -> list[Column]:
    node = plan.matrix(columns)
    return plan.columns(plan.node("clip", plan.widths[node], of=node, ends=plan.array([low, high])))


def _as_numbers(plan: Plan, columns: list[Column]) -> list[Column]:
    return plan.columns(plan.matrix(columns))


def _unchanged(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    """FunctionTransformer without a function."""
    if step.func is not None and not _is_check(step):
        raise NotCompiled("it calls a function")
    return columns


def _is_check(step: Any) -> bool:
    """What HistGradientBoosting puts before its numbers: a check of their type, nothing more."""
    function = step.func
    inner = getattr(function, "func", None)
    return getattr(inner, "__name__", "") == "check_array" and inner.__module__ == "sklearn.utils.validation"


def _bins(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    """KBinsDiscretizer: which bin, then the bin's own column when it is asked for."""
    node = plan.matrix(plan.guard(columns, "finite"))
    edges = [np.asarray(each, "<f8")[1:-1] for each in step.bin_edges_]
    starts = np.cumsum([0, *map(len, edges)])
    found = plan.node(
        "bins",
        plan.widths[node],
        of=node,
        edges=plan.array(np.concatenate([*edges, np.empty(0)])),
        starts=plan.array(starts, "<i4"),
    )
    out = plan.columns(found)
    return out if step.encode == "ordinal" else encoders.encode(plan, step._encoder, out)


def _power(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    node = plan.matrix(plan.guard(columns))
    powered = plan.node(
        "power", plan.widths[node], of=node, method=step.method, lambdas=plan.array(step.lambdas_)
    )
    out = plan.columns(powered)
    return (
        _standard(plan, step._scaler, plan.guard(out)) if step.standardize else out
    )  # the scaler looks again


def _quantile(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    if step.output_distribution != "uniform":
        raise NotCompiled("only its uniform output has a compiled form")
    node = plan.matrix(plan.guard(columns))
    return plan.columns(
        plan.node(
            "quantile",
            plan.widths[node],
            of=node,
            quantiles=plan.array(np.asarray(step.quantiles_).T),
            references=plan.array(step.references_),
        )
    )


def _products(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    """PolynomialFeatures: each output as the columns that are multiplied, -1 behind the last."""
    node = plan.matrix(plan.guard(columns, "finite"))
    powers = np.asarray(step.powers_)
    factors = [np.repeat(np.arange(powers.shape[1]), row).tolist() for row in powers]
    most = max(1, *map(len, factors))
    padded = [[*row, *[-1] * (most - len(row))] for row in factors]
    return plan.columns(
        plan.node("products", len(padded), of=node, factors=plan.array(np.array(padded), "<i4"))
    )


def _selected(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    return [columns[place] for place in np.flatnonzero(step.get_support()).tolist()]


# --- what is missing ---


def _filled(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise NotCompiled("it fills something else than missing values")
    known = [not _is_nothing(value) for value in step.statistics_]
    if not all(known) and step.keep_empty_features:
        raise NotCompiled("it keeps a column that was empty in training")
    kept = [(column, value) for column, value, ok in zip(columns, step.statistics_, known, strict=True) if ok]
    out = _filled_columns(plan, kept)
    if step.indicator_ is not None:
        out += _missing(plan, [columns[place] for place in step.indicator_.features_.tolist()])
    return out


def _filled_columns(plan: Plan, kept: list[tuple[Column, Any]]) -> list[Column]:
    numbers = [(column, value) for column, value in kept if isinstance(column, Number)]
    filled: list[Column] = []
    if numbers:
        node = plan.matrix(plan.guard([column for column, _value in numbers]))
        values = plan.array([_number(value) for _column, value in numbers])
        filled = plan.columns(plan.node("fill", plan.widths[node], of=node, values=values))
    numbered = iter(filled)
    return [
        next(numbered) if isinstance(column, Number) else _filled_text(column, value)
        for column, value in kept
    ]


def _filled_text(column: Text, value: Any) -> Text:
    if not isinstance(value, str):
        raise NotCompiled("it fills text with something else")
    return column if column.fill is not None else Text(column.input, value)


def _missing(plan: Plan, columns: list[Column]) -> list[Column]:
    """1 where nothing is, else 0."""
    out: list[Column] = []
    for column in columns:
        if isinstance(column, Number):
            node = plan.node("missing", 1, of=plan.matrix([column]))
        elif column.fill is not None:
            raise NotCompiled("it looks for gaps that were filled before")
        else:
            node = plan.node("absent", 1, input=column.input)
        out.append(Number(node, 0))
    return out


def _indicator(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise NotCompiled("it looks for something else than missing values")
    if step.error_on_new and step.features == "missing-only":
        raise NotCompiled("it refuses gaps that were not there in training")
    return _missing(plan, [columns[place] for place in step.features_.tolist()])


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise NotCompiled("it fills numbers with text")
    return float(value)


def _encoded(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    return encoders.encode(plan, step, columns)


COMPOSED = frozenset({pipeline.Pipeline, pipeline.FeatureUnion, compose.ColumnTransformer})
SELECTORS = (
    feature_selection.VarianceThreshold,
    feature_selection.SelectKBest,
    feature_selection.SelectPercentile,
    feature_selection.SelectFpr,
    feature_selection.SelectFdr,
    feature_selection.SelectFwe,
    feature_selection.GenericUnivariateSelect,
    feature_selection.SelectFromModel,
    feature_selection.RFE,
    feature_selection.RFECV,
)
HANDLERS: dict[type, Handler] = {
    pipeline.Pipeline: _pipeline,
    pipeline.FeatureUnion: _union,
    compose.ColumnTransformer: _by_column,
    impute.SimpleImputer: _filled,
    impute.MissingIndicator: _indicator,
    preprocessing.StandardScaler: _standard,
    preprocessing.MinMaxScaler: _min_max,
    preprocessing.MaxAbsScaler: _max_abs,
    preprocessing.RobustScaler: _robust,
    preprocessing.OneHotEncoder: _encoded,
    preprocessing.OrdinalEncoder: _encoded,
    preprocessing.TargetEncoder: _encoded,
    preprocessing.KBinsDiscretizer: _bins,
    preprocessing.PowerTransformer: _power,
    preprocessing.QuantileTransformer: _quantile,
    preprocessing.PolynomialFeatures: _products,
    preprocessing.FunctionTransformer: _unchanged,
    **dict.fromkeys(SELECTORS, _selected),
}
