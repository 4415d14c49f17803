"""From a fitted pipeline to its compiled form: arrays that answer as the pipeline does, without scikit-learn.

Runs in the jail, beside the model, so what comes out is as untrusted as the model itself: whoever opens a form checks
every number in it first, and compares its answers with the runner's. A step that is not known exactly, by its very
class, is not compiled; the sentence says which one.
"""

from collections.abc import Sequence

from .. import scoring
from . import estimators, transformers
from .plan import TEXT_TYPES, NotCompiled, Plan
from .uploaded import compile_upload

__all__ = ["NotCompiled", "compile_form", "compile_upload"]


def compile_form(scorer: scoring.Scorer, columns: Sequence[tuple[str, str]], *, whole: bool = True) -> bytes:
    """A loaded model as a form for rows with these columns (name, schema type); NotCompiled says why there is none.

    Not `whole`: the steps before the estimator alone, whose matrix is for a runner to answer from.
    """
    if scorer.feeds == "text":
        raise NotCompiled("the model reads one column of text")
    types = dict(columns)
    names = scorer.features if scorer.features is not None else [name for name, _type in columns]
    if missing := [name for name in names if name not in types]:
        raise NotCompiled(f"the schema lacks the column {missing[0]!r}")
    inputs = [(name, "text" if types[name] in TEXT_TYPES else "number") for name in names]
    plan, given = Plan.of(inputs)
    steps, estimator = scoring.unfolded(scorer.model)
    given = transformers.apply_all(plan, steps, given)
    model = estimators.compile_estimator(plan, estimator, given, whole=whole)
    return plan.pack(model | estimators.outputs(scorer), scoring.versions())
