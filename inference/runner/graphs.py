"""An ONNX graph, asked: Arrow rows in; class indices, probabilities and values out, as `scoring` does for estimators.

What its outputs mean is not written in a graph, so two rows are asked when it is opened: their answers show which
output is the label, which holds probabilities, and which classes there are.
"""

import json
import math
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa

from .reasoning import Reasoner
from .scoring import (
    MAX_CLASSES,
    MAX_FEATURES,
    MAX_TEXT,
    NotServable,
    apart,
    joined,
    notes,
    plain,
    to_frame,
)

FLOATS = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(float16)": "f2"}
INTEGERS = {
    f"tensor({name})": name for name in ("int64", "int32", "int16", "int8", "uint8", "uint32", "uint64")
}
TEXT, BOOLEAN = "tensor(string)", "tensor(bool)"
NAMES = ("feature_names", "feature_names_in_", "features", "columns")
QUIET = 4
PROBES = 2
SUMS_TO_ONE = 1e-3
EXPECTED = "a label with or without probabilities, or one number a row"


def open_graph(file: IO[bytes]) -> Any:
    """A session on bytes: a graph that names other files finds none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    try:
        return onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # every kind of theirs derives from Exception directly
        raise NotServable(f"the ONNX runtime cannot open the graph: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


class GraphScorer:
    """What this graph takes and gives, found out once."""

    def __init__(self, session: Any, classes: Sequence[Any] = ()) -> None:
        self.session = session
        self.inputs = session.get_inputs()
        self.outputs = _Outputs(session.get_outputs(), list(classes))
        self.is_one_table = len(self.inputs) == 1
        self._require_known_inputs()
        self.features = self._feature_names()
        self.width = math.prod(self.inputs[0].shape[1:]) if self._is_sized() else None
        self.outputs.learn(self._run(self._probe()))
        asked = _AskedWithFrames(self)
        self.reasoner = Reasoner(asked, asked.classes, self._explained, lambda rows: rows)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "classifier" if self.outputs.is_classifier else "regressor",
            "type": "InferenceSession",
            "estimator": "ONNX graph",
            "classes": [plain(label) for label in self.outputs.classes]
            if self.outputs.is_classifier
            else None,
            "probabilities": self.outputs.has_probabilities,
            "features": self.features,
            "feature_count": self.width if self.is_one_table else len(self.inputs),
            "feeds": "array" if self.is_one_table else "frame",
            "encoded": {} if self.is_one_table else {each.name: _kind_of(each.type) for each in self.inputs},
        }

    def answer(self, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
        """One answer for each table, all from one run of the graph."""
        table = joined(tables)
        found = self._run(self._feed(table)) if table.num_rows else None
        return apart(self.outputs.read(found, table.num_rows), tables)

    def _explained(self, table: pa.Table) -> pd.DataFrame:
        names = [name for name in table.column_names if self.features is None or name in self.features]
        return to_frame(table.select(names))

    def ask(self, rows: pd.DataFrame) -> dict[str, Any]:
        """The graph's answers to a frame of its columns."""
        table = pa.Table.from_pandas(rows, preserve_index=False)
        return self.outputs.read(self._run(self._feed(table)), table.num_rows)

    def _run(self, feed: dict[str, Any]) -> list[Any]:
        try:
            found: list[Any] = self.session.run(None, feed)
        except Exception as error:  # every kind of theirs derives from Exception directly
            raise NotServable(f"the graph fails on these rows: {_first_line(error)}") from None
        return found

    # --- what goes in ---

    def _require_known_inputs(self) -> None:
        if not 1 <= len(self.inputs) <= MAX_FEATURES:
            raise NotServable(
                f"the graph has {len(self.inputs)} inputs; one table, or one input per column is expected"
            )
        for each in self.inputs:
            if not _kind_of(each.type):
                raise NotServable(f"input {each.name!r} takes {each.type}, which no column of a table gives")
            if isinstance(each.shape[0] if each.shape else 1, int):
                raise NotServable(
                    f"input {each.name!r} takes a fixed number of rows: export it with a free first dimension"
                )
            if not self.is_one_table and any(side != 1 for side in each.shape[1:]):
                raise NotServable(
                    f"input {each.name!r} has several columns beside other inputs: export one input per column, or one "
                    "input for all"
                )

    def _is_sized(self) -> bool:
        return all(isinstance(side, int) for side in self.inputs[0].shape[1:])

    def _feature_names(self) -> list[str] | None:
        if not self.is_one_table:
            return [each.name[:MAX_TEXT] for each in self.inputs]
        told = self.session.get_modelmeta().custom_metadata_map
        for key in NAMES:
            names = _list_from(told.get(key, ""))
            if names and (not self._is_sized() or len(names) == math.prod(self.inputs[0].shape[1:])):
                return names
        return None

    def _probe(self) -> dict[str, Any]:
        feed = {}
        for each in self.inputs:
            sides = [side if isinstance(side, int) else len(self.features or [0]) for side in each.shape[1:]]
            feed[each.name] = _empty(each.type, (PROBES, *sides))
        return feed

    def _feed(self, table: pa.Table) -> dict[str, Any]:
        if self.features is not None:
            missing = [name for name in self.features if name not in table.column_names]
            if missing:
                raise NotServable(f"the graph takes columns that the rows lack: {', '.join(missing[:10])}")
        if not self.is_one_table:
            return {
                each.name: _column(table.column(each.name), each).reshape(-1, *each.shape[1:])
                for each in self.inputs
            }
        one = self.inputs[0]
        names = self.features or table.column_names
        if self.width is not None and len(names) != self.width:
            raise NotServable(f"the graph takes {self.width} columns; the rows have {len(names)}")
        columns = np.stack([_column(table.column(name), one) for name in names], axis=1)
        sides = one.shape[1:] if self._is_sized() else columns.shape[1:]
        return {one.name: columns.reshape(-1, *sides)}


