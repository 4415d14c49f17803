"""Reading an uploaded table in constant memory: any delimited text, gzipped text, or Parquet, as columns of text.

Nothing is guessed in silence: how the file was read is part of the answer (`Reading`), with a note for each guess.
Every record is accounted for: an empty one is counted as ignored, one of the wrong length is kept with its problem.
Row numbers in messages are those of a spreadsheet: the header is row 1.
"""

import codecs
import csv
import gzip
import io
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from django.utils.translation import gettext as _

from registry import delimited, tables
from registry.errors import FieldError, Invalid, TooLarge
from registry.schema import Schema

#: Names of our own columns beside the text columns `c0`, `c1`, … of a block.
ROW, PROBLEM = "row", "problem"
#: A gzip file may not grow beyond this many times its size, once it is past the first megabytes.
MAX_EXPANSION = 200
SAMPLE_BYTES = 2**18
#: What a Parquet file may hold once its values are written out.
MAX_UNPACKED = 2**33
BLOCK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file was read, in words and in values; kept with the job."""

    kind: str  # csv or parquet
    header: tuple[str, ...]
    encoding: str = ""
    delimiter: str = ","
    decimal: str = "."
    first_number: int = 2  # the spreadsheet's number of the first data row
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "header": list(self.header),
            "encoding": self.encoding,
            "delimiter": self.delimiter,
            "decimal": self.decimal,
            "first_number": self.first_number,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Reading":
        return cls(**{**data, "header": tuple(data["header"]), "notes": tuple(data["notes"])})

    def number(self, row: int) -> int:
        """The number under which a spreadsheet shows a row of ours."""
        return row + self.first_number


@dataclass(frozen=True)
class Block:
    """Consecutive records: `rows` of them from `first_row` on, of which the ignored ones are not in the table."""

    first_row: int
    rows: int
    table: pa.Table

    @property
    def ignored(self) -> int:
        return self.rows - len(self.table)


@dataclass
class Upload:
    """A file that was recognised and whose header was read; `blocks` then reads it once."""

    path: Path
    reading: Reading
    average: float = field(default=0.0)  # bytes of a record in the sample, for the size of chunks

    @property
    def estimated_rows(self) -> int:
        if self.reading.kind == "parquet":
            return int(pq.read_metadata(self.path).num_rows)
        return int(self.path.stat().st_size / self.average) if self.average else 0

    def blocks(self, rows: int) -> Iterator[Block]:
        if self.reading.kind == "parquet":
            return _parquet_blocks(self.path, rows)
        return _csv_blocks(self.path, self.reading, rows)


def column_name(position: int) -> str:
    return f"c{position}"


# Recognising


def is_gzip(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b")


def is_parquet(head: bytes) -> bool:
    return head.startswith(b"PAR1")


def refuse_early(head: bytes) -> None:
    """Refuse by its first bytes what is no table at all, before anything is stored."""
    if not head.strip(b"\x00\xef\xbb\xbf \r\n\t"):
        raise _empty()
    if not is_gzip(head) and not is_parquet(head):
        delimited.refuse_foreign(head)


def unpack(packed: IO[bytes], target: Path, *, limit: int) -> None:
    """Write the file as it is, or unpacked if it is gzipped; a bomb is stopped while it grows."""
    head = packed.read(4)
    packed.seek(0)
    if not is_gzip(head):
        with target.open("wb") as out:
            shutil.copyfileobj(packed, out, BLOCK_BYTES)
        return
    written = 0
    try:
        with gzip.GzipFile(fileobj=packed) as plain, target.open("wb") as out:
            while block := plain.read(BLOCK_BYTES):
                written += len(block)
                _stop_bomb(written, packed.tell(), limit)
                out.write(block)
    except (OSError, EOFError) as exc:
        raise Invalid(
            _("The gzip file is damaged or cut off."), code="bad_gzip", fix=_("Compress the file again.")
        ) from exc


def _stop_bomb(written: int, read: int, limit: int) -> None:
    if written > limit:
        raise TooLarge(
            _("Unpacked, the file is larger than %(mib)d MiB.") % {"mib": limit // 2**20},
            code="too_large",
            fix=_("Split it into smaller files."),
        )
    if written > 16 * BLOCK_BYTES and written > MAX_EXPANSION * max(read, 1):
        raise TooLarge(
            _("The gzip file grows to more than %(times)d times its size.") % {"times": MAX_EXPANSION},
            code="too_large",
            fix=_("Send the file without compression."),
        )


def recognise(path: Path, *, encoding: str = "", delimiter: str = "", decimal: str = ".") -> Upload:
    """Find out how a table is written and read its header; refuse with a sentence what cannot be read."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    refuse_early(head)
    if is_parquet(head):
        return _recognise_parquet(path)
    delimited.refuse_foreign(head)
    return _recognise_csv(path, head, encoding, delimiter, decimal)


