"""Estimators as ONNX graphs that pass the narrow gate: bounded work, no loop, no file, known shapes."""

from typing import Any

import numpy as np

from inference.compiled import limits
from inference.compiled.container import Array, BadForm, Parts
from inference.compiled.errors import Declined
from inference.compiled.links import Computed
from registry import onnx_gate
from registry.errors import Refused
from registry.schema import Label

TYPES: dict[str, Any] = {"float": np.dtype("f4"), "double": np.dtype("f8")}
LABEL, PROBABILITIES = "label", "probabilities"


class Graph:
    def __init__(self, parts: Parts, claim: dict[str, Any], width: int, classes: tuple[Label, ...]) -> None:
        from inference.compiled import sessions  # heavy: only where graphs are opened

        data = parts.graph(claim.get("graph"))
        try:
            found = onnx_gate.narrow(data)
        except Refused as refusal:
            raise BadForm(str(refusal)) from None
        if (
            len(found.inputs) != 1
            or found.inputs[0].type not in TYPES
            or found.inputs[0].shape != (None, width)
        ):
            raise BadForm("a graph with other inputs")
        self._type: Any = TYPES[found.inputs[0].type]
        self.cells, self.work = found.numbers, found.work
        limits.require_little(self.cells, self.work)
        self._session = sessions.Session(data)
        self._places = {str(label): place for place, label in enumerate(classes)}
        self._names = self._session.outputs[:1]
        if classes:
            self._names = [LABEL, PROBABILITIES] if claim.get("probabilities") is True else [LABEL]
        if not set(self._names) <= set(self._session.outputs):
            raise BadForm("a graph with other outputs")

    def compute(self, matrix: Array) -> Computed:
        given = matrix.astype(self._type)
        if not np.isfinite(given).all():
            raise Declined
        found = self._session.run(given, self._names)
        if not self._places:
            return None, None, _numbers(found[0], (len(matrix),))
        places = [self._places.get(str(label), -1) for label in np.asarray(found[0]).ravel().tolist()]
        if len(places) != len(matrix) or -1 in places:
            raise Declined
        shares = _numbers(found[1], (len(matrix), len(self._places))) if len(found) > 1 else None
        return np.array(places, np.intp), shares, None


def _numbers(found: Any, shape: tuple[int, ...]) -> Array:
    values = np.asarray(found)
    if values.size != np.prod(shape, dtype=int) or values.dtype.kind != "f":
        raise Declined
    return values.astype(np.float64).reshape(shape)
