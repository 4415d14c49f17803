"""What may go wrong in the domain. No HTTP in here: `status` is only the number that the API contract names."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class FieldError(TypedDict):
    """One thing to mend: where it is, what was found, what was expected, how to fix it."""

    field: str
    code: str
    value: NotRequired[object]
    expected: NotRequired[str]
    fix: NotRequired[str]
    row: NotRequired[int | None]


class Refused(Exception):
    """An act that the rules do not allow now: wrong state, lost race, missing approval."""

    status = 409
    default_code = "refused"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        fix: str = "",
        errors: Sequence[FieldError] = (),
        status: int = 0,
        retry_after: int = 0,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.fix = fix
        self.errors = list(errors)
        self.status = status or self.status
        self.retry_after = retry_after  # seconds, where trying again is worth it
        self.facts = dict(facts or {})  # for the audit log, beside the sentence

    def __str__(self) -> str:
        return str(self.message)


class Forbidden(Refused):
    """This person may not do this; the message names the missing role."""

    status = 403
    default_code = "forbidden"


class NotFound(Refused):
    """There is no such thing, or this person may not know of it."""

    status = 404
    default_code = "not_found"


class Invalid(Refused):
    """Readable, but not acceptable: one entry per field in `errors`."""

    status = 422
    default_code = "invalid"


class Unreadable(Refused):
    """Not what the format promises: broken JSON, an unknown kind of file."""

    status = 415
    default_code = "unreadable"


class TooLarge(Refused):
    """Over the limit, which the message names."""

    status = 413
    default_code = "too_large"


class TooMany(Refused):
    """More calls than the rate allows; `retry_after` says when there may be more."""

    status = 429
    default_code = "throttled"


class NothingServing(Refused):
    """No released version may answer here."""

    status = 503
    default_code = "nothing_serving"


class Unavailable(Refused):
    """A part that is needed does not answer now."""

    status = 503
    default_code = "unavailable"


class Gone(Refused):
    """It was here, and its time is over."""

    status = 410
    default_code = "expired"
