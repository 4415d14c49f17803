"""Profiles: what a table looks like, as integer counts that add up exactly.

A reference profile fixes the bins of each column once, from the reference data of a version. Every later piece of
traffic is counted on those same bins. Counts of two pieces are added, never averaged, so that any window, in any order
of arrival, gives exactly the figures that one pass over all its rows would have given, after the rows are gone.

Arrays and dictionaries in, numbers out. No Django, no database, and no exception for bad values: whatever a column
holds is counted as valid, missing, invalid (an infinity) or wrong (not of the column's type).
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["number", "category", "text", "empty"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Json = dict[str, Any]

BINS = 240  # a multiple of ten, so that deciles are whole bins
MOST_CATEGORIES = 200
MOST_NEW = 200
MOST_EXAMPLES = 20
BUCKETS = 64  # of the rare values of a column with more categories than are kept
DISCRETE_AT_MOST = 20  # this many distinct numbers are categories, as the reference (never the batch) decides
LONGEST_LABEL = 120
NUMERIC_TYPES = frozenset({"number", "integer"})

_INTEGRAL_TEXT = re.compile(r"-?\d+\.0+")
_TRUE_WORDS = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE_WORDS = frozenset({"false", "f", "no", "n", "off", "0"})


# ---------------------------------------------------------------------------------------------- the reference


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One reference column: its bins, and how many reference rows lie in each."""

    name: str
    type: str
    kind: Kind
    rows: int
    n: int
    missing: int = 0
    invalid: int = 0
    wrong: int = 0
    low: float | None = None
    high: float | None = None
    total: float | None = None
    squares: float | None = None
    std: float | None = None
    edges: tuple[float, ...] = ()
    deciles: tuple[int, ...] = ()  # positions in `edges` where a decile ends
    categories: tuple[str, ...] = ()
    is_numeric: bool = False
    is_complete: bool = True  # False: rare categories went into buckets, so an unknown one may not be new
    counts: tuple[int, ...] = ()

    @property
    def is_constant(self) -> bool:
        return self.kind == "category" and len(self.categories) == 1 and self.n > 0

    @property
    def other(self) -> int:
        """The first bin of what is not one of the categories: one bin, or the buckets if there are too many."""
        return len(self.categories)

    def to_json(self) -> Json:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnProfile:
        values = {name: data[name] for name in cls.__slots__ if name in data}
        for name in ("edges", "deciles", "categories", "counts"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference columns of one table, in the table's order."""

    rows: int
    columns: dict[str, ColumnProfile]

    def to_json(self) -> Json:
        return {"rows": self.rows, "columns": [column.to_json() for column in self.columns.values()]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        columns = [ColumnProfile.from_json(item) for item in data["columns"]]
        return cls(rows=data["rows"], columns={column.name: column for column in columns})


def build(columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]], types: Mapping[str, str]) -> Profile:
    """Profile the reference rows. `types` comes from the schema and names the columns that count."""
    rows = max((len(values) for values in columns.values()), default=0)
    empty: list[Any] = [None] * rows
    return Profile(
        rows=rows,
        columns={
            name: _profile_column(name, type_, columns.get(name, empty)) for name, type_ in types.items()
        },
    )


def _profile_column(name: str, type_: str, values: Sequence[Any] | npt.NDArray[Any]) -> ColumnProfile:
    if type_ in NUMERIC_TYPES:
        return _profile_numbers(name, type_, _read_numbers(values))
    return _profile_labels(name, type_, _read_labels(values, type_))


