"""Bytes of a delimited text file to lines of text: which encoding, which separator.

Nothing is guessed in silence: what was read as what is returned beside the text, so that a page can say it.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from django.utils.translation import gettext as _

from registry.errors import Invalid

DELIMITERS = ",;\t|"
SAMPLE_RECORDS = 200
CELL_LIMIT = 1_000_000

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEP_LINE = re.compile(r"\A\"?sep=(.)\"?\r?\n", re.IGNORECASE)
_FOREIGN = (
    (b"PK\x03\x04", "an Excel workbook or a zip file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
)


@dataclass(frozen=True)
class Reading:
    """How a file was read: its text, and what was found out about it."""

    text: str
    encoding: str
    delimiter: str
    notes: tuple[str, ...] = ()


def read(data: bytes, *, encoding: str = "", delimiter: str = "") -> Reading:
    """Decode a whole delimited file and find its separator; a given encoding or separator is obeyed."""
    refuse_foreign(data)
    text, used, notes = decode(data, encoding=encoding)
    declared = _SEP_LINE.match(text)
    if declared:
        text = text[declared.end() :]
        delimiter = delimiter or declared.group(1)
    if not text.strip():
        raise Invalid(
            _("The file is empty."), code="empty_file", fix=_("Choose a file with a line of column names.")
        )
    return Reading(text, used, delimiter or detect_delimiter(text), tuple(notes))


def refuse_foreign(data: bytes) -> None:
    """Say plainly when the first bytes are of another kind of file, whatever its name."""
    head = data[:512]
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            raise _not_text(kind)
    if head.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        raise _not_text("an HTML page")


def _not_text(kind: str) -> Invalid:
    return Invalid(
        _("This is %(kind)s, not a CSV file.") % {"kind": kind},
        code="not_csv",
        fix=_("In Excel: Save as → CSV UTF-8."),
    )


def decode(data: bytes, *, encoding: str = "") -> tuple[str, str, list[str]]:
    """The text, the encoding used, and sentences about it. UTF-8 is tried on the whole file, never a sample."""
    if encoding:
        return _decode_as(data, encoding), encoding, []
    for bom, name in _BOMS:
        if data.startswith(bom):
            return _decode_as(data, name), name, ([] if name == "utf-8-sig" else [_("Read as UTF-16.")])
    if b"\x00" in data[:4096]:
        raise Invalid(
            _("The file holds zero bytes, so it is not a text file."),
            code="not_csv",
            fix=_("Save it as CSV UTF-8."),
        )
    try:
        return data.decode("utf-8"), "utf-8", []
    except UnicodeDecodeError:
        text = _decode_as(data, "cp1252")
        return (
            text,
            "cp1252",
            [_("The file is not UTF-8. Read as Windows-1252: check that names look right.")],
        )


def _decode_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        start = getattr(error, "start", 0)
        line = data.count(b"\n", 0, start) + 1
        raise Invalid(
            _("Line %(line)d has characters we cannot read.") % {"line": line},
            code="bad_encoding",
            fix=_("Save the file as CSV UTF-8."),
        ) from None


def detect_delimiter(text: str) -> str:
    """The separator that splits the first records most evenly. A single column is a valid answer: the comma."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        score = _evenness(text, delimiter)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _evenness(text: str, delimiter: str) -> tuple[float, int]:
    counts = Counter(len(record) for record in _sample(text, delimiter) if record)
    widths = {width: times for width, times in counts.items() if width > 1}
    if not widths:
        return (0.0, 0)
    width = max(widths, key=lambda each: (widths[each], each))
    return (widths[width] / counts.total(), width)


def _sample(text: str, delimiter: str) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    try:
        return list(islice(csv.reader(lines, delimiter=delimiter), SAMPLE_RECORDS))
    except csv.Error:
        return []


def first_record(text: str, delimiter: str) -> list[str]:
    """The cells of the first line, quotes understood."""
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
