"""A compiled form, opened: rows or a table in, the answers of scikit-learn out, without scikit-learn."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from inference.compiled import graphs, limits, linear, nodes, sources, trees, uploads
from inference.compiled.container import MAX_TEXT, Array, BadForm, Parts
from inference.compiled.errors import Declined
from inference.compiled.links import Computed
from inference.compiled.reading import Reader
from inference.runners import errors
from inference.runners.answers import Answer, positive_column
from registry.schema import Label

UPLOAD = "onnx"
#: A form that ends with the matrix: a runner answers from it.
RUNNER = "runner"
MAX_INPUTS = 10_000
MAX_CLASSES = 10_000
#: So many times as much may be done in one part, or in one call.
QUICK_CELLS, QUICK_WORK = 20, 100


class Model(Protocol):
    """The last step: the encoded matrix in; places of classes, probabilities, values out."""

    cells: int  # numbers at hand for one row, beside the matrix
    work: int  # multiplications for one row, where somebody else wrote down what is to be multiplied

    def compute(self, matrix: Array) -> Computed: ...


Ask = Callable[[Array], Answer]


class _NobodyToAsk:
    """The estimator is with a runner, and nobody is here to ask it: see `CompiledForm.asking`."""

    cells = work = 0

    def compute(self, matrix: Array) -> Computed:
        raise Declined


class _Asked:
    """The estimator is with a runner."""

    cells = work = 0

    def __init__(self, ask: Ask, classes: tuple[Label, ...], has_probabilities: bool) -> None:
        self._ask, self._classes, self._has_probabilities = ask, classes, has_probabilities

    def compute(self, matrix: Array) -> Computed:
        try:
            answer = self._ask(matrix)
        except errors.ModelError as error:
            if error.code != errors.FAILED:
                raise
            raise Declined from None
        if answer.classes != self._classes or (answer.probabilities is None) == self._has_probabilities:
            raise Declined  # it is not the model that was compared
        return answer.indices, answer.probabilities, answer.values


class Whole(Protocol):
    """All steps: the values of rows in, the same out."""

    cells: int
    work: int

    def compute(self, source: sources.Source) -> Computed: ...


class _Encoded:
    """Steps in float64 that make a matrix of the rows, and the model behind them."""

    def __init__(
        self, parts: Parts, claim: dict[str, Any], inputs: list[tuple[str, str]], classes: tuple[Label, ...]
    ) -> None:
        if claim.get("accepts") not in ("finite", "nan", "any"):
            raise BadForm("model")
        reader = Reader(parts, inputs)
        nodes.read_nodes(reader, parts.plan.get("nodes"))
        self._accepts: str = claim["accepts"]
        self._of = reader.before(claim.get("of"))
        self._steps = [(place, reader.steps[place]) for place in reader.needed_for(self._of)]
        self._kept = len(reader.steps)
        self._model: Model = _model(parts, claim, reader.widths[self._of], classes)
        self.cells = sum(reader.widths) + self._model.cells
        self.work = self._model.work

    def answered_by(self, model: Model) -> "_Encoded":
        other = copy.copy(self)
        other._model = model
        return other

    def compute(self, source: sources.Source) -> Computed:
        done: list[Any] = [None] * self._kept
        with np.errstate(all="ignore"):
            for place, step in self._steps:
                done[place] = step(source, done)
            matrix = done[self._of]
            nodes.require(matrix, self._accepts)
            return self._model.compute(matrix)


class CompiledForm:
    """What answers for one version. Safe for many threads: nothing in it changes."""

    def __init__(self, data: bytes, positive: Label | None = None, upload: bytes | None = None) -> None:
        """Raises BadForm unless every number in `data` is what a form may have.

        `upload`: the approved file, where the form is one of an ONNX graph.
        """
        parts = Parts(data)
        self.inputs = _inputs(parts.plan.get("inputs"))
        self.made_with = parts.made_with
        claim = parts.plan.get("model")
        if not isinstance(claim, dict):
            raise BadForm("model")
        self.classes: tuple[Label, ...] = _classes(claim.get("classes"))
        self.has_probabilities = claim.get("probabilities") is True and bool(self.classes)
        self.kind: str = str(claim.get("kind"))
        if (self.kind == UPLOAD) != (upload is not None):
            raise BadForm("a form of another file")
        self._whole: Whole
        if upload is not None:
            self._whole = uploads.Upload(claim, self.inputs, self.classes, upload)
        else:
            self._whole = _Encoded(parts, claim, self.inputs, self.classes)
        self._rows_at_once = limits.rows_at_once(self._whole.cells)
        #: More rows a call are for the runner: they would hold a thread of this process for too long.
        self.most_rows = limits.most_rows(self._whole.work)
        if self.kind == RUNNER:
            self.most_rows = limits.rows_of_a_question(self._whole.cells)
        self._positive = positive

    def asking(self, ask: Ask) -> "CompiledForm":
        """This form, with somebody to ask where it ends with the matrix; a ModelError `model_failed` is Declined."""
        if not isinstance(self._whole, _Encoded) or self.kind != RUNNER:
            return self
        other = copy.copy(self)
        other._whole = self._whole.answered_by(_Asked(ask, self.classes, self.has_probabilities))
        return other

    def is_quick(self, rows: int) -> bool:
        """About ten milliseconds at most: even who has others waiting may do it."""
        if self.kind == RUNNER:
            return False
        return rows * QUICK_CELLS <= self._rows_at_once and rows * QUICK_WORK <= self.most_rows

    def answer_rows(self, rows: Sequence[Mapping[str, Any]]) -> Answer:
        """Answer validated rows; Declined where scikit-learn would refuse one of them."""
        return self._answer(sources.Rows(rows), lambda at, to: sources.Rows(rows[at:to]))

    def answer_lists(self, columns: Mapping[str, Sequence[Any]], count: int) -> Answer:
        """Answer validated columns; Declined as above."""

        def cut(at: int, to: int) -> sources.Source:
            part = {name: column[at:to] for name, column in columns.items()}
            return sources.Lists(part, min(to, count) - at)

        return self._answer(sources.Lists(columns, count), cut)

    def answer_table(self, table: pa.Table) -> Answer:
        """Answer a validated table in the schema's types; Declined as above."""
        return self._answer(sources.Columns(table), lambda at, to: sources.Columns(table.slice(at, to - at)))

    def _answer(self, whole: sources.Source, cut: Any) -> Answer:
        started = time.perf_counter()
        if whole.count > self.most_rows:
            raise Declined
        if whole.count <= self._rows_at_once:
            found = self._whole.compute(whole)
        else:
            ends = range(0, whole.count, self._rows_at_once)
            found = _joined([self._whole.compute(cut(at, at + self._rows_at_once)) for at in ends])
        return self._told(found, time.perf_counter() - started)

    def _told(self, found: Computed, seconds: float) -> Answer:
        chosen, probabilities, values = found
        if not self.classes:
            return Answer((), None, None, values, seconds)
        if not self.has_probabilities:
            probabilities = None
        value = positive_column(probabilities, self.classes, self._positive)
        return Answer(self.classes, chosen, probabilities, value, seconds)


