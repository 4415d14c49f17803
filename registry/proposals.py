"""A first schema out of what a model file tells of itself, where its uploader gave none."""

from typing import Any

from registry.inspection import Inspection
from registry.models.catalog import RegisteredModel, Task

KINDS = {"string": "text", "bool": "boolean", "int64": "integer", "int32": "integer"}
NAMES = ("feature_names", "feature_names_in_", "features", "columns")
TARGET = "prediction"


def from_graph(found: Inspection, model: RegisteredModel) -> dict[str, Any] | None:
    """Fields from the inputs of an ONNX graph; None where they have no names, or the classes are not told."""
    graph = found.graph
    if graph is None or len(graph.inputs) < 2:
        return None
    if model.task == Task.CLASSIFICATION and not graph.classes:
        return None
    return {
        "fields": [
            {"name": each.name, "type": KINDS.get(each.type, "number"), "required": each.type != "float"}
            for each in graph.inputs
        ],
        "target": {
            "name": TARGET,
            "task": model.task,
            "classes": list(graph.classes) if model.task == Task.CLASSIFICATION else [],
        },
    }