def _empty() -> Invalid:
    return Invalid(
        _("The file is empty."),
        code="empty_file",
        fix=_("Choose a file with a line of column names and rows."),
    )


def _recognise_parquet(path: Path) -> Upload:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as exc:
        raise Invalid(
            _("The Parquet file is damaged."), code="bad_parquet", fix=_("Write it again.")
        ) from exc
    refuse_bad_names(schema.names)
    return Upload(path, Reading(kind="parquet", header=tuple(schema.names), encoding="utf-8"))


def _recognise_csv(path: Path, head: bytes, encoding: str, delimiter: str, decimal: str) -> Upload:
    used, notes = find_encoding(path, head, encoding)
    sample = codecs.getincrementaldecoder(used)().decode(head)
    whole = len(head) < SAMPLE_BYTES
    if not whole:
        sample = sample[: sample.rfind("\n") + 1] or sample
    declared, sample = _sep_line(sample)
    mark = delimiter or declared or delimited.detect_delimiter(sample)
    if mark != "," and not delimiter and not declared:
        names = {"\t": _("tab characters"), ";": "“;”", "|": "“|”"}
        notes.append(_("Columns are separated by %(mark)s.") % {"mark": names.get(mark, mark)})
    with _text(path, used) as text:
        header, position = _header(_records(text, mark))
    if len(header) == 1 and not delimiter and not declared:
        notes.append(_("Only one column found. If that is wrong, choose the separator."))
    refuse_bad_names(header)
    reading = Reading(
        kind="csv",
        header=header,
        encoding=used,
        delimiter=mark,
        decimal=decimal,
        first_number=position + 1,
        notes=tuple(notes),
    )
    return Upload(path, reading, _average(sample, mark, len(head)))


def _average(sample: str, delimiter: str, size: int) -> float:
    records = sum(1 for _record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter))
    return size / max(records, 1)