class _AskedWithFrames:
    """A graph, asked as an estimator of scikit-learn is: for whoever explains it by asking."""

    def __init__(self, graph: GraphScorer) -> None:
        self.graph = graph
        self.classes = graph.outputs.classes if graph.outputs.is_classifier else None
        if graph.outputs.has_probabilities:
            self.predict_proba = lambda rows: graph.ask(rows)["probabilities"]

    def predict(self, rows: pd.DataFrame) -> Any:
        return self.graph.ask(rows)["values"]


def _kind_of(kind: str) -> str:
    if kind in FLOATS or kind in INTEGERS or kind == BOOLEAN:
        return "number"
    return "text" if kind == TEXT else ""


def _empty(kind: str, shape: tuple[int, ...]) -> Any:
    if kind == TEXT:
        return np.full(shape, "", object)
    return np.zeros(shape, "bool" if kind == BOOLEAN else FLOATS.get(kind) or INTEGERS[kind])


def _column(values: pa.ChunkedArray, wanted: Any) -> Any:
    """A column as the graph takes it. Only fractions and texts can be missing: NaN, and the empty text."""
    try:
        if wanted.type == TEXT:
            return np.array(values.cast(pa.string()).fill_null("").to_pylist(), object)
        if wanted.type in FLOATS:
            return values.cast(pa.float64()).to_numpy().astype(FLOATS[wanted.type])
        if values.null_count:
            raise NotServable(f"input {wanted.name!r} cannot be missing: the graph takes whole numbers there")
        if wanted.type == BOOLEAN:
            return values.cast(pa.bool_()).to_numpy()
        return values.cast(pa.int64()).to_numpy().astype(INTEGERS[wanted.type])
    except pa.ArrowException:
        raise NotServable(
            f"input {wanted.name!r} takes {wanted.type}; the column holds {values.type}"
        ) from None


def _list_from(text: str) -> list[str]:
    """Names as people put them into metadata: a JSON list, or separated by commas."""
    try:
        names = json.loads(text)
    except ValueError:
        names = text.split(",") if text else []
    if not isinstance(names, list) or len(names) > MAX_FEATURES:
        return []
    return [str(name).strip()[:MAX_TEXT] for name in names]


