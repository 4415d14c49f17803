"""The last step of a pipeline: which kind of model it becomes."""

from typing import Any

from .. import scoring
from . import converted, linear, trees
from .plan import Column, NotCompiled, Plan


def compile_estimator(
    plan: Plan, estimator: Any, columns: list[Column], *, whole: bool = True
) -> dict[str, Any]:
    """The model part of the plan: what is computed from the encoded matrix.

    Not `whole`: a runner answers from the matrix, and also refuses what it refuses.
    """
    name = type(estimator).__name__
    try:
        if not whole:
            return {"kind": "runner", "of": plan.matrix(columns), "accepts": "any"}
        if linear.knows(estimator):
            return linear.compile_linear(plan, estimator, columns)
        if trees.knows(estimator):
            return trees.compile_trees(plan, estimator, columns)
        return converted.compile_graph(plan, estimator, columns)
    except NotCompiled as error:
        raise NotCompiled(f"the estimator {name}: {error}") from None


def outputs(scorer: scoring.Scorer) -> dict[str, Any]:
    """What the answers mean."""
    classes = None if scorer.classes is None else [scoring.plain(value) for value in scorer.classes]
    return {"classes": classes, "probabilities": scorer.has_probabilities}
