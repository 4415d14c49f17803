"""Is this the shape that the version was approved for? Rows or columns in; a typed table, errors and warnings out.

Every rule about one value is written once, in `examine`. A whole column is first sifted with array arithmetic, and
only the cells that are not plainly fine are examined one by one, and a row of JSON is sifted likewise; so a form, a
JSON body and a file of a million rows get the same answers and the same words.

Errors mean that the row cannot be scored. Warnings are printed with the answer.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import repeat
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext as _

from registry.errors import FieldError
from registry.schema import Field, FieldType, Schema

MAX_TEXT = 10_000
MAX_ERRORS = 1_000  # entries that are spelled out; the rest is counted
MAX_INTEGER = 2**63 - 1
MAX_SHOWN = 200  # characters of a wrong value that are echoed

ARROW_TYPES: dict[FieldType, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
    "text": pa.string(),
}
TRUE_WORDS = frozenset({"true", "yes", "y", "1", "on", "हाँ", "हां"})
FALSE_WORDS = frozenset({"false", "no", "n", "0", "off", "नहीं"})

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_DIGITS = str.maketrans("०१२३४५६७८९\u2212", "0123456789-")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}(?:\.[0-9]+)?")  # 1,234 and 1,00,000


class Problem(NamedTuple):
    """Why one value cannot be used."""

    code: str
    expected: str
    fix: str


class RowWarning(NamedTuple):
    """What a person should know about one value that was used all the same."""

    field: str
    code: str
    detail: str

    def to_json(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "detail": self.detail}


class Examined(NamedTuple):
    """One value after a look at it: clean, or a problem, or clean with a warning."""

    value: Any
    problem: Problem | None = None
    warning: RowWarning | None = None


def by_row(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns of the same length as rows."""
    cells = zip(*columns.values(), strict=True)
    return list(map(dict, map(zip, repeat(tuple(columns)), cells)))


@dataclass(frozen=True)
class Columns:
    """Values by column, as JSON has them: every column of a schema, in its order."""

    count: int
    values: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return self.count

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        return by_row(self.values)


Given: TypeAlias = "Sequence[dict[str, Any]] | Columns | pa.Table"