class _Outputs:
    """Which output is what."""

    def __init__(self, outputs: Sequence[Any], classes: list[Any]) -> None:
        self.classes = classes
        self.maps = [place for place, each in enumerate(outputs) if each.type.startswith("seq(map(")]
        self.numbers = [place for place, each in enumerate(outputs) if each.type in FLOATS]
        self.labels = [
            place
            for place, each in enumerate(outputs)
            if each.type in INTEGERS or each.type in (TEXT, BOOLEAN)
        ]
        self.is_classifier = bool(self.maps or classes or self.labels)
        self.has_probabilities = self.is_classifier and bool(self.maps or self.numbers)
        is_usual = len(self.labels) <= 1 and len(self.maps) + len(self.numbers) <= 1
        if not is_usual or len(self.labels) + len(self.maps) + len(self.numbers) != len(outputs):
            shown = ", ".join(f"{each.name} ({each.type})" for each in outputs[:6])
            raise NotServable(f"the graph gives {shown}; expected is {EXPECTED}")

    def learn(self, found: list[Any]) -> None:
        """Classes, and whether numbers are probabilities, from the answers to the first rows."""
        if not self.is_classifier:
            self._values(found, PROBES)
            return
        if self.maps:
            self.classes = list(found[self.maps[0]][0])
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise NotServable("the graph does not tell its classes: write them into the schema's target")
        if self.has_probabilities and not _are_chances(self._scores(found, PROBES)):
            self.has_probabilities = False
            if not self.labels:
                raise NotServable(
                    "the graph's numbers are no probabilities: let it end with Softmax or Sigmoid"
                )
            notes.lines.append("the graph's numbers are no probabilities: only its labels are used")
        self.read(found, PROBES)

    def read(self, found: list[Any] | None, rows: int) -> dict[str, Any]:
        """The arrays of an answer; nothing was found for no rows."""
        if not self.is_classifier:
            return {"values": self._values(found, rows) if found else np.empty(0, "<f8")}
        if found is None:
            nothing = np.empty((0, len(self.classes)), "<f8")
            return {
                "labels": np.empty(0, "<i4"),
                "probabilities": nothing if self.has_probabilities else None,
            }
        chances = self._scores(found, rows) if self.has_probabilities else None
        if self.labels:
            return {
                "labels": self._indices(np.asarray(found[self.labels[0]]), rows),
                "probabilities": chances,
            }
        return {"labels": np.argmax(np.asarray(chances), axis=1).astype("<i4"), "probabilities": chances}

    def _values(self, found: list[Any], rows: int) -> Any:
        values = np.asarray(found[self.numbers[0]], "<f8")
        values = values[:, 0] if values.shape == (rows, 1) else values
        if values.shape != (rows,):
            raise NotServable(
                f"the graph answered with shape {values.shape} for {rows} rows; expected is {EXPECTED}"
            )
        return values

    def _scores(self, found: list[Any], rows: int) -> Any:
        if self.maps:
            maps = found[self.maps[0]]
            return np.array([[each[label] for label in self.classes] for each in maps], "<f8")
        scores = np.asarray(found[self.numbers[0]], "<f8")
        if scores.shape in ((rows,), (rows, 1)) and len(self.classes) == 2:
            second = scores.reshape(rows)
            return np.stack([1 - second, second], axis=1)
        if scores.shape != (rows, len(self.classes)):
            raise NotServable(
                f"the graph answered with shape {scores.shape} for {rows} rows and {len(self.classes)} classes"
            )
        return scores

    def _indices(self, labels: Any, rows: int) -> Any:
        """Places among the classes: by the label itself, or by its number where the classes are words."""
        labels = labels.reshape(-1).tolist()
        if len(labels) != rows:
            raise NotServable(f"the graph answered {len(labels)} labels for {rows} rows")
        places = {(isinstance(label, str), label): place for place, label in enumerate(self.classes)}
        if any(isinstance(label, str) for label in self.classes) and not any(
            isinstance(each, str) for each in labels
        ):
            places = {(False, place): place for place in range(len(self.classes))}
        try:
            return np.array([places[isinstance(each, str), each] for each in labels], "<i4")
        except KeyError:
            raise NotServable("the graph answered with a label that is not among its classes") from None


def _are_chances(scores: Any) -> bool:
    within = np.all((scores >= -SUMS_TO_ONE) & (scores <= 1 + SUMS_TO_ONE))
    return bool(within and np.allclose(scores.sum(axis=1), 1, atol=SUMS_TO_ONE))


def versions() -> dict[str, str]:
    import platform

    return {
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
