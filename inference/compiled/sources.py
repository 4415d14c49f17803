"""Where values come from: rows as mappings (one or few), columns as lists (some), or an Arrow table (many).

All give the same numbers and the same codes; only the way there differs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from inference.compiled.errors import Declined

Array = npt.NDArray[Any]
Row = Mapping[str, Any]
EXACT = 2.0**53  # beyond it a float64 does not hold every whole number


class Words:
    """Known words and their codes 0 … n - 1; nothing is n, whatever else n + 1."""

    def __init__(self, known: Sequence[str], fill: str | None) -> None:
        self.count = len(known)
        self.codes: dict[str | None, int] = {word: code for code, word in enumerate(known)}
        self.unseen = self.count + 1
        self.nothing = self.count if fill is None else self.codes.get(fill, self.unseen)
        self.codes[None] = self.nothing
        self.values = pa.array(known, pa.string())


#: A column, and the words that are known of it.
Wanted = tuple[str, Words]


class Source(Protocol):
    count: int

    def numbers(self, names: Sequence[str]) -> Array: ...
    def codes(self, wanted: Sequence[Wanted]) -> Array: ...
    def absent(self, name: str) -> Array: ...

    # As the runner hands columns to a graph: nothing that its type cannot hold is rounded into it.
    def fractions(self, names: Sequence[str]) -> Array: ...
    def wholes(self, names: Sequence[str]) -> Array: ...
    def texts(self, names: Sequence[str]) -> Array: ...


class Rows:
    """Validated rows; a name that a row lacks is missing in it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.count = len(rows)
        self._gets = [row.get for row in rows]

    def numbers(self, names: Sequence[str]) -> Array:
        try:
            return np.array([[get(name) for name in names] for get in self._gets], np.float64)
        except (TypeError, ValueError, OverflowError):
            raise Declined from None

    def codes(self, wanted: Sequence[Wanted]) -> Array:
        finds = [(name, words.codes.get, words.unseen) for name, words in wanted]
        return np.array(
            [[find(get(name), unseen) for name, find, unseen in finds] for get in self._gets], np.int64
        )

    def absent(self, name: str) -> Array:
        return np.array([get(name) is None for get in self._gets], np.float64)

    def fractions(self, names: Sequence[str]) -> Array:
        return _unrounded(self.numbers(names), (get(name) for get in self._gets for name in names))

    def wholes(self, names: Sequence[str]) -> Array:
        try:
            return np.array([[_whole(get(name)) for name in names] for get in self._gets], np.int64)
        except OverflowError:
            raise Declined from None

    def texts(self, names: Sequence[str]) -> Array:
        return np.array([[_text(get(name)) for name in names] for get in self._gets], object)


def _unrounded(found: Array, given: Iterable[Any]) -> Array:
    """Decline whole numbers that a float64 does not hold."""
    if (np.abs(found) >= EXACT).any() and any(
        isinstance(value, int) and abs(value) > EXACT for value in given
    ):
        raise Declined
    return found


def _whole(value: Any) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise Declined


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Declined


class Lists:
    """Validated columns as lists, None where nothing is; a name that is not there is missing in every row."""

    def __init__(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        self.count = count
        self._columns = columns

    def numbers(self, names: Sequence[str]) -> Array:
        matrix = np.empty((self.count, len(names)))
        for place, name in enumerate(names):
            try:
                matrix[:, place] = self._columns.get(name, np.nan)
            except (TypeError, ValueError, OverflowError):
                raise Declined from None
        return matrix

    def codes(self, wanted: Sequence[Wanted]) -> Array:
        found = np.empty((self.count, len(wanted)), np.int64)
        for place, (name, words) in enumerate(wanted):
            column = self._columns.get(name)
            found[:, place] = (
                words.nothing
                if column is None
                else np.fromiter(map(words.codes.get, column, repeat(words.unseen)), np.int64, self.count)
            )
        return found

    def absent(self, name: str) -> Array:
        column = self._columns.get(name)
        if column is None:
            return np.ones(self.count)
        return np.fromiter((value is None for value in column), np.float64, self.count)

    def fractions(self, names: Sequence[str]) -> Array:
        return _unrounded(self.numbers(names), (value for name in names for value in self._values(name)))

    def wholes(self, names: Sequence[str]) -> Array:
        try:
            return np.array([[_whole(value) for value in self._values(name)] for name in names], np.int64).T
        except OverflowError:
            raise Declined from None

    def texts(self, names: Sequence[str]) -> Array:
        return np.array([[_text(value) for value in self._values(name)] for name in names], object).T

    def _values(self, name: str) -> Iterable[Any]:
        return self._columns.get(name, repeat(None, self.count))


class Columns:
    """A table with the schema's columns and types, null where nothing is."""

    def __init__(self, table: pa.Table) -> None:
        self.count = table.num_rows
        self._table = table
        self._names = frozenset(table.column_names)

    def numbers(self, names: Sequence[str]) -> Array:
        matrix = np.empty((self.count, len(names)))
        for place, name in enumerate(names):
            matrix[:, place] = self._number(name)
        return matrix

    def _number(self, name: str) -> Any:
        if name not in self._names:
            return np.nan
        column = self._table.column(name)
        try:
            return column.cast(pa.float64(), safe=False).to_numpy()
        except pa.ArrowException:
            raise Declined from None

    def codes(self, wanted: Sequence[Wanted]) -> Array:
        found = np.empty((self.count, len(wanted)), np.int64)
        for place, (name, words) in enumerate(wanted):
            found[:, place] = self._codes(name, words) if name in self._names else words.nothing
        return found

    def _codes(self, name: str, words: Words) -> Array:
        column = self._text(name)
        found: Array = pc.fill_null(pc.index_in(column, words.values), words.unseen).to_numpy()
        if column.null_count:
            found = np.where(column.is_null().to_numpy(), words.nothing, found)
        return found

    def absent(self, name: str) -> Array:
        if name not in self._names:
            return np.ones(self.count)
        return np.asarray(self._table.column(name).is_null().to_numpy(), np.float64)

    def fractions(self, names: Sequence[str]) -> Array:
        return self._stacked(names, lambda column: column.cast(pa.float64()).to_numpy(), np.nan)

    def wholes(self, names: Sequence[str]) -> Array:
        def whole(column: Any) -> Array:
            if column.null_count:
                raise Declined
            return np.asarray(column.cast(pa.int64()).to_numpy())

        return self._stacked(names, whole, None)

    def texts(self, names: Sequence[str]) -> Array:
        found = [
            self._text(name).fill_null("").to_pylist() if name in self._names else [""] * self.count
            for name in names
        ]
        return np.array(found, object).T

    def _stacked(self, names: Sequence[str], read: Callable[[Any], Array], nothing: float | None) -> Array:
        found = []
        for name in names:
            if name not in self._names and nothing is None:
                raise Declined
            try:
                found.append(
                    read(self._table.column(name)) if name in self._names else np.full(self.count, nothing)
                )
            except pa.ArrowException:
                raise Declined from None
        return np.stack(found, axis=1)

    def _text(self, name: str) -> Any:
        column = self._table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column if column.type == pa.string() else column.cast(pa.string())
