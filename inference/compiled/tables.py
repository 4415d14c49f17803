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

#: A row's code in each table: 0 … n - 1 the known values, n nothing, n + 1 anything else. One column a table.
Codes = Callable[[Source, list[Array]], Array]


def one_hot(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    """1 in the column of each row's category, 0 in the others."""
    tables = reader.mappings(claim.get("tables"))
    ends = reader.parts.integers(claim.get("starts"), (len(tables) + 1,), 0, 1 << 30)
    width = int(ends[-1])
    runs = starts(ends, len(tables), width).tolist()
    counts, codes = _codes(reader, tables)
    columns = []
    for place, (table, count) in enumerate(zip(tables, counts, strict=True)):
        given = reader.parts.integers(
            table.get("places"), (count + 2,), DECLINES, runs[place + 1] - runs[place]
        )
        places = np.where(given < 0, np.where(given == NOWHERE, width, DECLINES), given + runs[place])
        columns.append(places.astype(np.intp))
    return width, _marking(codes, columns, width)


def _marking(codes: Codes, columns: list[Array], width: int) -> Step:
    places, begins = _one_behind_another(columns)
    declines = bool((places == DECLINES).any())

    def step(source: Source, done: list[Array]) -> Array:
        marks = places[codes(source, done) + begins]
        if declines and (marks < 0).any():
            raise Declined
        found = np.zeros((source.count, width + 1))  # the last column takes what belongs nowhere
        found[np.arange(source.count)[:, np.newaxis], marks] = 1.0
        return found[:, :width]

    return step


def lookup(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    """The numbers that stand for each row's category."""
    tables = reader.mappings(claim.get("tables"))
    counts, codes = _codes(reader, tables)
    columns, refused = [], []
    for table, count in zip(tables, counts, strict=True):
        columns.append(reader.parts.floats(table.get("values"), (count + 2, None)))
        refused.append(reader.parts.flags(table.get("declines"), (count + 2,)))
    declines, begins = _one_behind_another(refused)
    numbers = _numbers(columns, begins)

    def step(source: Source, done: list[Array]) -> Array:
        found = codes(source, done)
        if has_refused and declines[found + begins].any():
            raise Declined
        return numbers(found)

    has_refused = bool(declines.any())
    return sum(values.shape[1] for values in columns), step


def _numbers(columns: list[Array], begins: Array) -> Callable[[Array], Array]:
    """From codes to numbers; at one stroke where each table has one for each code."""
    if all(values.shape[1] == 1 for values in columns):
        flat = np.concatenate(columns)[:, 0]
        return lambda codes: flat[codes + begins]
    return lambda codes: np.concatenate(
        [values[codes[:, place]] for place, values in enumerate(columns)], axis=1
    )


def _one_behind_another(columns: list[Array]) -> tuple[Array, Array]:
    """All tables as one, and where each begins in it."""
    lengths = [len(column) for column in columns]
    return np.concatenate(columns), np.cumsum([0, *lengths[:-1]])


def _codes(reader: Reader, tables: list[dict[str, Any]]) -> tuple[list[int], Codes]:
    """How many values each table knows, and the codes of rows."""
    if not any("of" in table for table in tables):
        wanted = [_text_keys(reader, table) for table in tables]
        return [words.count for _name, words in wanted], lambda source, _done: source.codes(wanted)
    counts, each = zip(*(_own_codes(reader, table) for table in tables), strict=True)
    return list(counts), lambda source, done: np.concatenate([one(source, done) for one in each], axis=1)


def _own_codes(reader: Reader, table: dict[str, Any]) -> tuple[int, Codes]:
    if "of" in table:
        return _number_codes(reader, table)
    wanted = [_text_keys(reader, table)]
    return wanted[0][1].count, lambda source, _done: source.codes(wanted)


def _text_keys(reader: Reader, table: dict[str, Any]) -> tuple[str, Words]:
    name = reader.name(table.get("input"), "text")
    keys, fill = table.get("keys"), table.get("fill")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise BadForm("keys")
    if not all(_is_word(key) for key in keys) or not (fill is None or _is_word(fill)):
        raise BadForm("keys")
    if len(set(keys)) != len(keys):
        raise BadForm("a key that is there twice")
    return name, Words(keys, fill)


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
        given = done[of]
        if not np.isfinite(given).all() and np.isinf(given).any():
            raise Declined
        if not count:
            return np.where(np.isnan(given), count, count + 1)
        found = np.minimum(np.searchsorted(keys, given), count - 1)
        known = np.where(keys[found] == given, found, count + 1)
        return np.where(np.isnan(given), count, known)

    return count, codes