@dataclass
class Checked:
    """Rows after validation, every one of them (bad cells are null), in the schema's columns and order.

    Whoever judged rows has rows, whoever judged columns has columns or a table; the others are made when asked for.
    """

    schema: Schema
    given: Given
    errors: list[FieldError]
    error_count: int
    warnings: dict[int, list[RowWarning]]  # by row
    error_rows: dict[int, list[FieldError]] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        return self.error_count == 0

    @cached_property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Which rows may be scored."""
        found = np.ones(len(self.given), dtype=bool)
        found[list(self.error_rows)] = False
        return found

    @cached_property
    def table(self) -> pa.Table:
        if isinstance(self.given, pa.Table):
            return self.given
        if isinstance(self.given, Columns):
            types = [ARROW_TYPES[each.type] for each in self.schema.fields]
            return _table(self.schema, map(pa.array, self.given.values.values(), types))
        return trusted_table(self.schema, self.given)

    def rows(self) -> Sequence[dict[str, Any]]:
        if isinstance(self.given, Columns):
            return self.given.rows
        if not isinstance(self.given, pa.Table):
            return self.given
        rows: list[dict[str, Any]] = self.given.to_pylist()
        return rows


# --- one value ---


def examine(each: Field, value: Any, *, as_text: bool = False) -> Examined:
    """Judge one value. `as_text`: it comes from a form or a file, where everything is text and is read strictly."""
    if as_text and isinstance(value, str):
        value = value.strip() if each.type != "text" else value
        value = None if value == "" else value
    if value is None:
        return _examine_missing(each)
    if each.type in ("number", "integer"):
        return _examine_number(each, value, as_text)
    if each.type == "boolean":
        return _examine_boolean(value, as_text)
    return _examine_text(each, value, as_text)


def _examine_missing(each: Field) -> Examined:
    if not each.required:
        return Examined(None)
    return Examined(None, Problem("missing", expectation(each), _("Give a value: this field is required.")))


def _examine_number(each: Field, value: Any, as_text: bool) -> Examined:
    number = _read_number(value) if as_text and isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return Examined(None, _number_problem(each, value))
    if isinstance(number, float) and not math.isfinite(number):
        return Examined(None, _number_problem(each, value))
    if each.type == "integer":
        if number != int(number):
            fix = _("Round it to a whole number yourself: it is never cut off in silence.")
            return Examined(None, Problem("not_an_integer", expectation(each), fix))
        number = int(number)
        if abs(number) > MAX_INTEGER:
            return Examined(None, Problem("out_of_range", expectation(each), _("The number is too large.")))
    else:
        try:
            number = float(number)
        except OverflowError:
            return Examined(None, Problem("out_of_range", expectation(each), _("The number is too large.")))
    return _within_range(each, number)


def _within_range(each: Field, number: float) -> Examined:
    if (each.min is not None and number < each.min) or (each.max is not None and number > each.max):
        return Examined(None, Problem("out_of_range", expectation(each), _("Correct the value or its unit.")))
    low, high = each.training.min, each.training.max
    if high is not None and number > high:
        return Examined(number, warning=_outside(each, number, above=True))
    if low is not None and number < low:
        return Examined(number, warning=_outside(each, number, above=False))
    return Examined(number)


def _outside(each: Field, number: float, *, above: bool) -> RowWarning:
    template = (
        _(
            "%(label)s %(value)s is above anything this model was trained on (%(low)s to %(high)s). Treat with care."
        )
        if above
        else _(
            "%(label)s %(value)s is below anything this model was trained on (%(low)s to %(high)s). Treat with care."
        )
    )
    detail = template % {
        "label": each.label_text,
        "value": show_number(number),
        "low": show_number(each.training.min),
        "high": show_number(each.training.max),
    }
    return RowWarning(each.name, "outside_training_range", detail)


def _read_number(text: str) -> float | int | None:
    """A plain decimal number; Devanagari digits are digits, but `nan`, `1_000` and `1,50` are no numbers."""
    plain = text.translate(_DIGITS)
    if not _NUMBER.fullmatch(plain):
        return None
    if len(plain) < 19 and plain.lstrip("+-").isdigit():
        return int(plain)
    return float(plain)


def _number_problem(each: Field, value: Any) -> Problem:
    if isinstance(value, bool | list | dict):
        return Problem("wrong_type", expectation(each), _("Send a number."))
    fix = _("Enter a number, digits only.")
    if isinstance(value, str):
        fix = _number_fix(each, value.strip().translate(_DIGITS)) or fix
    elif isinstance(value, float):
        fix = _("Send null when the value is not known.")
    return Problem("not_a_number", expectation(each), fix)


def _number_fix(each: Field, text: str) -> str:
    """How the number that was probably meant is written."""
    if _GROUPED.fullmatch(text):
        return _("Leave out the thousands separators: %(value)s") % {"value": text.replace(",", "")}
    if _DECIMAL_COMMA.fullmatch(text) and each.type == "number":
        return _("Write the decimal point as “.”: %(value)s") % {"value": text.replace(",", ".")}
    if _NUMBER.fullmatch(text):
        return _("Send it as a number, without quotes: %(value)s") % {"value": text}
    return ""


def _examine_boolean(value: Any, as_text: bool) -> Examined:
    if isinstance(value, bool):
        return Examined(value)
    if as_text and isinstance(value, str):
        word = value.casefold()
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return Examined(word in TRUE_WORDS)
        return Examined(None, Problem("not_a_boolean", _("yes or no"), _("Write yes or no.")))
    return Examined(
        None, Problem("not_a_boolean", _("true or false"), _("Send true or false, without quotes."))
    )


def _examine_text(each: Field, value: Any, as_text: bool) -> Examined:
    if not isinstance(value, str):
        fix = _("Send it in quotes.") if isinstance(value, int | float) else _("Send a text.")
        return Examined(None, Problem("wrong_type", expectation(each), fix))
    problem = _text_problem(each, value)
    if problem is not None:
        return Examined(None, problem)
    if each.type == "text":
        return Examined(value)
    return _examine_category(each, value, as_text)


def _text_problem(each: Field, value: str) -> Problem | None:
    if len(value) > MAX_TEXT:
        fix = _("Shorten it: it has %(count)d characters.") % {"count": len(value)}
        return Problem("too_long", expectation(each), fix)
    if "\x00" in value or not _is_encodable(value):
        return Problem("wrong_type", expectation(each), _("Remove characters that are no text."))
    return None


def _examine_category(each: Field, value: str, as_text: bool) -> Examined:
    if value in each.categories:
        return Examined(value)
    if as_text:
        folded = [category for category in each.categories if category.casefold() == value.casefold()]
        if len(folded) == 1:
            return Examined(folded[0])
    hint = _did_you_mean(value, each.categories)
    if each.strict:
        return Examined(None, Problem("not_in_list", expectation(each), hint or _("Choose one of the list.")))
    detail = _("%(label)s “%(value)s” was never seen in training. Treat with care.") % {
        "label": each.label_text,
        "value": show(value),
    }
    return Examined(value, warning=RowWarning(each.name, "unseen_category", f"{detail} {hint}".strip()))


def _did_you_mean(value: str, names: tuple[str, ...]) -> str:
    close = _closest(value[:100], names)
    return _("Did you mean “%(name)s”?") % {"name": close} if close else ""


@lru_cache(maxsize=1024)
def _closest(value: str, names: tuple[str, ...]) -> str:
    """A file repeats its typing errors; comparing each with every name once is enough."""
    close = difflib.get_close_matches(value, [name for name in names if len(name) <= 100][:1000], n=1)
    return close[0] if close else ""


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def expectation(each: Field) -> str:
    """What the field takes, in words: the same on the form, in the API and in the problem list of a file."""
    if each.type == "boolean":
        return _("yes or no")
    if each.type == "text":
        return _("text of at most %(count)d characters") % {"count": MAX_TEXT}
    if each.type == "category":
        shown = ", ".join(each.categories[:20])
        return _("one of: %(names)s") % {"names": f"{shown}, …" if len(each.categories) > 20 else shown}
    whole = each.type == "integer"
    low, high = show_number(each.min), show_number(each.max)
    if each.min is not None and each.max is not None:
        template = (
            _("a whole number from %(low)s to %(high)s") if whole else _("a number from %(low)s to %(high)s")
        )
    elif each.min is not None:
        template = _("a whole number, %(low)s or more") if whole else _("a number, %(low)s or more")
    elif each.max is not None:
        template = _("a whole number, %(high)s or less") if whole else _("a number, %(high)s or less")
    else:
        template = _("a whole number") if whole else _("a number")
    return template % {"low": low, "high": high}


def show_number(number: float | None) -> str:
    if number is None:
        return "…"
    if isinstance(number, int) or (number.is_integer() and abs(number) < 1e15):
        return str(int(number))
    return f"{number:.6g}"


def show(value: Any) -> Any:
    """A wrong value as it may be echoed: short, encodable, and a number only if JSON has it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_INTEGER else _shorten(hex(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _shorten(value if isinstance(value, str) else repr(value)[: MAX_SHOWN * 2])


def _shorten(text: str) -> str:
    clean = text[:MAX_SHOWN].encode("utf-8", "replace").decode().replace("\x00", "?")
    return f"{clean}…" if len(text) > MAX_SHOWN else clean


# --- rows: a JSON body, or a form ---


def validate_rows(schema: Schema, rows: Sequence[Any], *, as_text: bool = False) -> Checked:
    """Judge rows one by one; the caller decides whether one bad row refuses them all."""
    return RowJudge(schema).judge(rows, as_text=as_text)


class RowJudge:
    """Judges rows of one schema. Made once for a version that answers: what is plainly fine costs next to nothing."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._names = frozenset(schema.names)
        self._cells: list[_Cell] = [
            (each, each.name, not each.required, _plain(each)) for each in schema.fields
        ]
        # All of a row's cells at once; of a single name it would not give a row.
        self._pick = itemgetter(*schema.names) if len(self._cells) > 1 else None

    def judge(self, rows: Sequence[Any], *, as_text: bool = False) -> Checked:
        if len(rows) >= MANY and not as_text:
            together = self._together(rows)
            if together is not None:
                return together
        collector = _Collector()
        clean = [self._clean(position, row, as_text, collector) for position, row in enumerate(rows)]
        return collector.checked(self.schema, clean)

    def _together(self, rows: Sequence[Any]) -> Checked | None:
        """The same for many rows, column by column; None where anything is wrong, which is told row by row."""
        given = self._columns_of(rows)
        if given is None:
            return None
        collector = _Collector()
        values = {
            cell[1]: self._column(cell, each, collector)
            for cell, each in zip(self._cells, given, strict=True)
        }
        if collector.error_count:
            return None
        return collector.checked(self.schema, Columns(len(rows), values))

    def _columns_of(self, rows: Sequence[Any]) -> Iterable[Sequence[Any]] | None:
        """The schema's columns of rows that have no other names; None where one is no row, or has a strange name."""
        if set(map(type, rows)) != {dict}:
            return None
        if self._pick is not None and set(map(len, rows)) == {len(self._cells)}:
            try:
                return zip(*map(self._pick, rows), strict=True)
            except KeyError:
                pass
        if not all(map(self._names.issuperset, rows)):
            return None
        return [[row.get(name) for row in rows] for _each, name, _may_miss, _plain in self._cells]

    def _column(self, cell: "_Cell", given: Sequence[Any], collector: "_Collector") -> Sequence[Any]:
        each, name, may_miss, plain = cell
        if (fine := plain.column(given, may_miss)) is not None:
            return fine
        clean = []
        for position, value in enumerate(given):
            read = None if value is None and may_miss else plain(value)
            if read is UNSURE:
                examined = examine(each, value)
                collector.take(position, name, value, examined)
                read = examined.value
            clean.append(read)
        return clean

    def _clean(self, position: int, row: Any, as_text: bool, collector: "_Collector") -> dict[str, Any]:
        if not isinstance(row, Mapping):
            collector.refuse(
                position, "", row, Problem("wrong_type", _("an object"), _("Write a row as {…}."))
            )
            row = {}
        clean: dict[str, Any] = {}
        for each, name, may_miss, plain in self._cells:
            given = row.get(name)
            if given is None and may_miss:
                clean[name] = None
                continue
            value = UNSURE if as_text else plain(given)
            if value is UNSURE:
                examined = examine(each, given, as_text=as_text)
                collector.take(position, name, given, examined)
                value = examined.value
            clean[name] = value
        if not self._names.issuperset(row):
            for name in row:
                if name not in self._names:
                    collector.refuse(position, name, row[name], _unknown(self.schema, name))
        return clean


UNSURE: Any = object()  # not plainly fine: somebody has to look at it
MANY = 8  # rows from which on a look at whole columns is faster


class _Plain:
    """What a value of a field is read as when it is plainly fine, else UNSURE: a shortcut, never a rule."""

    def __call__(self, value: Any) -> Any:
        raise NotImplementedError

    def column(self, given: Sequence[Any], may_miss: bool) -> Sequence[Any] | None:
        """The same for a whole column, in which None is fine if it may be missing; None when any value is unsure."""
        read = [None if value is None and may_miss else self(value) for value in given]
        return None if any(value is UNSURE for value in read) else read


class _PlainNumber(_Plain):
    """Within its range and the one of training; whole numbers stay whole where the field asks for them."""

    def __init__(self, each: Field) -> None:
        bounds = (each.min, each.training.min), (each.max, each.training.max)
        lows, highs = ([bound for bound in pair if bound is not None] for pair in bounds)
        # Beyond 2**53 a float no longer knows its last digit; within, whole numbers are the same in both types.
        self._low, self._high = max([*lows, -(2.0**53)]), min([*highs, 2.0**53])
        self._types = frozenset({int}) if each.type == "integer" else frozenset({int, float})
        self._is_whole = each.type == "integer"

    def __call__(self, value: Any) -> Any:
        if type(value) in self._types and self._low <= value <= self._high:
            return value if self._is_whole else float(value)
        return UNSURE

    def column(self, given: Sequence[Any], may_miss: bool) -> Sequence[Any] | None:
        kinds = set(map(type, given))
        has_gaps = may_miss and NoneType in kinds
        if has_gaps:
            kinds.remove(NoneType)
        if not kinds <= self._types:
            return None
        numbers = [value for value in given if value is not None] if has_gaps else given
        if numbers and not self._holds(numbers):
            return None
        if int not in kinds or self._is_whole:
            return given
        if not has_gaps:
            return list(map(float, given))
        return [None if value is None else float(value) for value in given]

    def _holds(self, numbers: Sequence[float]) -> bool:
        """All within the range; what is no number would hide from `min` and `max`, but not from their sum."""
        return self._low <= min(numbers) and max(numbers) <= self._high and math.isfinite(sum(numbers))


class _PlainBoolean(_Plain):
    def __call__(self, value: Any) -> Any:
        return value if value is True or value is False else UNSURE


class _PlainCategory(_Plain):
    def __init__(self, each: Field) -> None:
        self._known = {name: name for name in each.categories if _text_problem(each, name) is None}
        self._known_or_missing = frozenset({*self._known, None})

    def __call__(self, value: Any) -> Any:
        return self._known.get(value, UNSURE) if type(value) is str else UNSURE

    def column(self, given: Sequence[Any], may_miss: bool) -> Sequence[Any] | None:
        known = self._known_or_missing if may_miss else self._known.keys()
        try:
            return given if known >= set(given) else None
        except TypeError:  # a list or an object where a word belongs
            return None


class _PlainText(_Plain):
    def __init__(self, each: Field) -> None:
        self._field = each

    def __call__(self, value: Any) -> Any:
        is_fine = type(value) is str and value and _text_problem(self._field, value) is None
        return value if is_fine else UNSURE


def _plain(each: Field) -> _Plain:
    if each.is_numeric:
        return _PlainNumber(each)
    if each.type == "boolean":
        return _PlainBoolean()
    return _PlainCategory(each) if each.type == "category" else _PlainText(each)


_Cell = tuple[Field, str, bool, _Plain]


def _unknown(schema: Schema, name: str) -> Problem:
    hint = _did_you_mean(str(name), schema.names)
    return Problem(
        "unknown_field", _("a field of the schema"), hint or _("Remove it: the model does not read it.")
    )


def _table(schema: Schema, arrays: Iterable[Any]) -> pa.Table:
    types = pa.schema([(each.name, ARROW_TYPES[each.type]) for each in schema.fields])
    return pa.Table.from_arrays(list(arrays), schema=types)


class _Collector:
    """Gathers what was found, row by row; spells out the first thousand errors and counts the rest."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.error_count = 0
        self.error_rows: dict[int, list[FieldError]] = {}
        self.warnings: dict[int, list[RowWarning]] = {}

    def take(self, row: int, name: str, value: Any, examined: Examined) -> None:
        if examined.problem is not None:
            self.refuse(row, name, value, examined.problem)
        elif examined.warning is not None:
            self.warnings.setdefault(row, []).append(examined.warning)

    def refuse(self, row: int, name: str, value: Any, problem: Problem) -> None:
        self.error_count += 1
        error: FieldError = {
            "field": _shorten(str(name)),
            "row": row,
            "code": problem.code,
            "value": show(value),
            "expected": problem.expected,
            "fix": problem.fix,
        }
        self.error_rows.setdefault(row, []).append(error)
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    def checked(self, schema: Schema, given: Given) -> Checked:
        self.errors.sort(key=lambda error: error.get("row") or 0)
        return Checked(schema, given, self.errors, self.error_count, self.warnings, self.error_rows)


# --- columns: a chunk of a file ---


def validate_columns(schema: Schema, columns: Mapping[str, Any] | pa.Table) -> Checked:
    """Judge columns of text or of typed values (from Parquet), null where missing. Absent columns are all missing.

    Columns that the schema does not name are not looked at: a file may carry more than the model reads.
    """
    given = {name: columns[name] for name in schema.names if name in _names(columns)}
    count = len(next(iter(given.values()))) if given else _length(columns)
    collector = _Collector()
    arrays = [_validate_column(each, given.get(each.name), count, collector) for each in schema.fields]
    return collector.checked(schema, _table(schema, arrays))


def _names(columns: Mapping[str, Any] | pa.Table) -> Iterable[str]:
    return frozenset(columns.column_names if isinstance(columns, pa.Table) else columns)


def _length(columns: Mapping[str, Any] | pa.Table) -> int:
    if isinstance(columns, pa.Table):
        return len(columns)
    return max((len(column) for column in columns.values()), default=0)


def _validate_column(each: Field, column: Any, count: int, collector: _Collector) -> Any:
    """Sift with array arithmetic, then examine what did not pass. Returns the typed array."""
    kind = ARROW_TYPES[each.type]
    if column is None:
        column = pa.nulls(count, pa.string())
    array = _flat(column)
    is_text = pa.types.is_string(array.type)
    typed, fine = _sift(each, array, is_text)
    doubtful = np.flatnonzero(~fine)
    if not len(doubtful):
        return typed
    values = pc.take(array, pa.array(doubtful)).to_pylist()
    replaced = []
    for position, value in zip(doubtful.tolist(), values, strict=True):
        examined = examine(each, value, as_text=is_text)
        collector.take(position, each.name, value, examined)
        replaced.append(examined.value)
    mask = pa.array(~fine)
    return pc.replace_with_mask(typed, mask, pa.array(replaced, kind))


def _flat(column: Any) -> Any:
    """One contiguous array of int64, float64, bool or string."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not isinstance(array, pa.Array):
        array = pa.array(array)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_integer(array.type) and not pa.types.is_uint64(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type) or pa.types.is_uint64(array.type) or pa.types.is_decimal(array.type):
        numbers = array.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    return array if pa.types.is_boolean(array.type) else array.cast(pa.string())


def _sift(each: Field, array: Any, is_text: bool) -> tuple[Any, npt.NDArray[np.bool_]]:
    """The typed array, and a mask of the cells that are plainly fine."""
    if each.type in ("number", "integer"):
        return _sift_numbers(each, array, is_text)
    if each.type == "category" and is_text:
        known = pc.is_in(array, pa.array(each.categories, pa.string()))
        return array, _mask(known, array, missing_ok=not each.required)
    if each.type == "text" and is_text:
        fine = pc.and_(pc.less_equal(pc.utf8_length(array), MAX_TEXT), pc.greater(pc.binary_length(array), 0))
        fine = pc.and_(fine, pc.invert(pc.match_substring(array, "\x00")))
        return array, _mask(fine, array, missing_ok=not each.required)
    if each.type == "boolean" and pa.types.is_boolean(array.type):
        return array, _mask(pc.is_valid(array), array, missing_ok=not each.required)
    return pa.nulls(len(array), ARROW_TYPES[each.type]), np.zeros(len(array), dtype=bool)


def _sift_numbers(each: Field, array: Any, is_text: bool) -> tuple[Any, npt.NDArray[np.bool_]]:
    kind = ARROW_TYPES[each.type]
    if pa.types.is_boolean(array.type):
        return pa.nulls(len(array), kind), np.zeros(len(array), dtype=bool)
    numbers = _text_numbers(array) if is_text else array
    fine = pc.is_finite(numbers)
    if each.type == "integer" and pa.types.is_floating(numbers.type):
        # Beyond 2**53 a float no longer knows its last digit: the cell is read again, exactly.
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
        fine = pc.and_(fine, whole)
    for bound, holds in (
        (each.min, pc.greater_equal),
        (each.training.min, pc.greater_equal),
        (each.max, pc.less_equal),
        (each.training.max, pc.less_equal),
    ):
        if bound is not None:
            fine = pc.and_(fine, holds(numbers, pa.scalar(float(bound))))
    mask = _mask(fine, array, missing_ok=not each.required)
    usable = pc.if_else(pa.array(mask), numbers, pa.scalar(None, numbers.type))
    return usable.cast(kind, safe=False), mask


def _text_numbers(array: Any) -> Any:
    """Text as float64 where it plainly is a number, else null: the rest is looked at one by one."""
    pattern = r"^[+-]?(?:[0-9]{1,15}\.?[0-9]{0,17}|\.[0-9]{1,17})(?:[eE][+-]?[0-9]{1,3})?$"
    is_plain = pc.fill_null(pc.match_substring_regex(array, pattern), False)
    plain = pc.if_else(is_plain, pc.utf8_ltrim(array, "+"), pa.scalar(None, pa.string()))
    return plain.cast(pa.float64())


def _mask(fine: Any, array: Any, *, missing_ok: bool) -> npt.NDArray[np.bool_]:
    mask = np.asarray(pc.fill_null(fine, False), dtype=bool)
    return mask | np.asarray(pc.is_null(array)) if missing_ok else mask


def trusted_table(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows that were validated before, read back from our own log, as a table again."""
    return _table(
        schema,
        [pa.array([row.get(each.name) for row in rows], ARROW_TYPES[each.type]) for each in schema.fields],
    )
