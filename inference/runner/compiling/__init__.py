"""From a fitted pipeline to its compiled form: arrays that answer as the pipeline does, without scikit-learn.

Runs in the jail, beside the model, so what comes out is as untrusted as the model itself: whoever opens a form checks
every number in it first, and compares its answers with the runner's. A step that is not known exactly, by its very
class, is not compiled; the sentence says which one.
"""

from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from .. import scoring
from . import estimators, transformers
from .plan import TEXT_TYPES, NotCompiled, Plan
from .uploaded import compile_upload

__all__ = ["NotCompiled", "compile_form", "compile_upload"]


def compile_form(scorer: scoring.Scorer, columns: Sequence[tuple[str, str]]) -> bytes:
    """A loaded model as a form for rows with these columns (name, schema type); NotCompiled says why there is none."""
    if scorer.feeds == "text":
        raise NotCompiled("the model reads one column of text")
    types = dict(columns)
    names = scorer.features if scorer.features is not None else [name for name, _type in columns]
    if missing := [name for name in names if name not in types]:
        raise NotCompiled(f"the schema lacks the column {missing[0]!r}")
    inputs = [(name, "text" if types[name] in TEXT_TYPES else "number") for name in names]
    plan, given = Plan.of(inputs)
    steps, estimator = _unfolded(scorer.model)
    given = transformers.apply_all(plan, steps, given)
    model = estimators.compile_estimator(plan, estimator, given, scorer)
    return plan.pack(model, scoring.versions())


def _unfolded(model: Any, path: str = "") -> tuple[list[tuple[str, Any]], Any]:
    """The steps before the estimator, and the estimator; a search stands for what it found."""
    if hasattr(model, "best_estimator_") and type(model).__name__ in estimators.SEARCHES:
        return _unfolded(model.best_estimator_, path)
    if type(model) is not Pipeline:
        return [], model
    *steps, (_name, last) = model.steps
    more, estimator = _unfolded(last)
    return [*steps, *more], estimator
