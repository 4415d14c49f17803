"""Rows and answers as one file under its hash; and what counts as the same answer."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from inference.models import GoldenSet
from inference.runners import Answer
from inference.runners.answers import typed
from registry import artifacts
from registry.models import ModelVersion

COUNT = 100
#: Between engines that are allowed to answer the same version; labels are equal or they are not.
SAME = 1e-6
LIMIT = 64 << 20

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """The rows as they are asked, and the answers as they were given."""

    inputs: pa.Table
    indices: Array | None
    probabilities: Array | None
    values: Array | None


def freeze(version: ModelVersion, inputs: pa.Table, answer: Answer, origin: str) -> GoldenSet:
    """Keep rows and answers. What is kept already stays as it is."""
    known = GoldenSet.objects.filter(version=version).first()
    if known is not None:
        return known
    buffer = io.BytesIO()
    pq.write_table(_as_table(version, inputs, answer), buffer)
    buffer.seek(0)
    with artifacts.receive(buffer, LIMIT) as received:
        artifacts.keep(received)
    golden, _created = GoldenSet.objects.get_or_create(
        version=version,
        defaults={
            "origin": origin,
            "rows": inputs.num_rows,
            "classes": list(answer.classes),
            "sha256": received.sha256,
        },
    )
    return golden


def read(golden: GoldenSet) -> Golden:
    with artifacts.open_artifact(golden.sha256) as file:
        table = pq.read_table(io.BytesIO(file.read()))
    answers = table.column("answer").combine_chunks()
    inputs = table.column("inputs").combine_chunks()
    return Golden(
        inputs=pa.table(inputs.flatten(), names=[each.name for each in inputs.type]),
        indices=_numbers(answers.field("index")),
        probabilities=_matrix(answers.field("probabilities"), len(golden.classes)),
        values=_numbers(answers.field("value")),
    )


def moved(golden: GoldenSet, frozen: Golden, answer: Answer) -> list[int]:
    """The rows, counted from 0, whose answer is another one now."""
    everything = list(range(golden.rows))
    if [*map(_exact, answer.classes)] != [*map(_exact, golden.classes)]:
        return everything
    now = (answer.indices, answer.probabilities, answer.values)
    then = (frozen.indices, frozen.probabilities, frozen.values)
    differs = np.zeros(golden.rows, dtype=bool)
    for one, other, tolerance in zip(then, now, (0.0, SAME, _tolerance(frozen)), strict=True):
        if (one is None) != (other is None) or (one is not None and one.shape != other.shape):  # type: ignore[union-attr]
            return everything
        if one is not None:
            apart = ~(np.abs(one - other) <= tolerance)  # what is not a number is apart from everything
            differs |= apart.any(axis=1) if apart.ndim > 1 else apart
    return np.flatnonzero(differs).tolist()


def _exact(label: Any) -> tuple[type, Any]:
    return type(label), label


def _tolerance(frozen: Golden) -> Any:
    """Of `values`: absolute for a probability, relative to the size of the answers for a regression."""
    if frozen.indices is not None or frozen.values is None:
        return SAME
    size = np.abs(frozen.values)
    return SAME * np.maximum(size, size.max(initial=0.0) * 1e-3)


def _as_table(version: ModelVersion, inputs: pa.Table, answer: Answer) -> pa.Table:
    kinds = {each["name"]: each["type"] for each in version.schema.get("fields", [])}
    columns = {name: typed(inputs.column(name), kind) for name, kind in kinds.items()}
    count, nothing = inputs.num_rows, pa.nulls(inputs.num_rows, pa.float64())
    shares = answer.probabilities
    kept = {
        "index": pa.nulls(count, pa.int32()) if answer.indices is None else pa.array(answer.indices),
        "probabilities": pa.nulls(count, pa.list_(pa.float64()))
        if shares is None
        else pa.array(shares.tolist(), pa.list_(pa.float64())),
        "value": nothing if answer.values is None else pa.array(answer.values, pa.float64()),
    }
    return pa.table({"inputs": _struct(columns), "answer": _struct(kept)})


def _struct(columns: dict[str, Any]) -> pa.StructArray:
    whole = [
        each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in columns.values()
    ]
    return pa.StructArray.from_arrays(whole, names=list(columns))


def _numbers(column: pa.Array) -> Array | None:
    return None if column.null_count == len(column) else np.asarray(column)


def _matrix(column: pa.Array, width: int) -> Array | None:
    if column.null_count == len(column):
        return None
    return np.asarray(column.flatten()).reshape(len(column), width)
