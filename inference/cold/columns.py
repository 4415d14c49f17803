"""Predictions as columns of a Parquet file, and back.

`id`, `at`, the facts of the call, `label`, `value`, `probability_<class>`, `warnings` and `why` as JSON, and
`input_<field>` with the type that the version's schema gives it. Where those cells would not give back the very inputs
that were asked, the row holds them in `inputs_json` too. Rows are in the order of their ids: one is found without
decoding all.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inference.validation import ARROW_TYPES
from registry.schema import Schema

INPUT, PROBABILITY = "input_", "probability_"
ID, WHY, EXACT = "id", "why", "inputs_json"

#: What a row is made of, as a query names it; the rest is computed.
FACTS: Mapping[str, pa.DataType] = {
    "at": pa.timestamp("us", tz="UTC"),
    "environment": pa.string(),
    "channel": pa.string(),
    "release_number": pa.int64(),
    "user_id": pa.int64(),
    "user_name": pa.string(),
    "key_name": pa.string(),
    "request_id": pa.string(),
    "latency_ms": pa.float64(),
    "value": pa.float64(),
}
JSON = ("label", "probabilities", "warnings", "why", "inputs")


class Details(NamedTuple):
    """What a look-up row gives away when it becomes cold."""

    inputs: dict[str, Any]
    why: dict[str, Any] | None


def table_of(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as `values("public_id", *FACTS, *JSON)` gives them."""
    columns = {ID: pa.array([row["public_id"] for row in rows], pa.string())}
    columns |= {name: pa.array([row[name] for row in rows], kind) for name, kind in FACTS.items()}
    columns["label"] = pa.array([_text(row["label"]) for row in rows], pa.string())
    for name in dict.fromkeys(map(str, schema.target.classes)):
        chances = [(row["probabilities"] or {}).get(name) for row in rows]
        columns[PROBABILITY + name] = pa.array(chances, pa.float64())
    for name in ("warnings", WHY):
        columns[name] = pa.array([_json(row[name]) for row in rows], pa.string())
    inputs = [row["inputs"] for row in rows]
    cells = {each.name: _cells(each.name, ARROW_TYPES[each.type], inputs) for each in schema.fields}
    columns |= {INPUT + name: column for name, column in cells.items()}
    columns[EXACT] = pa.array(_inexact(cells, inputs), pa.string())
    return pa.table(columns)


def write(pieces: Iterable[pa.Table], file: Any) -> int:
    """Each piece becomes a row group; how many rows. Bounds are kept of the ids, and of no input."""
    writer, count = None, 0
    try:
        for piece in pieces:
            writer = writer or pq.ParquetWriter(file, piece.schema, compression="zstd", write_statistics=[ID])
            writer.write_table(piece)
            count += len(piece)
    finally:
        if writer is not None:
            writer.close()
    return count


def details(data: bytes, ids: Sequence[str], fields: Sequence[str] | None = None) -> dict[str, Details]:
    """What the file says of those ids, from the row groups that may hold them. `fields`: only these inputs."""
    with pq.ParquetFile(io.BytesIO(data)) as file:
        groups = _groups_with(file.metadata, ids)
        names = [name for name in file.schema_arrow.names if name.startswith(INPUT)]
        if fields is not None:
            names = [name for name in names if name.removeprefix(INPUT) in fields]
        table = file.read_row_groups(groups, columns=[ID, WHY, EXACT, *names])
    wanted = pa.array(ids, pa.string())
    found = table.filter(pc.is_in(table[ID], wanted)).to_pylist()
    return {row[ID]: Details(_inputs(row, names), _read(row[WHY])) for row in found}


def pieces_without(data: bytes, kept: set[str]) -> Iterator[pa.Table]:
    """The file's row groups with the rows of those ids only."""
    wanted = pa.array(sorted(kept), pa.string())
    with pq.ParquetFile(io.BytesIO(data)) as file:
        for position in range(file.num_row_groups):
            table = file.read_row_group(position)
            rest = table.filter(pc.is_in(table[ID], wanted))
            if len(rest):
                yield rest


def _groups_with(metadata: pq.FileMetaData, ids: Sequence[str]) -> list[int]:
    place = metadata.schema.names.index(ID)
    groups = []
    for position in range(metadata.num_row_groups):
        bounds = metadata.row_group(position).column(place).statistics
        if bounds is None or any(bounds.min <= each <= bounds.max for each in ids):
            groups.append(position)
    return groups


def _cells(name: str, kind: pa.DataType, inputs: Sequence[Mapping[str, Any]]) -> pa.Array:
    try:
        return pa.array([each.get(name) for each in inputs], kind)
    except (pa.ArrowException, OverflowError):
        return pa.nulls(len(inputs), kind)


def _inexact(cells: Mapping[str, pa.Array], inputs: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """As JSON, the inputs that the cells do not tell to the last bit and type."""
    names = list(cells)
    told = zip(*(cells[name].to_pylist() for name in names), strict=True) if names else [()] * len(inputs)
    exact = []
    for given, values in zip(inputs, told, strict=True):
        text = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
        same = orjson.dumps(dict(zip(names, values, strict=True)), option=orjson.OPT_SORT_KEYS) == text
        exact.append(None if same else text.decode())
    return exact


def _inputs(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    if row[EXACT] is not None:
        inputs: dict[str, Any] = orjson.loads(row[EXACT])
        return inputs
    return {name.removeprefix(INPUT): row[name] for name in names}


def _text(label: Any) -> str | None:
    return None if label is None else str(label)


def _json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


def _read(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
