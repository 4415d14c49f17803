"""Which refused predictions belong into the audit log, whoever answers the call."""

from typing import Any

from django.core.cache import cache
from rest_framework.exceptions import APIException, ValidationError

from registry.errors import Refused
from registry.models import RegisteredModel

REFUSED_AGAIN = 60  # seconds in which the same refusal of a prediction is one event


def is_worth_recording(error: Refused, *, actor: Any, model: RegisteredModel | None) -> bool:
    """Who may not, and what may not answer: once a minute, for a program asks many times a second."""
    if error.status not in (403, 409) and error.code != "nothing_serving":
        return False
    seen = f"predict-refused-{actor.pk}-{model.pk if model else 0}-{error.code}"
    return cache.add(seen, True, timeout=REFUSED_AGAIN)


def code_of(error: Exception) -> str:
    """What a refusal is called in the request log."""
    if isinstance(error, Refused):
        return error.code
    if isinstance(error, ValidationError):
        return "invalid"
    codes = error.get_codes() if isinstance(error, APIException) else "not_found"
    return codes if isinstance(codes, str) else "error"
