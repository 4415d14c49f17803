"""The file of a compiled form, opened as what it is: bytes from beside an untrusted model.

Everything is claimed and nothing believed: lengths, types and shapes are checked against the bytes that are there, and
every array is handed out with the shape and the range that its reader asks for, or not at all.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt

from inference.runner.forms import ITEM_SIZES, LENGTH, MAGIC, MAX_FORM, MAX_HEAD

Array = npt.NDArray[Any]

MAX_ARRAYS = 100_000
MAX_DIMENSIONS = 3
MAX_TEXT = 10_000


class BadForm(ValueError):
    """The bytes are no compiled form that this portal opens."""


class Parts:
    """A form's plan, and its arrays and graphs by their number."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_FORM:
            raise BadForm("larger than a form may be")
        head, at = _head(data)
        self.plan = _mapping(head.get("plan"), "plan")
        self.made_with = _words(head.get("made_with"))
        self._arrays: list[Array] = []
        self._graphs: list[bytes] = []
        view = memoryview(data)
        for claim in _list(head.get("arrays"), "arrays", MAX_ARRAYS):
            array, at = _array(view, at, claim)
            self._arrays.append(array)
        for size in _list(head.get("graphs"), "graphs", 10):
            if not _is_count(size) or at + size > len(data):
                raise BadForm("graph size")
            self._graphs.append(bytes(view[at : at + size]))
            at += size
        if at != len(data):
            raise BadForm("bytes behind the end")

    def floats(self, ref: object, shape: Sequence[int | None], *, finite: bool = False) -> Array:
        found = self._one(ref, "<f8", shape)
        if finite and not np.isfinite(found).all():
            raise BadForm("a number that is not finite")
        return found

    def integers(self, ref: object, shape: Sequence[int | None], low: int, high: int) -> Array:
        """Whole numbers, each at least `low` and below `high`."""
        found = self._one(ref, "<i4", shape)
        if found.size and (found.min() < low or found.max() >= high):
            raise BadForm("a whole number out of range")
        return found

    def flags(self, ref: object, shape: Sequence[int | None]) -> Array:
        found = self._one(ref, "|u1", shape)
        if found.size and found.max() > 1:
            raise BadForm("a flag that is neither 0 nor 1")
        return found.astype(bool)

    def graph(self, ref: object) -> bytes:
        if not _is_count(ref) or ref >= len(self._graphs):
            raise BadForm("graph")
        return self._graphs[ref]

    def _one(self, ref: object, dtype: str, shape: Sequence[int | None]) -> Array:
        if not _is_count(ref) or ref >= len(self._arrays):
            raise BadForm("array")
        found = self._arrays[ref]
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, side) for side, wanted in zip(found.shape, shape, strict=True)
        )
        if found.dtype.str != dtype or not fits:
            raise BadForm(f"array {found.dtype.str} {found.shape} where {dtype} {tuple(shape)} was expected")
        return found


def starts(values: Array, count: int, end: int) -> Array:
    """Where each of `count` runs begins, and the end: 0 … `end`, never falling."""
    if len(values) != count + 1 or values[0] != 0 or values[-1] != end or (np.diff(values) < 0).any():
        raise BadForm("runs")
    return values


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    begin = len(MAGIC) + LENGTH.size
    if data[: len(MAGIC)] != MAGIC or len(data) < begin:
        raise BadForm("not a compiled form")
    (size,) = LENGTH.unpack_from(data, len(MAGIC))
    if size > MAX_HEAD or begin + size > len(data):
        raise BadForm("head size")
    try:
        head = json.loads(data[begin : begin + size], parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadForm("head is not JSON") from None
    return _mapping(head, "head"), begin + size


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _array(view: memoryview, at: int, claim: object) -> tuple[Array, int]:
    if not isinstance(claim, list) or len(claim) != 2 or not isinstance(claim[0], str):
        raise BadForm("array claim")
    dtype, shape = claim
    if dtype not in ITEM_SIZES or not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise BadForm("array claim")
    if not all(_is_count(side) for side in shape):
        raise BadForm("array shape")
    end = at + math.prod(shape) * ITEM_SIZES[dtype]
    if end > len(view):
        raise BadForm("array beyond the end")
    try:
        # In a place of its own: where the file has it, numpy would copy it to a better one at every use.
        found = np.frombuffer(view[at:end], dtype).reshape(shape).copy()
        found.flags.writeable = False
        return found, end
    except ValueError:  # nothing by a number that no array has
        raise BadForm("array shape") from None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 31


def _mapping(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadForm(place)
    return value


def _list(value: object, place: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise BadForm(place)
    return value


def _words(value: object) -> dict[str, str]:
    found = _mapping(value, "made_with")
    if len(found) > 50 or not all(isinstance(word, str) and len(word) < 100 for word in found.values()):
        raise BadForm("made_with")
    return found
