"""From which input column each encoded column comes, so that what the encoded ones add can be summed back."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

Origins = list[int]

#: One column in, the same column out.
COLUMNWISE = (
    StandardScaler,
    MinMaxScaler,
    MaxAbsScaler,
    RobustScaler,
    PowerTransformer,
    QuantileTransformer,
    OrdinalEncoder,
)


def trace(step: Any, origins: Origins, names: list[str] | None) -> Origins | None:
    """The origins of what `step` puts out, for inputs of these origins; None where columns are mixed or unknown.

    `names` are the input columns' names where the step was fitted on a frame, and it is given them by name.
    """
    if step == "passthrough":
        return origins
    if isinstance(step, Pipeline):
        return _through(step, origins, names)
    if isinstance(step, ColumnTransformer):
        return _beside(step, origins, names)
    if isinstance(step, FeatureUnion):
        return _joined([trace(inner, origins, names) for _name, inner in step.transformer_list])
    return _of_one(step, origins)


def _through(pipeline: Pipeline, origins: Origins, names: list[str] | None) -> Origins | None:
    found: Origins | None = origins
    for _name, step in pipeline.steps:
        if found is None:
            return None
        found, names = trace(step, found, names), None
    return found


def _beside(columns: ColumnTransformer, origins: Origins, names: list[str] | None) -> Origins | None:
    """The parts stand at `output_indices_`, whatever their order."""
    parts = []
    for name, step, chosen in columns.transformers_:
        span = columns.output_indices_.get(name, slice(0, 0))
        if step == "drop" or span.start == span.stop:
            continue
        places = _places(chosen, len(origins), names)
        if places is None:
            return None
        part = trace(step, [origins[place] for place in places], None)
        if part is None or len(part) != span.stop - span.start:
            return None
        parts.append((span.start, part))
    return [origin for _start, part in sorted(parts, key=lambda each: each[0]) for origin in part]


def _places(chosen: Any, count: int, names: list[str] | None) -> list[int] | None:
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            return None
        return list(range(count))[chosen]
    picked = np.atleast_1d(np.asarray(chosen))
    if picked.dtype == bool:
        return [int(place) for place in np.flatnonzero(picked)]
    if picked.dtype.kind in "iu":
        return [int(place) % count for place in picked]
    if names is None or not set(map(str, picked)) <= set(names):
        return None
    return [names.index(str(name)) for name in picked]


def _joined(parts: list[Origins | None]) -> Origins | None:
    if any(part is None for part in parts):
        return None
    return [origin for part in parts if part is not None for origin in part]


def _of_one(step: Any, origins: Origins) -> Origins | None:
    if isinstance(step, COLUMNWISE):
        return origins
    if isinstance(step, SimpleImputer):
        return _imputed(step, origins)
    if isinstance(step, OneHotEncoder):
        return _spread(origins, step._n_features_outs)
    if isinstance(step, KBinsDiscretizer):
        return origins if step.encode == "ordinal" else _spread(origins, step.n_bins_)
    if isinstance(step, TargetEncoder):
        classes = len(step.classes_) if step.target_type_ == "multiclass" else 1
        return _spread(origins, [classes] * len(origins))
    if isinstance(step, SelectorMixin):
        return [origins[place] for place in step.get_support(indices=True)]
    return None


def _imputed(imputer: SimpleImputer, origins: Origins) -> Origins:
    """A column that was all missing is dropped; indicator columns come behind."""
    kept = origins
    if not imputer.keep_empty_features and imputer.statistics_.dtype.kind == "f":
        empty = np.isnan(imputer.statistics_)
        kept = [origin for origin, gone in zip(origins, empty, strict=True) if not gone]
    if imputer.indicator_ is None:
        return kept
    return kept + [origins[place] for place in imputer.indicator_.features_]


def _spread(origins: Origins, counts: Any) -> Origins:
    return [origin for origin, count in zip(origins, counts, strict=True) for _ in range(int(count))]