def _sep_line(text: str) -> tuple[str, str]:
    """Excel's own first line `sep=;`: the separator it names, and the text after it."""
    found = re.match(r'\ufeff?"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    return (found.group(1), text[found.end() :]) if found else ("", text)


def find_encoding(path: Path, head: bytes, asked: str = "") -> tuple[str, list[str]]:
    """The encoding of a whole file: its mark, else strict UTF-8, else Windows-1252 with a note."""
    if asked:
        _refuse_undecodable(path, find_encoding_name(asked))
        return find_encoding_name(asked), []
    if head.startswith(codecs.BOM_UTF8):
        _refuse_undecodable(path, "utf-8-sig")
        return "utf-8-sig", []
    if wide := _utf16(head):
        _refuse_undecodable(path, wide)
        return wide, [_("Read as UTF-16.")]
    if b"\x00" in head:
        raise Invalid(_("This is not a text file."), code="not_text", fix=_("In Excel: Save as → CSV UTF-8."))
    if first_undecodable(path, "utf-8") is None:
        return "utf-8", []
    _refuse_undecodable(path, "cp1252")
    return "cp1252", [_("The file is not UTF-8. Read as Windows-1252: check that names look right.")]


def find_encoding_name(encoding: str) -> str:
    """Python's own name of a text encoding; refused when there is none."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, ValueError):
        raise _bad_option("encoding", encoding, "utf-8, utf-16, cp1252, …") from None
    return "utf-8-sig" if name == "utf-8" else name


def _bad_option(name: str, value: object, expected: str) -> Invalid:
    error = FieldError(field=f"options.{name}", code="bad_option", value=str(value), expected=expected)
    return Invalid(
        _("The option “%(name)s” is not valid: %(value)s.") % {"name": name, "value": value},
        code="bad_option",
        fix=_("Expected: %(expected)s.") % {"expected": expected},
        errors=[error],
    )


def _utf16(head: bytes) -> str:
    """UTF-16 by its mark, or by every second byte being zero."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[:1000]
    if sample[1::2].count(0) > len(sample) * 0.4:
        return "utf-16-le"
    return "utf-16-be" if sample[0::2].count(0) > len(sample) * 0.4 else ""


def first_undecodable(path: Path, encoding: str) -> int | None:
    """The line of the first bytes that the encoding does not know; None if it reads the whole file."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line = 1
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeDecodeError as exc:
                return line + block[: exc.start].count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return line
    return None


def _refuse_undecodable(path: Path, encoding: str) -> None:
    if (line := first_undecodable(path, encoding)) is not None:
        raise Invalid(
            _("Row %(row)d has characters we cannot read.") % {"row": line},
            code="bad_encoding",
            fix=_("Save the file as CSV UTF-8 in Excel and upload it again."),
        )


# Headers


def normalise(name: str) -> str:
    """Names are equal when only case, blanks, underscores and hyphens differ."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFC", name).lstrip("\ufeff").casefold())


def refuse_bad_names(header: Sequence[str]) -> None:
    tables.refuse_zero_bytes(header)
    counts = Counter(name.strip() for name in header if name.strip())
    if twice := [name for name, count in counts.items() if count > 1]:
        raise Invalid(
            _("Column names occur more than once: %(names)s.") % {"names": ", ".join(twice)},
            code="duplicate_columns",
            fix=_("Give every column a name of its own."),
            errors=[FieldError(field=name, code="duplicate_columns") for name in twice],
        )


