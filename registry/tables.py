"""Reference data as a table: CSV or Parquet bytes in, typed columns out, or a sentence that says what to mend.

A CSV has no types, so they are taken from the values, the same way for every reader: a column is a number only if all
of its values are. Anything that is not plainly a number stays text; nothing is coerced.
"""

import io
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from django.utils.translation import gettext as _

from registry import artifacts, delimited
from registry.errors import Invalid, TooLarge
from registry.schema import plain

if TYPE_CHECKING:
    from registry.models import Dataset

MAX_BYTES = 512 * 1024 * 1024
MAX_ROWS = 5_000_000
MAX_COLUMNS = 2_000
BATCH_ROWS = 10_000
MAX_PIECE = 512 * 1024 * 1024
MISSING_MARKS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL")
NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?$"
INTEGER = r"^[+-]?[0-9]{1,18}$"
_BOOLEANS = pa.array(["true", "false"])


def read_dataset(dataset: "Dataset") -> pa.Table:
    """The stored table of a dataset."""
    with artifacts.open_artifact(dataset.sha256) as file:
        return read_table(file)


def read_table(file: IO[bytes]) -> pa.Table:
    """Read a whole reference file, CSV or Parquet by its content, and refuse what cannot be a table."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(
            _("The file is larger than %(limit)d MiB.") % {"limit": MAX_BYTES // 2**20},
            fix=_("A reference of some ten thousand rows is enough: send a sample."),
        )
    if not data:
        raise Invalid(_("The file is empty."), code="empty_file", fix=_("Choose a CSV or Parquet file."))
    table = _read_parquet(data) if data[:4] == b"PAR1" else read_csv(data)
    return _within_limits(table)


def _within_limits(table: pa.Table) -> pa.Table:
    refuse_zero_bytes(table.column_names)
    duplicated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if duplicated:
        raise Invalid(
            _("Several columns are called %(names)s.") % {"names": ", ".join(duplicated)},
            code="duplicate_column",
            fix=_("Give every column its own name."),
        )
    if not len(table):
        raise Invalid(
            _("The file has column names but no rows."),
            code="no_rows",
            fix=_("Add rows below the column names."),
        )
    if len(table) > MAX_ROWS or table.num_columns > MAX_COLUMNS:
        raise TooLarge(
            _(
                "The file has %(rows)d rows and %(columns)d columns; the limits are %(max_rows)d and %(max_columns)d."
            )
            % {
                "rows": len(table),
                "columns": table.num_columns,
                "max_rows": MAX_ROWS,
                "max_columns": MAX_COLUMNS,
            },
            fix=_("Send a sample, and only the columns that the model reads."),
        )
    _refuse_zero_cells(table)
    return table


def refuse_zero_bytes(names: Sequence[str]) -> None:
    """A zero byte in a column's name: no database keeps it, and no person sees it."""
    numbers = [str(number) for number, name in enumerate(names, start=1) if "\x00" in name]
    if numbers:
        raise Invalid(
            _("The name of column %(numbers)s holds a zero byte.") % {"numbers": ", ".join(numbers[:20])},
            code="zero_byte",
            fix=_("Give the column a name of plain text."),
        )


def _refuse_zero_cells(table: pa.Table) -> None:
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        row = pc.index(pc.match_substring(column, "\x00"), True).as_py()
        if row >= 0:
            raise Invalid(
                _("Column %(name)s holds a zero byte, first in row %(row)d of the data.")
                % {"name": name, "row": row + 1},
                code="zero_byte",
                fix=_("Write the file again as plain text."),
            )


def _read_parquet(data: bytes) -> pa.Table:
    try:
        with open_parquet(io.BytesIO(data)) as file:
            if file.metadata.num_rows > MAX_ROWS or _unpacked_size(file.metadata) > 4 * MAX_BYTES:
                raise _too_much(file)
            _refuse_nested(file.schema_arrow)
            batches = parquet_batches(file, BATCH_ROWS, limit=4 * MAX_BYTES)
            table = pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            _("The Parquet file cannot be read: it is cut off or damaged."),
            code="bad_parquet",
            fix=_("Write it again and compare its size after the transfer."),
        ) from error
    # The pandas index that Parquet files carry along is no column of the data.
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    return (
        pa.table({name: plain(table[name]) for name in names}) if _are_unique(names) else table.select(names)
    )


def open_parquet(source: Any) -> pq.ParquetFile:
    """A Parquet file whose texts stay dictionaries while they are read: the same text a million times is there once."""
    schema = pq.read_schema(source)
    texts = [
        each.name for each in schema if pa.types.is_string(each.type) or pa.types.is_large_string(each.type)
    ]
    return pq.ParquetFile(source, read_dictionary=texts)


def parquet_batches(file: pq.ParquetFile, rows: int, *, limit: int) -> Iterator[pa.RecordBatch]:
    """The rows in pieces. What they would fill is counted as they come: a file of 2 kB may stand for 100 GB."""
    unpacked = 0
    for batch in file.iter_batches(batch_size=rows):
        size = sum(map(_size_of, batch.columns))
        unpacked += size
        if size > MAX_PIECE or unpacked > limit:
            raise _too_much(file)
        yield batch


