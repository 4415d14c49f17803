"""Acts that are recorded as of another time: how the demo tells what happened before today. Nowhere else."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from registry.errors import Invalid, Refused


def require_allowed(as_of: datetime | None) -> None:
    """Refused (409) unless this installation allows another time than now; Invalid (422) where it is yet to come."""
    if as_of is None:
        return
    if not settings.MODELGATE_ALLOW_AS_OF:
        raise Refused(
            _("This installation does not record acts as of another time."), code="as_of_not_allowed"
        )
    if as_of > timezone.now():
        raise Invalid(_("“As of” lies in the future."), code="as_of_in_future")


def instant(as_of: datetime | None, *, after: datetime | None, message: str) -> datetime:
    """When the act happened: now, or `as_of`. Refused with `message` unless that is later than `after`."""
    if as_of is None:
        return timezone.now()
    require_allowed(as_of)
    if after and as_of <= after:
        raise Refused(message, code="as_of_too_early")
    return as_of


def told(as_of: datetime | None) -> dict[str, Any]:
    """For the audit event, which itself always has the time at which it was written."""
    return {"as_of": as_of} if as_of else {}
