"""A first schema out of what a model file tells of itself, where its uploader gave none."""

from typing import Any

from registry.inspection import Inspection
from registry.models.catalog import RegisteredModel, Task

KINDS = {"string": "text", "bool": "boolean", "int64": "integer", "int32": "integer"}
TARGET = "prediction"


def from_file(found: Inspection, model: RegisteredModel) -> dict[str, Any] | None:
    """Fields from an MLflow signature or the inputs of an ONNX graph; None where names or classes are not told."""
    fields = _fields(found)
    classes = list(found.graph.classes) if found.graph else []
    is_classification = model.task == Task.CLASSIFICATION
    if not fields or (is_classification and not classes):
        return None
    return {
        "fields": fields,
        "target": {"name": TARGET, "task": model.task, "classes": classes if is_classification else []},
    }


def _fields(found: Inspection) -> list[dict[str, Any]]:
    if found.folder is not None and found.folder.inputs:
        return found.folder.inputs
    if found.graph is None or len(found.graph.inputs) < 2:
        return []
    return [
        {"name": each.name, "type": KINDS.get(each.type, "number"), "required": each.type != "float"}
        for each in found.graph.inputs
    ]
