"""One model, explained by the most exact method that it allows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from . import estimators, origins, sampling
from .estimators import MARGIN, PROBABILITY, VALUE
from .trees import Floats, Paths

#: Rows whose encoded mean is what a linear model compares with, and which sampling draws from.
MAX_BACKGROUND = 1000


class Unexplainable(ValueError):
    """There is no method for this model here, with the reason."""


@dataclass(frozen=True)
class Explanation:
    """rows × columns, rows; base + contributions = the answer on `scale`. Rows beyond `done` were out of time."""

    contributions: Floats
    base: Floats
    scale: str
    method: str  # linear, trees, sampled
    done: int


class Explainer:
    """`background`: reference rows; without them only trees can be explained. `feed`: a frame as the model wants it."""

    def __init__(
        self,
        model: Any,
        classes: Any,
        background: pd.DataFrame | None,
        feed: Callable[[pd.DataFrame], Any] = lambda rows: rows,
    ) -> None:
        self.model = model
        self.classes = classes
        self.feed = feed
        self.background = None if background is None else background.head(MAX_BACKGROUND)
        self.encode, self.estimator = _split(model)
        self.linear, self.trees = estimators.linear(self.estimator), estimators.trees(self.estimator)
        self.paths = Paths(self.trees.forest) if self.trees else None

    def explain(self, rows: pd.DataFrame, outputs: Any, seconds: float) -> Explanation:
        """`outputs`: for each row, the place of the explained class in `classes`; ignored for numbers."""
        until = time.monotonic() + seconds
        if self.linear or self.trees:
            exact = self._exact(rows, outputs, until)
            if exact is not None:
                return exact
        return self._sampled(rows, outputs, until)

    # --- exactly ---

    def _exact(self, rows: pd.DataFrame, outputs: Any, until: float) -> Explanation | None:
        encoded, sources = self._encoded(rows)
        if sources is None or (self.linear and self.background is None):
            return None
        added, base, done = np.zeros((len(rows), rows.shape[1])), np.zeros(len(rows)), 0
        one = self._linear_row() if self.linear else self._trees_row()
        for place, row in enumerate(encoded):
            if place and time.monotonic() > until:
                break
            shares, base[place] = one(row, int(outputs[place]))
            added[place] = np.bincount(sources, weights=shares, minlength=rows.shape[1])
            done += 1
        scale = (self.linear or self.trees).scale  # type: ignore[union-attr]
        return Explanation(added, base, scale, "linear" if self.linear else "trees", done)

    def _encoded(self, rows: pd.DataFrame) -> tuple[Floats, list[int] | None]:
        """The rows as the estimator sees them, and from which column each encoded one comes."""
        places: list[int] | None = list(range(rows.shape[1]))
        names = [str(name) for name in rows.columns]
        if self.encode is not None:
            places = origins.trace(self.encode, places or [], names)
        fed = self.feed(rows)
        encoded: Any = fed if self.encode is None else self.encode.transform(fed)
        if self.trees and type(self.estimator) in estimators.HISTOGRAM_BOOSTING:
            encoded, places = _before_histograms(self.estimator, encoded, places)
        array: Any = encoded.toarray() if hasattr(encoded, "toarray") else np.asarray(encoded)
        if places is None or array.shape[1] != len(places) or array.dtype.kind not in "fiub":
            return np.empty((0, 0)), None
        return array.astype(np.float64), places

    def _linear_row(self) -> Callable[[Floats, int], tuple[Floats, float]]:
        assert self.linear is not None
        encoded, _sources = self._encoded(self.background)  # type: ignore[arg-type]
        mean = encoded.mean(axis=0)
        coefficients, intercepts = self.linear.coefficients, self.linear.intercepts

        def explain(row: Floats, output: int) -> tuple[Floats, float]:
            place, sign = self._column(output, len(coefficients))
            base = sign * (coefficients[place] @ mean + intercepts[place])
            return sign * coefficients[place] * (row - mean), float(base)

        return explain

    def _trees_row(self) -> Callable[[Floats, int], tuple[Floats, float]]:
        assert self.trees is not None and self.paths is not None
        paths, decide = self.paths, self.trees.goes_left

        def explain(row: Floats, output: int) -> tuple[Floats, float]:
            place, sign = self._column(output, len(paths.base))
            return sign * paths.contributions(decide(row), place, len(row)), float(sign * paths.base[place])

        return explain

    def _column(self, output: int, columns: int) -> tuple[int, float]:
        """Which output of the estimator speaks for the class; one alone speaks for the second class of two."""
        if columns > 1:
            return output, 1.0
        return 0, -1.0 if self.classes is not None and output == 0 else 1.0

    # --- by sampling ---

    def _sampled(self, rows: pd.DataFrame, outputs: Any, until: float) -> Explanation:
        if self.background is None or not len(self.background):
            raise Unexplainable("it needs reference data to compare with")
        added, base, done = np.zeros((len(rows), rows.shape[1])), np.zeros(len(rows)), 0
        started = time.monotonic()
        for place in range(len(rows)):
            now = time.monotonic()
            if place and now > until:
                break
            share = started + (until - started) * (place + 1) / len(rows)
            ask = self._asker(int(outputs[place]))
            added[place], base[place] = sampling.contributions(
                rows.iloc[[place]], self.background, ask, share
            )
            done += 1
        scale = VALUE if self.classes is None else self._scale()
        return Explanation(added, base, scale, "sampled", done)

    def _scale(self) -> str:
        return PROBABILITY if hasattr(self.model, "predict_proba") else MARGIN

    def _asker(self, output: int) -> Callable[[pd.DataFrame], Floats]:
        model, feed = self.model, self.feed
        if self.classes is None:
            return lambda rows: np.asarray(model.predict(feed(rows)), np.float64).ravel()
        if hasattr(model, "predict_proba"):
            return lambda rows: np.asarray(model.predict_proba(feed(rows)), np.float64)[:, output]
        if not hasattr(model, "decision_function"):
            raise Unexplainable("the classifier gives neither probabilities nor margins")
        return lambda rows: self._margin(model.decision_function(feed(rows)), output)

    def _margin(self, margins: Any, output: int) -> Floats:
        found: Floats = np.asarray(margins, np.float64)
        if found.ndim > 1:
            return np.ascontiguousarray(found[:, output])
        return found if output else np.negative(found)


def _split(model: Any) -> tuple[Any, Any]:
    """What prepares the rows, and what answers; nothing prepares them for a bare estimator."""
    if type(model) is not Pipeline:
        return None, model
    return (model[:-1] if len(model.steps) > 1 else None), model.steps[-1][1]


def _before_histograms(estimator: Any, encoded: Any, places: list[int] | None) -> tuple[Any, Any]:
    """Its own encoder of categories puts them first."""
    if getattr(estimator, "_preprocessor", None) is None:
        return encoded, places
    if places is not None:
        chosen = np.asarray(estimator.is_categorical_, bool)
        order = [*np.flatnonzero(chosen), *np.flatnonzero(~chosen)]
        places = [places[place] for place in order]
    return estimator._preprocessor.transform(encoded), places
