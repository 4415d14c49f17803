"""JSON as the standard has it: no NaN, no Infinity, no name twice in one object."""

import json
import math
from typing import Any, NoReturn

from django.utils.translation import gettext as _

MAX_NAME = 100


class NotStrict(ValueError):
    """This text is no JSON, or JSON that two readers would understand differently."""


def loads(text: str | bytes) -> Any:
    """The value; NotStrict with a sentence that says where it fails."""
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
