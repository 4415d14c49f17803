"""The last step of a pipeline: which kind of model it becomes."""

from typing import Any

from .. import scoring
from . import converted, linear, trees
from .plan import Column, NotCompiled, Plan

SEARCHES = frozenset({"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"})


def compile_estimator(
    plan: Plan, estimator: Any, columns: list[Column], scorer: scoring.Scorer
) -> dict[str, Any]:
    """The model part of the plan: what is computed from the encoded matrix, and what the answers mean."""
    name = type(estimator).__name__
    try:
        if linear.knows(estimator):
            model = linear.compile_linear(plan, estimator, columns)
        elif trees.knows(estimator):
            model = trees.compile_trees(plan, estimator, columns)
        else:
            model = converted.compile_graph(plan, estimator, columns)
    except NotCompiled as error:
        raise NotCompiled(f"the estimator {name}: {error}") from None
    classes = None if scorer.classes is None else [scoring.plain(value) for value in scorer.classes]
    return model | {"classes": classes, "probabilities": scorer.has_probabilities}