def _profile_numbers(name: str, type_: str, read: _Numbers) -> ColumnProfile:
    x = read.values
    facts: Json = {"name": name, "type": type_, "rows": read.rows, "n": x.size, "is_numeric": True}
    facts |= {"missing": read.missing, "invalid": read.invalid, "wrong": read.wrong}
    if not x.size:
        return ColumnProfile(kind="empty", **facts)
    facts |= _moments(x) | {"std": _finite(_std(x))}
    distinct = np.unique(x)
    if distinct.size <= DISCRETE_AT_MOST:
        categories = tuple(number_text(value) for value in distinct)
        counts = np.append(np.bincount(np.searchsorted(distinct, x), minlength=distinct.size), 0)
        return ColumnProfile(kind="category", categories=categories, counts=_ints(counts), **facts)
    # quantiles are values that occur: ties stay whole, nothing overflows between two extremes, ranks are exact
    every = np.sort(x)[(np.arange(1, BINS) * x.size + BINS - 1) // BINS - 1]
    edges = np.unique(every)
    deciles = np.unique(np.searchsorted(edges, every[BINS // 10 - 1 :: BINS // 10]))
    counts = np.bincount(np.searchsorted(edges, x, side="left"), minlength=edges.size + 1)
    return ColumnProfile(
        kind="number", edges=tuple(edges.tolist()), deciles=_ints(deciles), counts=_ints(counts), **facts
    )


def _profile_labels(name: str, type_: str, read: _Labels) -> ColumnProfile:
    n = read.counts.total()
    facts: Json = {"name": name, "type": type_, "rows": read.rows, "n": n}
    facts |= {"missing": read.missing, "invalid": 0, "wrong": read.wrong}
    if not n:
        return ColumnProfile(kind="empty", **facts)
    if type_ == "text" and len(read.counts) > max(MOST_CATEGORIES, n // 2):
        return ColumnProfile(kind="text", **facts)
    ranked = sorted(read.counts.items(), key=lambda item: (-item[1], item[0]))
    kept, rare = ranked[:MOST_CATEGORIES], ranked[MOST_CATEGORIES:]
    rest = np.zeros(BUCKETS if rare else 1, dtype=np.int64)
    for label, number in rare:
        rest[bucket(label)] += number
    return ColumnProfile(
        kind="category",
        categories=tuple(label for label, _ in kept),
        counts=(*(number for _, number in kept), *_ints(rest)),
        is_complete=not rare,
        **facts,
    )


def bucket(label: str) -> int:
    """The same bucket for the same category in every process and every year."""
    return lot(label) % BUCKETS


def lot(label: str) -> int:
    """A number that has nothing to do with how often the category occurs."""
    return zlib.crc32(label.encode())


# ---------------------------------------------------------------------------------------------- the traffic


@dataclass(slots=True)
class ColumnCounts:
    """What arrived in one column, on the bins of its reference."""

    n: int = 0
    missing: int = 0
    invalid: int = 0
    wrong: int = 0
    absent: int = 0  # rows that came without the column
    below: int = 0
    above: int = 0
    low: float | None = None
    high: float | None = None
    total: float | None = 0.0
    squares: float | None = 0.0
    bins: dict[int, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)  # unseen categories, the most frequent ones
    odd: dict[str, int] = field(default_factory=dict)  # examples of values of the wrong type

    def add(self, more: ColumnCounts) -> None:
        for name in ("n", "missing", "invalid", "wrong", "absent", "below", "above"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.low = _extreme(min, self.low, more.low)
        self.high = _extreme(max, self.high, more.high)
        self.total = _sum(self.total, more.total)
        self.squares = _sum(self.squares, more.squares)
        for index, number in more.bins.items():
            self.bins[index] = self.bins.get(index, 0) + number
        self.new = _examples(Counter(self.new) + Counter(more.new), MOST_NEW)
        self.odd = _examples(Counter(self.odd) + Counter(more.odd))

    def dense(self, size: int) -> Ints:
        counts = np.zeros(size, dtype=np.int64)
        for index, number in self.bins.items():
            if 0 <= index < size:
                counts[index] = number
        return counts

    def to_json(self) -> Json:
        data = {
            name: getattr(self, name) for name in self.__slots__ if getattr(self, name) not in (0, None, {})
        }
        if "bins" in data:
            data["bins"] = {str(index): self.bins[index] for index in sorted(self.bins)}
        for name in ("total", "squares"):  # None says "too large to add", which is not the same as nothing
            if getattr(self, name) is None:
                data[name] = None
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnCounts:
        values = {name: data[name] for name in cls.__slots__ if name in data}
        values["bins"] = {int(index): number for index, number in data.get("bins", {}).items()}
        values["new"], values["odd"] = dict(data.get("new", {})), dict(data.get("odd", {}))
        return cls(**values)


@dataclass(slots=True)
class Counts:
    """What arrived in a table. `a.add(b)` makes `a` the counts of both."""

    rows: int = 0
    columns: dict[str, ColumnCounts] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)  # columns that the reference does not have

    def add(self, more: Counts) -> None:
        for name, column in more.columns.items():
            mine = self.columns.setdefault(name, ColumnCounts())
            mine.add(column)
        self.rows += more.rows
        for name, rows in more.extra.items():
            self.extra[name] = self.extra.get(name, 0) + rows

    def to_json(self) -> Json:
        columns = {name: column.to_json() for name, column in self.columns.items()}
        return {"rows": self.rows, "columns": columns} | ({"extra": self.extra} if self.extra else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Counts:
        columns = {name: ColumnCounts.from_json(item) for name, item in data.get("columns", {}).items()}
        return cls(rows=data.get("rows", 0), columns=columns, extra=dict(data.get("extra", {})))


def merge(parts: Iterable[Counts]) -> Counts:
    total = Counts()
    for part in parts:
        total.add(part)
    return total


def count(
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]], profile: Profile, rows: int | None = None
) -> Counts:
    """Count a piece of traffic on the profile's bins."""
    if rows is None:
        rows = max((len(values) for values in columns.values()), default=0)
    counted = {
        name: _count_column(columns[name], reference) if name in columns else ColumnCounts(absent=rows)
        for name, reference in profile.columns.items()
    }
    extra = {_label(name): rows for name in list(columns)[:500] if name not in profile.columns}
    return Counts(rows=rows, columns=counted, extra=dict(list(extra.items())[:MOST_EXAMPLES]))


def _count_column(values: Sequence[Any] | npt.NDArray[Any], reference: ColumnProfile) -> ColumnCounts:
    if reference.is_numeric:
        return _count_numbers(_read_numbers(values), reference)
    return _count_labels(_read_labels(values, reference.type), reference)


def _count_numbers(read: _Numbers, reference: ColumnProfile) -> ColumnCounts:
    x = read.values
    counts = ColumnCounts(
        n=x.size, missing=read.missing, invalid=read.invalid, wrong=read.wrong, odd=_examples(read.examples)
    )
    if not x.size:
        return counts
    for name, value in _moments(x).items():
        setattr(counts, name, value)
    if reference.low is not None and reference.high is not None:
        counts.below, counts.above = int((x < reference.low).sum()), int((x > reference.high).sum())
    if reference.kind == "number":
        counts.bins = _sparse(np.bincount(np.searchsorted(reference.edges, x, side="left")))
    elif reference.kind == "category":
        distinct, numbers = np.unique(x, return_counts=True)
        found = Counter({number_text(value): int(k) for value, k in zip(distinct, numbers, strict=True)})
        _put_labels(counts, found, reference)
    return counts


def _count_labels(read: _Labels, reference: ColumnProfile) -> ColumnCounts:
    counts = ColumnCounts(
        n=read.counts.total(), missing=read.missing, wrong=read.wrong, odd=_examples(read.examples)
    )
    if reference.kind == "category":
        _put_labels(counts, read.counts, reference)
    return counts


def _put_labels(counts: ColumnCounts, found: Counter[str], reference: ColumnProfile) -> None:
    place = {label: index for index, label in enumerate(reference.categories)}
    unseen: Counter[str] = Counter()
    for label, number in found.items():
        index = place.get(label)
        if index is None:
            index = reference.other
            if reference.is_complete:
                unseen[label] = number
            else:
                index += bucket(label)
        counts.bins[index] = counts.bins.get(index, 0) + number
    counts.new = _examples(unseen, MOST_NEW)


# ---------------------------------------------------------------------------------------------- reading values


@dataclass(slots=True)
class _Numbers:
    rows: int
    values: Floats
    missing: int
    invalid: int = 0
    wrong: int = 0
    examples: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Labels:
    rows: int
    counts: Counter[str]
    missing: int
    wrong: int = 0
    examples: Counter[str] = field(default_factory=Counter)


def _read_numbers(values: Sequence[Any] | npt.NDArray[Any]) -> _Numbers:
    """Split into finite numbers, missing, infinite, and what is no number at all."""
    wrong: Counter[str] = Counter()
    try:
        x = np.asarray(values, dtype=np.float64)  # None becomes nan, "1.5" becomes 1.5
        if x.ndim != 1:
            raise ValueError("not a column")
    except (TypeError, ValueError, OverflowError):
        x = np.array([_number(value, wrong) for value in values], dtype=np.float64)
    is_missing, is_finite = np.isnan(x), np.isfinite(x)
    missing, finite = int(is_missing.sum()), int(is_finite.sum())
    bad = wrong.total()
    return _Numbers(
        rows=x.size,
        values=x if finite == x.size else x[is_finite],
        missing=missing - bad,
        invalid=x.size - missing - finite,
        wrong=bad,
        examples=wrong,
    )


def _number(value: Any, wrong: Counter[str]) -> float:
    if _is_missing(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        wrong[_label(value)] += 1
        return math.nan


def _read_labels(values: Sequence[Any] | npt.NDArray[Any], type_: str) -> _Labels:
    """Count by canonical text: True, "True" and "true" are one category, as are 1, 1.0 and "1.0"."""
    listed: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    found: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missing = 0
    for value, number in _tally(listed):
        if _is_missing(value):
            missing += number
        elif type_ != "boolean":
            found[_label(value)] += number
        elif (word := _boolean(value)) is not None:
            found[word] += number
        else:
            wrong[_label(value)] += number
    return _Labels(rows=len(listed), counts=found, missing=missing, wrong=wrong.total(), examples=wrong)


def _tally(values: Sequence[Any]) -> Iterable[tuple[Any, int]]:
    """Equal values once with their number, where Python's equality may be trusted; else one by one."""
    kinds = set(map(type, values))
    if bool in kinds and len(kinds - {bool, type(None), str}) > 0:  # True == 1, but they are not one category
        return ((value, 1) for value in values)
    try:
        return Counter(values).items()
    except TypeError:
        return ((value, 1) for value in values)


def _boolean(value: Any) -> str | None:
    word = _label(value).lower()
    if word in _TRUE_WORDS:
        return "true"
    return "false" if word in _FALSE_WORDS else None


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")


def _label(value: Any) -> str:
    """The canonical text of a category: short, storable in any database, equal for equal meanings."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return number_text(float(value))
    try:
        text = str(value).strip()
    except Exception:  # whatever the object does, its row must be counted
        text = type(value).__name__
    if _INTEGRAL_TEXT.fullmatch(text):
        text = text.split(".")[0]
    elif text.lower() in ("true", "false"):
        text = text.lower()
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if len(text) > LONGEST_LABEL:
        text = f"{text[: LONGEST_LABEL - 10]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text


def number_text(value: float) -> str:
    """`3` for 3.0, `0.1` for 0.1: the same text for the same number, whatever type carried it."""
    value = float(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


# ---------------------------------------------------------------------------------------------- small arithmetic


def _moments(x: Floats) -> dict[str, float | None]:
    with np.errstate(over="ignore", invalid="ignore"):
        total, squares = float(x.sum()), float(np.dot(x, x))
    return {
        "low": float(np.min(x)),
        "high": float(np.max(x)),
        "total": _finite(total),
        "squares": _finite(squares),
    }


def _std(x: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(x.std())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else _finite(a + b)


def _extreme(pick: Any, a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return float(pick(a, b))


def _sparse(counts: npt.NDArray[Any]) -> dict[int, int]:
    held = np.flatnonzero(counts)
    return dict(zip(held.tolist(), counts[held].tolist(), strict=True))


def _examples(found: Counter[str], most: int = MOST_EXAMPLES) -> dict[str, int]:
    """The most frequent few; ties by text, so that the order of arrival does not matter."""
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most])


def _ints(values: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
