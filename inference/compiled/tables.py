"""Categories as tables: what each known value becomes, what nothing becomes, and what anything else becomes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from inference.compiled.container import MAX_TEXT, Array, BadForm, starts
from inference.compiled.errors import Declined
from inference.compiled.reading import Reader, Step
from inference.compiled.sources import Source, Words

DECLINES, NOWHERE = -2, -1
MAX_KEYS = 20_000

#: Each row's code in a table: 0 … n - 1 the known values, n nothing, n + 1 anything else.
Codes = Callable[[Source, list[Array]], Array]


def one_hot(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    """1 in the column of each row's category, 0 in the others."""
    tables = reader.mappings(claim.get("tables"))
    ends = reader.parts.integers(claim.get("starts"), (len(tables) + 1,), 0, 1 << 30)
    width = int(ends[-1])
    runs = starts(ends, len(tables), width).tolist()
    columns = []
    for place, table in enumerate(tables):
        count, codes = _codes(reader, table)
        given = reader.parts.integers(
            table.get("places"), (count + 2,), DECLINES, runs[place + 1] - runs[place]
        )
        places = np.where(given < 0, np.where(given == NOWHERE, width, DECLINES), given + runs[place])
        columns.append((codes, places.astype(np.intp)))
    return width, _marking(columns, width)


def _marking(columns: list[tuple[Codes, Array]], width: int) -> Step:
    declines = any((places == DECLINES).any() for _codes, places in columns)

    def step(source: Source, done: list[Array]) -> Array:
        found = np.zeros((source.count, width + 1))  # the last column takes what belongs nowhere
        rows = np.arange(source.count)
        for codes, places in columns:
            marks = places[codes(source, done)]
            if declines and (marks < 0).any():
                raise Declined
            found[rows, marks] = 1.0
        return found[:, :width]

    return step


def lookup(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    """The numbers that stand for each row's category."""
    columns = []
    width = 0
    for table in reader.mappings(claim.get("tables")):
        count, codes = _codes(reader, table)
        values = reader.parts.floats(table.get("values"), (count + 2, None))
        declines = reader.parts.flags(table.get("declines"), (count + 2,))
        columns.append((codes, values, declines if declines.any() else None))
        width += values.shape[1]

    def step(source: Source, done: list[Array]) -> Array:
        found = []
        for codes, values, declines in columns:
            rows = codes(source, done)
            if declines is not None and declines[rows].any():
                raise Declined
            found.append(values[rows])
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    return width, step


def _codes(reader: Reader, table: dict[str, Any]) -> tuple[int, Codes]:
    return _number_codes(reader, table) if "of" in table else _text_codes(reader, table)


def _text_codes(reader: Reader, table: dict[str, Any]) -> tuple[int, Codes]:
    name = reader.name(table.get("input"), "text")
    keys, fill = table.get("keys"), table.get("fill")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise BadForm("keys")
    if not all(_is_word(key) for key in keys) or not (fill is None or _is_word(fill)):
        raise BadForm("keys")
    if len(set(keys)) != len(keys):
        raise BadForm("a key that is there twice")
    words = Words(keys, fill)
    return len(keys), lambda source, _done: source.codes(name, words)


def _is_word(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number_codes(reader: Reader, table: dict[str, Any]) -> tuple[int, Codes]:
    of = reader.before(table.get("of"))
    keys = reader.parts.floats(table.get("keys"), (None,), finite=True)
    count = len(keys)
    if reader.widths[of] != 1 or count > MAX_KEYS or (np.diff(keys) <= 0).any():
        raise BadForm("keys")

    def codes(_source: Source, done: list[Array]) -> Array:
        given = done[of][:, 0]
        if not np.isfinite(given).all() and np.isinf(given).any():
            raise Declined
        if not count:
            return np.where(np.isnan(given), count, count + 1)
        found = np.minimum(np.searchsorted(keys, given), count - 1)
        known = np.where(keys[found] == given, found, count + 1)
        return np.where(np.isnan(given), count, known)

    return count, codes
