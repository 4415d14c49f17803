"""JSON as the standard has it: no NaN, no Infinity, no name twice in one object."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import orjson
from django.utils.translation import gettext as _

MAX_NAME = 100
UNSURE: Any = object()

#: A whole number that may be beyond 64 bits, which the fast reader would round.
_LONG = re.compile(rb"(?<![0-9.])[0-9]{18}")
#: Looked for first: a search of plain bytes takes a twentieth of the time.
_ZEROS, _AS_ZEROS = b"0" * 18, bytes.maketrans(b"123456789", b"000000000")


class NotStrict(ValueError):
    """This text is no JSON, or JSON that two readers would understand differently."""


def loads(text: str | bytes) -> Any:
    """The value; NotStrict with a sentence that says where it fails."""
    found = _plainly_strict(text) if isinstance(text, bytes) else UNSURE
    if found is not UNSURE:
        return found
    try:
        return _decoder.decode(_text(text))
    except NotStrict:
        raise
    except json.JSONDecodeError as exc:
        raise NotStrict(
            _("This is not JSON: line %(line)d, column %(column)d: %(problem)s.")
            % {"line": exc.lineno, "column": exc.colno, "problem": exc.msg}
        ) from exc
    except RecursionError as exc:
        raise NotStrict(_("The JSON is nested too deeply.")) from exc
    except (UnicodeDecodeError, ValueError) as exc:
        raise NotStrict(_("The JSON cannot be read; send it as UTF-8.")) from exc


def _plainly_strict(text: bytes) -> Any:
    """The value by a reader that is several times faster, where both would read the same; else UNSURE.

    It knows no NaN, no Infinity and no number beyond a float either. What it would read otherwise is a whole number
    beyond 64 bits, and a name twice in an object: then there are more colons in the text than names in the value.
    """
    if _ZEROS in text.translate(_AS_ZEROS) and _LONG.search(text):
        return UNSURE
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return UNSURE
    return found if _names(found, text.count(b"{")) == text.count(b":") else UNSURE


def _names(value: Any, objects: int) -> int:
    """How many names there are in all objects of this value; there are at most so many objects in it."""
    count, level = 0, [value]
    while level:
        found = [each for each in level if type(each) is dict]
        count += sum(map(len, found))
        objects -= len(found)
        if not objects:  # nothing deeper can have a name
            break
        level = [inner for each in level for inner in _inside(each) if type(inner) in _NESTED]
    return count


def _inside(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


_NESTED = frozenset({dict, list})


def _text(given: str | bytes) -> str:
    text = given if isinstance(given, str) else given.decode(json.detect_encoding(given), "surrogatepass")
    if text.startswith("\ufeff"):
        raise json.JSONDecodeError("unexpected byte order mark", text, 0)
    return text


def _constant(token: str) -> NoReturn:
    raise NotStrict(_("%(token)s is not JSON; send null for a missing number.") % {"token": token})


def _finite(token: str) -> float:
    number = float(token)
    if math.isinf(number):
        raise NotStrict(_("%(token)s is too large for a number.") % {"token": token[:40]})
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        # One walk: a body of a million names must not be counted a million times.
        twice = next(name for name, _value in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotStrict(_("“%(name)s” is there twice in one object.") % {"name": twice[:MAX_NAME]})
    return found


_decoder = json.JSONDecoder(
    parse_constant=_constant, parse_float=_finite, object_pairs_hook=_without_duplicates
)
