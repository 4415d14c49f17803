"""Results as files: the person's own columns untouched and in order, ours after them, rows in the input's order.

In the CSV for people a spreadsheet finds nothing to run. The raw CSV and Parquet are for machines and change nothing.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inference import csvfile
from inference.batches import files, parts
from inference.csvfile import Reading
from inference.models.batches import BatchChunk, BatchJob
from registry import spreadsheet
from registry.schema import Label

BOM = "\ufeff"
REASONS = 3


@dataclass(frozen=True)
class Layout:
    """The columns of a result: the header as it came, then ours under names that are not taken."""

    reading: Reading
    classes: tuple[Label, ...]
    has_probabilities: bool
    version: str
    has_reasons: bool = False

    @property
    def own_names(self) -> list[str]:
        chances = [f"probability_{label}" for label in self.classes] if self.has_probabilities else []
        reasons = [f"reason_{n + 1}" for n in range(REASONS)] if self.has_reasons else []
        return ["prediction", *chances, *reasons, "model_version", "row_status", "row_error"]

    @property
    def header(self) -> list[str]:
        taken = {name.strip() for name in self.reading.header}
        return [*self.reading.header, *(_free(name, taken) for name in self.own_names)]

    def own_cells(self, columns: dict[str, list[Any]]) -> list[Iterable[Any]]:
        count = len(columns[parts.STATUS])
        answers = columns[parts.LABEL] if self.classes else columns[parts.VALUE]
        chances = [
            columns.get(parts.probability_column(n), [None] * count)
            for n in range(len(self.classes) if self.has_probabilities else 0)
        ]
        whys = _reasons(columns.get(parts.WHY, [None] * count)) if self.has_reasons else []
        version = [self.version if status == parts.SCORED else None for status in columns[parts.STATUS]]
        return [answers, *chances, *whys, version, columns[parts.STATUS], columns[parts.ERROR]]


def _reasons(whys: Sequence[str | None]) -> list[list[str]]:
    """The strongest reasons, a column each: the field, its value, and what it added."""
    told = [json.loads(why)["reasons"][:REASONS] if why else [] for why in whys]
    return [[_reason(each[n]) if n < len(each) else "" for each in told] for n in range(REASONS)]


def _reason(reason: Mapping[str, Any]) -> str:
    value = "–" if reason["value"] is None else reason["value"]
    return f"{reason['field']} = {value}: {reason['contribution']:+.4g}"


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name}__{number}", number + 1
    taken.add(free)
    return free


def layout_of(job: BatchJob) -> Layout:
    answers = job.reading.get("answers", {})
    return Layout(
        reading=Reading.from_json(job.reading["file"]),
        classes=tuple(answers.get("classes", ())),
        has_probabilities=bool(answers.get("probabilities")),
        version=f"v{job.version.number}",
        has_reasons=bool(job.options.get("explain")),
    )


def renamed(job: BatchJob) -> dict[str, str]:
    """Our columns that had to take another name, because the file has one of that name."""
    layout = layout_of(job)
    given = layout.header[len(layout.reading.header) :]
    return {name: other for name, other in zip(layout.own_names, given, strict=True) if name != other}


def done_chunks(job: BatchJob) -> list[BatchChunk]:
    return list(job.chunks.filter(state=BatchChunk.State.DONE).order_by("index"))


def open_part(chunk: BatchChunk) -> pa.Table:
    with files.local_copy(chunk.part_key) as path:
        return parts.read(path)


class Sheet:
    """Writes columns of text as CSV, in the delimiter of the input."""

    def __init__(self, out: IO[str], delimiter: str, *, raw: bool = False) -> None:
        self.raw = raw
        self.plain = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        # Python leaves a lone carriage return unquoted, which readers take for the end of the line.
        self.quoted = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(self, columns: Sequence[Sequence[str]]) -> None:
        safe = columns if self.raw else [spreadsheet.escape_all(values) for values in columns]
        has_returns = any("\r" in value for values in safe for value in values)
        (self.quoted if has_returns else self.plain).writerows(zip(*safe, strict=True))

    def write_header(self, names: Iterable[str]) -> None:
        self.write([[name] for name in names])


def write_result(out: IO[str], layout: Layout, tables: Iterator[pa.Table], *, raw: bool = False) -> None:
    sheet = Sheet(out, layout.reading.delimiter, raw=raw)
    sheet.write_header(layout.header)
    for table in tables:
        names = parts.cell_columns(table)
        for columns in parts.rows(table):
            own = [[_text(value) for value in values] for values in layout.own_cells(columns)]
            sheet.write([*(columns[name] for name in names), *own])


def _text(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def write_problems(out: IO[str], layout: Layout, tables: Iterator[pa.Table]) -> None:
    """Rows that could not be scored, to be mended and sent again: their cells, then where, what and how."""
    taken = {name.strip() for name in layout.reading.header}
    sheet = Sheet(out, layout.reading.delimiter)
    sheet.write_header(
        [*layout.reading.header, *(_free(name, taken) for name in ("row_number", "problem", "how_to_fix"))]
    )
    for table in tables:
        bad = table.filter(pc.equal(table[parts.STATUS], parts.INVALID))
        names = parts.cell_columns(bad)
        for columns in parts.rows(bad):
            numbers = [str(layout.reading.number(row)) for row in columns[csvfile.ROW]]
            told = [[_text(value) for value in columns[name]] for name in (parts.ERROR, parts.FIX)]
            sheet.write([*(columns[name] for name in names), numbers, *told])


def write_parquet(path: Path, layout: Layout, tables: Iterator[pa.Table]) -> None:
    """The same result with typed columns of ours."""
    writer = None
    try:
        for table in tables:
            piece = _typed(layout, table)
            writer = writer or pq.ParquetWriter(path, piece.schema, compression="zstd")
            writer.write_table(piece)
    finally:
        if writer is not None:
            writer.close()


def _typed(layout: Layout, table: pa.Table) -> pa.Table:
    cells = [table[name] for name in parts.cell_columns(table)]
    answers = table[parts.LABEL] if layout.classes else table[parts.VALUE]
    count = len(layout.classes) if layout.has_probabilities else 0
    empty = pa.nulls(len(table), pa.float64())
    names = [parts.probability_column(n) for n in range(count)]
    chances = [table[name] if name in table.column_names else empty for name in names]
    is_scored = pc.equal(table[parts.STATUS], parts.SCORED)
    version = pc.if_else(is_scored, layout.version, pa.scalar(None, pa.string()))
    whys = table[parts.WHY].to_pylist() if layout.has_reasons and parts.WHY in table.column_names else None
    told = _reasons(whys or [None] * len(table)) if layout.has_reasons else []
    reasons = [pa.array([text or None for text in column], pa.string()) for column in told]
    own = [answers, *chances, *reasons, version, table[parts.STATUS], table[parts.ERROR]]
    return pa.Table.from_arrays([*cells, *own], names=layout.header)
