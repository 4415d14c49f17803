"""Other estimators as an ONNX graph of the estimator alone, where skl2onnx knows them.

In float64 where the engine has every operator in it, else in float32. Whether the graph may be opened outside of the
jail, and whether it answers alike, is judged there.
"""

import io
from typing import Any

from .. import graphs, scoring
from .plan import Column, NotCompiled, Plan


def compile_graph(plan: Plan, estimator: Any, columns: list[Column]) -> dict[str, Any]:
    node = plan.matrix(columns)
    width = plan.widths[node]
    is_classifier = hasattr(estimator, "classes_")
    graph = _in_float64(estimator, width, is_classifier) or _converted(
        estimator, width, is_classifier, "Float"
    )
    plan.graphs.append(graph)
    return {"kind": "graph", "of": node, "accepts": "finite", "graph": len(plan.graphs) - 1}


def _in_float64(estimator: Any, width: int, is_classifier: bool) -> bytes | None:
    try:
        graph = _converted(estimator, width, is_classifier, "Double")
        graphs.open_graph(io.BytesIO(graph))
    except (NotCompiled, scoring.NotServable):
        return None
    return graph


def _converted(estimator: Any, width: int, is_classifier: bool, numbers: str) -> bytes:
    import skl2onnx  # heavy: only where nothing else knows the estimator
    from skl2onnx.common import data_types

    kind = getattr(data_types, f"{numbers}TensorType")([None, width])
    options = {id(estimator): {"zipmap": False}} if is_classifier else None
    try:
        made = skl2onnx.to_onnx(estimator, initial_types=[("x", kind)], options=options)
    except Exception as error:  # converters raise whatever they like
        raise NotCompiled(f"it has no compiled form ({type(error).__name__})") from None
    data: bytes = made.SerializeToString()
    return data
