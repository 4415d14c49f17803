"""Protobuf before it is parsed: its messages counted, its nesting and lists bounded, its fields all known.

Two bytes can stand for an empty message that takes two hundred in memory, so the size of a file bounds nothing. This
walk builds no object. A field that this release of ONNX does not know is refused: whoever reads the file later (another
parser, another release) shall see no more in it than we do.
"""

import functools
import re
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from registry.errors import Refused

from .refusals import damaged, refused, too_large

MAX_DEPTH = 32
MAX_FIELDS = 1_000_000
#: Bytes of lists of numbers, whose members may take eight times as much in memory.
MAX_LISTS = 256 << 20

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
TEXT = 9  # the type of a field that is UTF-8; its parser hands out bytes where it is not
MODES = b"|".join(
    bytes([len(mode)]) + mode
    for mode in (
        b"BRANCH_LEQ",
        b"LEAF",
        b"BRANCH_LT",
        b"BRANCH_GTE",
        b"BRANCH_GT",
        b"BRANCH_EQ",
        b"BRANCH_NEQ",
    )
)


@dataclass
class _Field:
    """How a field of a message is written."""

    wire: int
    is_repeated: bool
    is_text: bool = False
    inside: "_Message | None" = None
    run: "re.Pattern[bytes] | None" = None

    def takes(self, wire: int) -> bool:
        return wire == self.wire or (wire == BYTES and self.is_repeated and self.wire != BYTES)


@dataclass
class _Message:
    fields: dict[int, _Field] = field(default_factory=dict)


def walk(data: bytes) -> None:
    """Raise Invalid unless these bytes are one ModelProto of acceptable size, nesting and content."""
    waiting = [(0, len(data), _model(), 0)]
    left, lists = MAX_FIELDS, MAX_LISTS
    while waiting:
        place, end, message, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise refused(
                "nested", _("The ONNX file nests its parts too deeply."), _("Export the model again.")
            )
        while place < end:
            left -= 1
            if left < 0:
                raise too_large(_("parts"), MAX_FIELDS + 1, MAX_FIELDS)
            tag, start = _varint(data, place, end)
            known = message.fields.get(tag >> 3)
            if known is None or not known.takes(tag & 7):
                raise _unknown(tag)
            start, stop = _extent(data, start, end, tag & 7)
            if known.is_text:
                _require_text(data[start:stop])
            if known.inside is not None:
                waiting.append((start, stop, known.inside, depth + 1))
            elif known.run is not None:
                stop = max(stop, _end_of_run(known.run, data, place, end))
                lists -= stop - place
            elif tag & 7 == BYTES and known.wire != BYTES:
                lists -= stop - start
            if lists < 0:
                raise too_large(_("bytes of lists"), MAX_LISTS + 1, MAX_LISTS)
            place = stop


def _require_text(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise damaged(_("a name is not text")) from None


def _unknown(tag: int) -> Refused:
    return refused(
        "unknown_field",
        _("The ONNX file has a field (%(number)d) that ONNX does not define here.") % {"number": tag >> 3},
        _("Export the model with a released version of onnx, without extensions."),
    )


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise damaged(_("a number is cut off"))


def _extent(data: bytes, start: int, end: int, wire: int) -> tuple[int, int]:
    """Where the content of a field begins and ends."""
    if wire == BYTES:
        size, start = _varint(data, start, end)
        stop = start + size
    elif wire == VARINT:
        stop = _varint(data, start, end)[1]
    else:
        stop = start + (4 if wire == FIXED32 else 8)
    if stop > end:
        raise damaged(_("it ends too early"))
    return start, stop


def _end_of_run(run: "re.Pattern[bytes]", data: bytes, place: int, end: int) -> int:
    found = run.match(data, place, end)
    return found.end() if found else place


@functools.cache
def _model() -> _Message:
    import onnx  # half a second: only who looks at a graph pays

    return _describe(onnx.ModelProto.DESCRIPTOR, {})


def _describe(descriptor: Any, known: dict[str, _Message]) -> _Message:
    """The fields of a message, from the definition that its parser uses itself."""
    if descriptor.full_name in known:
        return known[descriptor.full_name]
    message = known[descriptor.full_name] = _Message()
    for each in descriptor.fields:
        wire = _WIRES.get(each.type, VARINT)
        inside = _describe(each.message_type, known) if each.message_type else None
        message.fields[each.number] = _Field(
            wire, each.is_repeated, each.type == TEXT, inside, _run_of(each, wire)
        )
    return message


_WIRES = {
    1: FIXED64,
    2: FIXED32,
    6: FIXED64,
    7: FIXED32,
    9: BYTES,
    11: BYTES,
    12: BYTES,
    15: FIXED32,
    16: FIXED64,
}


def _run_of(each: Any, wire: int) -> "re.Pattern[bytes] | None":
    """A list written member by member, passed over in one step: forests have millions of them."""
    if not each.is_repeated or each.message_type or each.number > 15:
        return None
    tag = re.escape(bytes([each.number << 3 | wire]))
    if wire == BYTES:
        return (
            re.compile(b"(?:" + tag + b"(?:" + MODES + b"))++", re.DOTALL) if each.name == "strings" else None
        )
    content = {VARINT: rb"[\x80-\xff]{0,9}[\x00-\x7f]", FIXED32: rb".{4}", FIXED64: rb".{8}"}[wire]
    return re.compile(b"(?:" + tag + content + b")++", re.DOTALL)
