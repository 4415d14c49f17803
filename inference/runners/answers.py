"""What a version is asked with and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from django.utils.translation import gettext as _

from inference.runner import arrays, wire
from inference.runners import claims
from inference.runners.errors import MAX_DETAIL, ModelError
from registry.schema import Label

MAX_COLUMNS = 10_000

ARROW_TYPES = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "category": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
}


@dataclass(frozen=True)
class RunnerSpec:
    """What the supervisor must know to start a version, and what we must know to read its answers."""

    key: str
    sha256: str
    path: Path
    format: str
    columns: tuple[tuple[str, str], ...] = ()
    positive: Label | None = None
    admitted: tuple[tuple[str, str], ...] = ()
    classes: tuple[Label, ...] = ()  # for files that do not tell them

    def for_encoded(self) -> "RunnerSpec":
        """The same version, asked with rows that are no longer in the schema's columns."""
        return replace(self, columns=())

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "sha256": self.sha256,
            "path": str(self.path),
            "format": self.format,
            "admitted": [list(name) for name in self.admitted],
            "classes": list(self.classes),
        }


@dataclass(frozen=True)
class Facts:
    """What a runner says about the model that it holds. Its word, checked for form only."""

    kind: str
    estimator: str
    classes: tuple[Label, ...]
    has_probabilities: bool
    features: tuple[str, ...] | None
    feature_count: int | None
    feeds: str
    encoded: dict[str, str]  # columns that an encoder learned by heart: number or text
    versions: dict[str, str]
    layers: dict[str, str]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def is_classifier(self) -> bool:
        return self.kind == "classifier"

    @classmethod
    def read(cls, claim: Any) -> Self:
        if not isinstance(claim, dict):
            raise wire.BadFrame("facts")
        if claim.get("kind") not in ("classifier", "regressor"):
            raise wire.BadFrame("kind of model")
        features, count = claim.get("features"), claim.get("feature_count")
        return cls(
            kind=claim["kind"],
            estimator=claims.text(claim.get("estimator")),
            classes=claims.labels(claim.get("classes")),
            has_probabilities=claim.get("probabilities") is True,
            features=None if features is None else tuple(claims.texts(features)),
            feature_count=count if type(count) is int and 0 <= count < 1 << 31 else None,
            feeds=claims.text(claim.get("feeds")),
            encoded=claims.words(claim.get("encoded"), MAX_COLUMNS),
            versions=claims.words(claim.get("versions")),
            layers=claims.words(claim.get("layers")),
            warnings=tuple(claims.texts(claim.get("warnings"))),
            seconds=claims.seconds(claim.get("seconds")),
        )


@dataclass(frozen=True)
class Answer:
    """One answer per row. `values` is the positive class's probability, or the regression, or None."""

    classes: tuple[Label, ...]
    indices: npt.NDArray[Any] | None  # of each row's label in `classes`; None for regression
    probabilities: npt.NDArray[Any] | None  # rows × classes
    values: npt.NDArray[Any] | None
    seconds: float  # in the model
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> list[Label] | None:
        """Each row's class, with the class's own JSON type."""
        return None if self.indices is None else [self.classes[index] for index in self.indices.tolist()]


@dataclass(frozen=True)
class Compiled:
    """A model's compiled form as its runner made it, or the sentence that says why there is none."""

    form: bytes | None
    reason: str = ""
    seconds: float = 0.0


# --- rows out ---


def pack(table: pa.Table, columns: Sequence[tuple[str, str]]) -> bytes:
    sink = pa.BufferOutputStream()
    try:
        rows = _as_schema(table, columns)
    except pa.ArrowException as error:
        raise ModelError(
            _("The rows do not fit the model's schema."), code="wrong_type", detail=str(error)[:MAX_DETAIL]
        ) from None
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _as_schema(table: pa.Table, columns: Sequence[tuple[str, str]]) -> pa.Table:
    """The schema's columns, in its order and as its types; a column that the rows lack is missing in every row."""
    present = set(table.column_names)
    return pa.table(
        {
            name: typed(table.column(name), kind)
            if name in present
            else pa.nulls(table.num_rows, ARROW_TYPES.get(kind, pa.float64()))
            for name, kind in columns or [(name, "") for name in table.column_names]
        }
    )


def typed(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """A column as its schema type travels; raises ArrowInvalid where a value is of another type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    wanted = ARROW_TYPES.get(kind)
    return column if wanted is None or column.type == wanted else column.cast(wanted)


# --- answers in ---


def read_answer(reply: dict[str, Any], facts: Facts, rows: int, positive: Label | None) -> Answer:
    if reply.get("ok") is not True:
        code = "model_memory" if reply.get("code") == "memory" else "model_failed"
        raise ModelError(
            _("The model failed on these rows."), code=code, detail=claims.text(reply.get("error"))
        )
    seconds, warnings = claims.seconds(reply.get("seconds")), tuple(claims.texts(reply.get("warnings")))
    if not facts.is_classifier:
        values = arrays.unpack(reply.get("values"), (rows,), "<f8")
        return Answer((), None, None, values, seconds, warnings)
    indices = arrays.unpack(reply.get("labels"), (rows,), "<i4")
    if rows and (indices.min() < 0 or indices.max() >= len(facts.classes)):
        raise wire.BadFrame("a label that is not among the classes")
    probabilities = None
    if facts.has_probabilities:
        probabilities = arrays.unpack(reply.get("probabilities"), (rows, len(facts.classes)), "<f8")
    return Answer(
        facts.classes,
        indices,
        probabilities,
        positive_column(probabilities, facts.classes, positive),
        seconds,
        warnings,
    )


def read_compiled(reply: dict[str, Any]) -> Compiled:
    seconds = claims.seconds(reply.get("seconds"))
    if reply.get("ok") is not True:
        return Compiled(None, claims.text(reply.get("error")), seconds)
    form = reply.get("form")
    if form is None:
        return Compiled(None, claims.text(reply.get("reason")), seconds)
    if not isinstance(form, bytes):
        raise wire.BadFrame("compiled form")
    return Compiled(form, "", seconds)


def positive_column(
    probabilities: npt.NDArray[Any] | None, classes: Sequence[Label], positive: Label | None
) -> npt.NDArray[Any] | None:
    """The positive class's column, when there are two classes; the second one where the schema names none."""
    if probabilities is None or len(classes) != 2:
        return None
    return np.ascontiguousarray(probabilities[:, classes.index(positive) if positive in classes else 1])