def _inputs(claim: object) -> list[tuple[str, str]]:
    if not isinstance(claim, list) or len(claim) > MAX_INPUTS:
        raise BadForm("inputs")
    found = []
    for each in claim:
        if not isinstance(each, list) or len(each) != 2 or each[1] not in ("number", "text"):
            raise BadForm("inputs")
        if not isinstance(each[0], str) or len(each[0]) > MAX_TEXT:
            raise BadForm("inputs")
        found.append((each[0], each[1]))
    return found


def _classes(claim: object) -> tuple[Label, ...]:
    if claim is None:
        return ()
    if not isinstance(claim, list) or not 2 <= len(claim) <= MAX_CLASSES:
        raise BadForm("classes")
    if not all(type(label) in (str, int, bool, float) and len(str(label)) <= MAX_TEXT for label in claim):
        raise BadForm("classes")
    return tuple(claim)


def _model(parts: Parts, claim: dict[str, Any], width: int, classes: tuple[Label, ...]) -> Model:
    if claim.get("kind") == RUNNER:
        return _NobodyToAsk()
    if claim.get("kind") == "linear":
        return linear.Linear(parts, claim, width, len(classes))
    if claim.get("kind") == "trees":
        return trees.Trees(parts, claim, width, len(classes))
    if claim.get("kind") == "graph":
        return graphs.Graph(parts, claim, width, classes)
    raise BadForm("kind of model")


def _joined(found: list[Computed]) -> Computed:
    def one(place: int) -> Array | None:
        parts = [each[place] for each in found]
        return None if parts[0] is None else np.concatenate([part for part in parts if part is not None])

    return one(0), one(1), one(2)