def match_columns(
    header: Sequence[str], schema: Schema, mapping: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Find the column of each field of the schema; all that is missing or ambiguous is told at once.

    `mapping` says by hand: name of the field → name of the column.
    """
    errors = [
        FieldError(field=name, code="unknown_field", expected=", ".join(schema.names))
        for name in mapping or {}
        if name not in schema.names
    ]
    found: dict[str, int] = {}
    for each in schema.fields:
        wanted = (mapping or {}).get(each.name, each.name)
        positions = _positions(header, wanted)
        if len(positions) == 1:
            found[each.name] = positions[0]
        elif positions:
            errors.append(
                FieldError(field=each.name, code="ambiguous_column", value=[header[n] for n in positions])
            )
        elif each.required or each.name in (mapping or {}):
            errors.append(FieldError(field=each.name, code="missing_column", expected=wanted))
    used = Counter(found.values())
    errors += [
        FieldError(field=name, code="shared_column", value=header[position])
        for name, position in found.items()
        if used[position] > 1
    ]
    if errors:
        raise _unmatched(errors)
    return found


def _positions(header: Sequence[str], wanted: str) -> list[int]:
    exact = [n for n, name in enumerate(header) if name.strip() == wanted]
    return exact or [n for n, name in enumerate(header) if normalise(name) == normalise(wanted)]


def _unmatched(errors: list[FieldError]) -> Invalid:
    said = {
        "missing_column": _("Missing: %(names)s."),
        "ambiguous_column": _("More than one column fits: %(names)s."),
        "shared_column": _("One column cannot serve several fields: %(names)s."),
        "unknown_field": _("The model has no such field: %(names)s."),
    }
    named = {code: [each["field"] for each in errors if each["code"] == code] for code in said}
    sentences = [said[code] % {"names": ", ".join(names)} for code, names in named.items() if names]
    return Invalid(
        " ".join(sentences),
        code=errors[0]["code"],
        fix=_("Rename the columns as in the template, or download the template and fill it in."),
        errors=errors,
    )


# Records


def _text(path: Path, encoding: str) -> IO[str]:
    text = path.open(encoding=encoding, newline="")
    start = text.readline(20)
    if not _sep_line(start)[0]:
        text.seek(0)
    return text


def _records(text: IO[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(delimited.CELL_LIMIT)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        started = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise _bad_record(exc, started, reader.line_num) from exc
        yield record


def _bad_record(exc: csv.Error, started: int, line: int) -> Invalid:
    said = str(exc)
    if "unexpected end" in said:
        message = _("A quote opened at line %(line)d never closes.") % {"line": started}
    elif "field larger" in said:
        message = _("Line %(line)d holds a cell that is too long, or a quote that never closes.") % {
            "line": started
        }
    else:
        message = _("Line %(line)d has text after a closing quote.") % {"line": line}
    return Invalid(message, code="bad_quotes", fix=_('Write a quote inside a quoted cell twice: "".'))


def is_empty(record: Sequence[str]) -> bool:
    return not any(cell and not cell.isspace() for cell in record)


def _header(records: Iterator[list[str]]) -> tuple[tuple[str, ...], int]:
    """The first line that is not empty, and its number."""
    for number, record in enumerate(records, start=1):
        if not is_empty(record):
            names = [name.lstrip("\ufeff").strip() for name in record]
            while names and not names[-1]:
                names.pop()
            return tuple(names), number
    raise _empty()


def _csv_blocks(path: Path, reading: Reading, rows: int) -> Iterator[Block]:
    with _text(path, reading.encoding) as text:
        records = _records(text, reading.delimiter)
        _header(records)
        first, seen = 0, 0
        kept: list[list[str]] = []
        numbers: list[int] = []
        for record in records:
            if record and not is_empty(record):
                kept.append(record)
                numbers.append(first + seen)
            seen += 1
            if seen == rows:
                yield _block(first, seen, kept, numbers, reading.header)
                first, seen, kept, numbers = first + seen, 0, [], []
        if seen:
            yield _block(first, seen, kept, numbers, reading.header)


def _block(
    first: int, rows: int, records: list[list[str]], numbers: list[int], header: Sequence[str]
) -> Block:
    width = len(header)
    problems: list[str | None] = [None] * len(records)
    for n, record in enumerate(records):
        if len(record) != width:
            problems[n] = _fit(record, width)
    columns = zip(*records, strict=True) if records else ((),) * width
    arrays = [pa.array(column, pa.string()) for column in columns]
    return Block(first, rows, table_of(arrays, numbers, problems))


def _fit(record: list[str], width: int) -> str | None:
    """Give a record the header's length; surplus cells that are empty are no problem."""
    found = len(record)
    surplus = record[width:]
    record[:] = (record + [""] * width)[:width]
    if found > width and is_empty(surplus):
        return None
    return f"{found}/{width}"


def table_of(arrays: Sequence[pa.Array], numbers: Sequence[int], problems: Sequence[str | None]) -> pa.Table:
    names = [column_name(n) for n in range(len(arrays))]
    own = [pa.array(numbers, pa.int64()), pa.array(problems, pa.string())]
    return pa.table([*arrays, *own], names=[*names, ROW, PROBLEM])


def _parquet_blocks(path: Path, rows: int) -> Iterator[Block]:
    first = 0
    with tables.open_parquet(path) as file:
        for batch in tables.parquet_batches(file, rows, limit=MAX_UNPACKED):
            arrays = [_as_text(column) for column in batch.columns]
            numbers = range(first, first + len(batch))
            yield Block(first, len(batch), table_of(arrays, numbers, [None] * len(batch)))
            first += len(batch)


def _as_text(column: pa.Array) -> pa.Array:
    """Any column as text that reads back to the same value; a missing one is an empty cell."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        text = column.cast(pa.string())
    except pa.ArrowException:
        text = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return pc.fill_null(text, "")
