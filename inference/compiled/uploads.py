"""An uploaded graph that has passed the narrow gate, answering as the jailed runner does: same graph, same engine.

The graph is the approved file itself, by its hash, and the gate looks at these very bytes before the engine does. What
the runner claims about it (which column goes where, which output is what) is checked against what the gate found.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.compiled import limits
from inference.compiled.container import Array, BadForm
from inference.compiled.errors import Declined
from inference.compiled.links import Computed
from inference.compiled.sources import Source
from registry import onnx_gate
from registry.errors import Refused
from registry.schema import Label

TEXT, BOOLEAN = "string", "bool"
FRACTIONS: dict[str, Any] = {"float": np.float32, "double": np.float64, "float16": np.float16}
WHOLES: dict[str, Any] = {
    name: np.dtype(name) for name in ("int64", "int32", "int16", "int8", "uint8", "uint32", "uint64")
}


class _Feed:
    """One input of the graph: which columns make it, and in which type and shape."""

    def __init__(self, wanted: onnx_gate.Value, names: Sequence[str]) -> None:
        self.name = wanted.name
        self._type = wanted.type
        self._sides = [side or 0 for side in (wanted.shape or ())[1:]]  # the gate knows them all
        self._names = names
        if wanted.type not in {TEXT, BOOLEAN, *FRACTIONS, *WHOLES} or math.prod(self._sides) != len(names):
            raise BadForm("columns of an input")

    def of(self, source: Source) -> Array:
        return self._columns(source).reshape(source.count, *self._sides)

    def _columns(self, source: Source) -> Array:
        if self._type == TEXT:
            return source.texts(self._names)
        if self._type in FRACTIONS:
            return source.fractions(self._names).astype(FRACTIONS[self._type])
        if self._type == BOOLEAN:
            return source.wholes(self._names).astype(bool)
        return source.wholes(self._names).astype(WHOLES[self._type])


class Upload:
    """Rows in, answers out, by the graph alone."""

    def __init__(
        self, claim: dict[str, Any], inputs: Sequence[tuple[str, str]], classes: Sequence[Label], graph: bytes
    ) -> None:
        from inference.compiled import sessions  # heavy: only where graphs are opened

        try:
            found = onnx_gate.narrow(graph)
        except Refused as refusal:
            raise BadForm(str(refusal)) from None
        self.cells, self.work = found.numbers, found.work
        limits.require_little(self.cells, self.work)
        self._feeds = _feeds(claim.get("feeds"), inputs, found.inputs)
        self._classes = classes
        self._has_probabilities = claim.get("probabilities") is True
        self._label, self._scores = claim.get("label"), claim.get("scores")
        self._places = {(isinstance(label, str), label): place for place, label in enumerate(classes)}
        self._numbers = {(False, place): place for place in range(len(classes))}
        self._is_worded = any(isinstance(label, str) for label in classes)
        self._names = [name for name in (self._label, self._scores) if name is not None]
        needs_scores = self._has_probabilities or not classes
        if not all(isinstance(name, str) for name in self._names):
            raise BadForm("outputs")
        if (self._scores is None) == needs_scores or (self._label is None and not needs_scores):
            raise BadForm("outputs")
        self._session = sessions.Session(graph)
        if not set(self._names) <= set(self._session.outputs):
            raise BadForm("a graph with other outputs")

    def compute(self, source: Source) -> Computed:
        with np.errstate(all="ignore"):  # what is too large for a float32 is infinite, as it is in the runner
            given = {each.name: each.of(source) for each in self._feeds}
        found = dict(zip(self._names, self._session.ask(given, self._names), strict=True))
        if not self._classes:
            return None, None, _numbers(found[self._scores], source.count, 1)[:, 0]
        shares = self._shares(found[self._scores], source.count) if self._has_probabilities else None
        if self._label is not None:
            return self._chosen(np.asarray(found[self._label]), source.count), shares, None
        return np.argmax(np.asarray(shares), axis=1), shares, None

    def _shares(self, found: Any, rows: int) -> Array:
        if isinstance(found, list):  # what ZipMap makes: for each row a number by its class
            try:
                found = np.array([[each[label] for label in self._classes] for each in found], np.float64)
            except (KeyError, TypeError):
                raise Declined from None
        if len(self._classes) == 2 and np.asarray(found).size == rows:
            second = _numbers(found, rows, 1)[:, 0]
            return np.stack([1 - second, second], axis=1)
        return _numbers(found, rows, len(self._classes))

    def _chosen(self, found: Array, rows: int) -> Array:
        """Places among the classes: by the label itself, or by its number where the classes are words."""
        labels = found.reshape(-1).tolist()
        is_worded = any(isinstance(each, str) for each in labels)
        places = self._numbers if self._is_worded and not is_worded else self._places
        chosen = [places.get((isinstance(each, str), each), -1) for each in labels]
        if len(chosen) != rows or -1 in chosen:
            raise Declined
        return np.array(chosen, np.intp)


def _feeds(
    claim: object, inputs: Sequence[tuple[str, str]], wanted: Sequence[onnx_gate.Value]
) -> list[_Feed]:
    if not isinstance(claim, list) or len(claim) != len(wanted):
        raise BadForm("inputs of the graph")
    feeds = []
    for each, value in zip(claim, wanted, strict=True):
        if (
            not isinstance(each, list)
            or len(each) != 2
            or each[0] != value.name
            or not isinstance(each[1], list)
        ):
            raise BadForm("inputs of the graph")
        kind = "text" if value.type == TEXT else "number"
        if not all(
            type(place) is int and 0 <= place < len(inputs) and inputs[place][1] == kind for place in each[1]
        ):
            raise BadForm("columns of an input")
        feeds.append(_Feed(value, [inputs[place][0] for place in each[1]]))
    return feeds


def _numbers(found: Any, rows: int, width: int) -> Array:
    values = np.asarray(found)
    if values.shape not in ((rows, width), (rows,) if width == 1 else ()) or values.dtype.kind != "f":
        raise Declined
    return values.astype(np.float64).reshape(rows, width)
