"""Results as files: the person's own columns untouched and in order, ours after them, rows in the input's order.

In the CSV for people a spreadsheet finds nothing to run. The raw CSV and Parquet are for machines and change nothing.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog
from django.utils.translation import gettext as _

from inference import csvfile
from inference.batches import parts
from inference.csvfile import Reading
from inference.models.batches import BatchChunk, BatchJob
from registry import spreadsheet, storage
from registry.errors import Unavailable
from registry.schema import Label

logger = structlog.get_logger(__name__)

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


def part_bytes(chunk: BatchChunk) -> bytes | None:
    """The part as it was written; None if it is missing or not the one that was counted."""
    try:
        return storage.read_intact(chunk.part_key, chunk.sha256)
    except FileNotFoundError:
        return None


def open_part(chunk: BatchChunk) -> pa.Table:
    """The part's rows. Unavailable (503) when it is damaged."""
    part = part_bytes(chunk)
    if part is None and _is_replaced(chunk):
        part = part_bytes(chunk)
    if part is None:
        logger.error("batch_part_damaged", job=chunk.job_id, chunk=chunk.index)
        raise Unavailable(
            _("Some rows of this job cannot be read: the file %(file)s is missing or damaged.")
            % {"file": chunk.part_key},
            code="batch_part_damaged",
            fix=_("An administrator can put it back from a backup; or score the file again."),
        )
    return parts.read(pa.BufferReader(part))


def _is_replaced(chunk: BatchChunk) -> bool:
    """Was a row erased a moment ago? Then the part has another name and another hash now."""
    before = chunk.part_key
    chunk.refresh_from_db(fields=["part_key", "sha256"])
    return chunk.part_key != before


def store(key: str, write: Callable[[IO[str]], None]) -> None:
    """Keep a sheet as a file in storage."""
    with storage.scratch(".csv") as path:
        with path.open("wb") as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as out:
            out.write(BOM)
            write(out)
        storage.put(key, path)


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
