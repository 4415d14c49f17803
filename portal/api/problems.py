"""Every error of the API has one shape: `application/problem+json` (RFC 9457) with one entry per mistake."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from django.http import Http404, JsonResponse
from django.utils.encoding import force_str
from django.utils.translation import gettext as _
from rest_framework import exceptions

from registry import audit
from registry.errors import Refused

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
LONGEST_VALUE = 200
RETRY_SECONDS = 5
API = "/api/"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What went wrong, in words and in a code that never changes."""

    status: int
    code: str
    detail: str
    fix: str = ""
    errors: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> JsonResponse:
        body = {
            "type": f"/problems/{self.code.replace('_', '-')}",
            "title": title_of(self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "fix": self.fix,
            "request_id": audit.current_context().request_id,
            "errors": [_entry(**each) for each in self.errors],
        }
        answer = JsonResponse(
            body,
            status=self.status,
            content_type=MEDIA_TYPE,
            encoder=DjangoJSONEncoder,
            json_dumps_params={"ensure_ascii": False},
        )
        for name, value in self.headers.items():
            answer[name] = value
        return answer


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> JsonResponse | None:
    """The answer to an exception of a view; None for a fault of ours, which Django logs and handler500 answers."""
    problem = _problem_of(exc)
    return problem.response() if problem else None


def title_of(status: int) -> str:
    titles = {
        400: _("The request cannot be read"),
        401: _("Say who you are"),
        403: _("Not allowed"),
        404: _("Not found"),
        405: _("No such method here"),
        406: _("No such format here"),
        409: _("Not possible now"),
        410: _("Its time is over"),
        413: _("Too large"),
        415: _("This kind of content is not accepted"),
        422: _("Some values are not right"),
        429: _("Too many requests"),
        503: _("Not available now"),
        504: _("The model took too long"),
    }
    return titles.get(status) or (_("Something went wrong here") if status >= 500 else _("Not accepted"))


def not_found() -> Problem:
    return Problem(404, "not_found", _("There is no such thing, or you may not see it."))


def of(status: int, *, detail: str = "", fix: str = "") -> Problem:
    """The problem for a status alone, where Django has no more to say."""
    if status == 404:
        return not_found()
    codes = {400: "bad_request", 403: "forbidden", 500: "server_error"}
    words = detail or (_("The fault is ours; quote the request id.") if status == 500 else title_of(status))
    return Problem(status, codes.get(status, "error"), words, fix)


def _problem_of(exc: Exception) -> Problem | None:
    if isinstance(exc, Refused):
        headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else {}
        return Problem(exc.status, exc.code, str(exc), exc.fix, exc.errors, headers)
    if isinstance(exc, Http404):
        return not_found()
    if isinstance(exc, PermissionDenied):
        return Problem(403, "forbidden", str(exc) or _("You may not do this."))
    if isinstance(exc, RequestDataTooBig):
        return Problem(413, "too_large", _("The body is larger than the limit."))
    if isinstance(exc, SuspiciousOperation):
        return Problem(400, "bad_request", _("The request cannot be read."))
    if isinstance(exc, exceptions.ValidationError):
        errors = list(_flat(exc.get_full_details()))
        return Problem(422, _code_of(errors), _sentence(errors), errors=errors)
    if isinstance(exc, exceptions.APIException):
        return _framework_problem(exc)
    if isinstance(exc, OperationalError | InterfaceError):
        return _database_away(exc)
    return None


def _database_away(exc: Exception) -> Problem:
    """It restarts, or has no connection left: not the caller's fault, nor for ever."""
    logger.error("database_away", exc_info=exc)
    return Problem(
        503,
        "database_unavailable",
        _("The database does not answer now."),
        _("Try again in a moment; if it stays so, tell an administrator."),
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _framework_problem(exc: exceptions.APIException) -> Problem:
    headers = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if isinstance(exc, exceptions.Throttled):
        seconds = max(1, math.ceil(getattr(exc, "wait", None) or 1))
        headers["Retry-After"] = str(seconds)
        detail = _("Too many writes; try again in %(seconds)d s.") % {"seconds": seconds}
        return Problem(429, "throttled", detail, headers=headers)
    if isinstance(exc, exceptions.NotAuthenticated):
        detail = _("Send an API key: “Authorization: Bearer mg_…”, or sign in.")
        return Problem(exc.status_code, "not_authenticated", detail, headers=headers)
    codes = exc.get_codes()
    code = codes if isinstance(codes, str) else "error"
    return Problem(exc.status_code, code, force_str(exc.detail), headers=headers)


def _code_of(errors: Sequence[Entry]) -> str:
    """The one code of all entries, or that there are several."""
    codes = {each["code"] for each in errors}
    return str(codes.pop()) if len(codes) == 1 else "invalid"


def _sentence(errors: Sequence[Entry]) -> str:
    if not errors:
        return _("Some values are not right.")
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = _(" (and %(count)d more)") % {"count": len(errors) - 1} if len(errors) > 1 else ""
    return f"{where}{first['expected']}{more}"


def _flat(details: Any, path: tuple[str | int, ...] = ()) -> Iterator[Entry]:
    """Entries from the framework's nested errors; the first number on the way is the row."""
    if _is_entry(details):
        row = next((part for part in path if isinstance(part, int)), None)
        name = ".".join(str(part) for part in path if isinstance(part, str) and part != "non_field_errors")
        yield {
            "field": name,
            "row": row,
            "code": str(details["code"]),
            "expected": force_str(details["message"]),
        }
    elif isinstance(details, Mapping):
        for name, inner in details.items():
            yield from _flat(inner, (*path, name))
    elif isinstance(details, list):
        is_many = any(not _is_entry(each) for each in details)
        for position, inner in enumerate(details):
            yield from _flat(inner, (*path, position) if is_many else path)


def _is_entry(details: Any) -> bool:
    """One mistake, as the framework tells it; and not a body that has fields of these names."""
    is_pair = isinstance(details, Mapping) and set(details) == {"message", "code"}
    return is_pair and isinstance(details["message"], str)


def _entry(
    field: str = "",
    row: int | None = None,
    code: str = "invalid",
    value: Any = None,
    expected: str = "",
    fix: str = "",
    **more: Any,
) -> Entry:
    shown = value[:LONGEST_VALUE] if isinstance(value, str) else value
    if isinstance(shown, float) and not math.isfinite(shown):
        shown = str(shown)
    return {
        "field": field,
        "row": row,
        "code": code,
        "value": shown,
        "expected": expected,
        "fix": fix,
        **more,
    }