def _size_of(column: pa.Array) -> int:
    """Bytes of a column once every value is written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return 4 * len(column) + int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _too_much(file: pq.ParquetFile) -> TooLarge:
    return TooLarge(
        _("The Parquet file holds too much: %(rows)d rows.") % {"rows": file.metadata.num_rows},
        fix=_("Send a sample."),
    )


def _refuse_nested(columns: pa.Schema) -> None:
    nested = [each.name for each in columns if pa.types.is_nested(each.type)]
    if nested:
        raise Invalid(
            _("Columns hold lists or structures: %(names)s.") % {"names": ", ".join(nested)},
            code="nested_column",
            fix=_("Give one value per cell."),
        )


def _unpacked_size(metadata: pq.FileMetaData) -> int:
    return sum(metadata.row_group(position).total_byte_size for position in range(metadata.num_row_groups))


def _are_unique(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def read_csv(data: bytes) -> pa.Table:
    """A CSV in any of the usual encodings and separators, with the types that its values show."""
    reading = delimited.read(data)
    texts = read_texts(reading)
    if not _are_unique(texts.column_names):
        return texts
    return pa.table({name: typed(texts[name]) for name in texts.column_names})


def read_texts(reading: delimited.Reading) -> pa.Table:
    """Every cell as text, missing marks as null; a ragged row is refused with its number."""
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "skip"

    header = _header(reading)
    names = [f"c{position}" for position in range(len(header))]
    try:
        table = pacsv.read_csv(
            io.BytesIO(reading.text.encode()),
            read_options=pacsv.ReadOptions(use_threads=False, column_names=names, skip_rows_after_names=1),
            parse_options=pacsv.ParseOptions(
                delimiter=reading.delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(MISSING_MARKS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        raise Invalid(
            _("The CSV cannot be read: %(reason)s") % {"reason": str(error)[:200]},
            code="bad_csv",
            fix=_("Check that rows follow the column names, and that every quote closes."),
        ) from error
    if ragged:
        raise _ragged(ragged[0])
    return table.rename_columns(header)


def _header(reading: delimited.Reading) -> list[str]:
    header = [name.strip() for name in delimited.first_record(reading.text, reading.delimiter)]
    empty = [position for position, name in enumerate(header, start=1) if not name]
    if empty:
        raise Invalid(
            _("Column %(number)d has no name.") % {"number": empty[0]},
            code="unnamed_column",
            fix=_("Name every column in the first line, or remove the empty column."),
        )
    return header


def _ragged(row: Any) -> Invalid:
    return Invalid(
        _("Row %(row)s has %(found)d values, the header has %(expected)d.")
        % {"row": row.number or "?", "found": row.actual_columns, "expected": row.expected_columns},
        code="ragged_row",
        fix=_("Put values that hold the separator in double quotes."),
    )


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as integers, numbers or booleans when every value reads as one; else as it is."""
    if column.null_count == len(column):
        return column
    trimmed = pc.utf8_trim_whitespace(column)
    if _all(pc.match_substring_regex(trimmed, INTEGER)):
        return _unsigned_text(trimmed).cast(pa.int64())
    if _all(pc.match_substring_regex(trimmed, NUMBER)):
        numbers = _unsigned_text(trimmed).cast(pa.float64())
        return numbers if _all(pc.is_finite(numbers)) else column
    lowered = pc.utf8_lower(trimmed)
    if _all(pc.is_in(pc.drop_null(lowered), _BOOLEANS)):
        return pc.equal(lowered, "true")
    return column


def _unsigned_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Arrow reads no leading plus."""
    return pc.replace_substring_regex(column, r"^\+", "")


def _all(mask: pa.ChunkedArray) -> bool:
    return bool(pc.all(mask, skip_nulls=True).as_py())


def describe(table: pa.Table) -> dict[str, Any]:
    """A small profile for people: rows, and of every column its type, gaps, range or commonest values."""
    return {
        "rows": len(table),
        "columns": [_describe_column(name, plain(table[name])) for name in table.column_names],
    }


def _describe_column(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    profile: dict[str, Any] = {
        "name": name,
        "type": _type_word(column.type),
        "missing": column.null_count,
        "distinct": pc.count_distinct(column).as_py(),
    }
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        finite = pc.filter(column, pc.is_finite(column)) if pa.types.is_floating(column.type) else column
        bounds = pc.min_max(finite).as_py()
        profile |= {"min": bounds["min"], "max": bounds["max"], "mean": pc.mean(finite).as_py()}
    else:
        profile["top"] = _commonest(column)
    return profile


def _type_word(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"


def _commonest(column: pa.ChunkedArray, count: int = 5) -> list[dict[str, Any]]:
    counts = pc.value_counts(pc.drop_null(column)).to_pylist()
    counts.sort(key=lambda each: (-each["counts"], str(each["values"])))
    return [{"value": str(each["values"])[:80], "count": each["counts"]} for each in counts[:count]]
