"""Who calls: a program by its key, or a person by their session."""

import base64
import binascii
import re
from datetime import timedelta

from django.core.cache import cache
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import authentication, permissions
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from inference import calls
from registry import audit
from registry.audit import Action
from registry.errors import Forbidden
from registry.models import ApiKey, User

_MODEL = re.compile(r"/api/v1/models/([a-z0-9-]+)/")
USED_EVERY = timedelta(minutes=1)


class KeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer mg_…`, or the key as the password of HTTP Basic with any user name.

    The key is found by the SHA-256 of its 256 random bits: how long that takes tells nothing about any key.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        secret = _secret_in(request.headers.get("Authorization", ""))
        if secret is None:
            return None
        key = ApiKey.objects.with_secret(secret).select_related("user").first()
        if key is None:
            raise AuthenticationFailed(_("This key is not known."), code="unknown_key")
        audit.extend_context(key_prefix=key.prefix)
        _require_usable(key, request)
        note_use(key)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session; writes need its CSRF token."""

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsAuthenticated(permissions.IsAuthenticated):
    """Nobody calls without saying who they are."""


def _secret_in(header: str) -> str | None:
    """The key in an Authorization header; None where the header is about something else."""
    scheme, _space, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise AuthenticationFailed(_("The Basic credentials cannot be read."), code="unknown_key") from exc
    return decoded.partition(":")[2]


def _require_usable(key: ApiKey, request: Request) -> None:
    state = key.state if key.user.is_active else "inactive"
    if state == "active":
        return
    words = {
        "revoked": _("This key was revoked."),
        "expired": _("This key has expired."),
        "inactive": _("The owner of this key has no open account."),
    }
    _record_use_of_ended_key(key, state, words[state])
    calls.record_refused(
        actor=key.user,
        key=key,
        slug=_model_in(request.path),
        status=401,
        code=f"key_{state}",
        request_id=audit.current_context().request_id,
    )
    raise AuthenticationFailed(words[state], code=f"key_{state}")


def _model_in(path: str) -> str:
    found = _MODEL.match(path)
    return found[1] if found else ""


def _record_use_of_ended_key(key: ApiKey, state: str, message: str) -> None:
    """Once a minute and key: a program that goes on for weeks must not drown the log."""
    if cache.add(f"api-key-over-{key.pk}", state, timeout=USED_EVERY.total_seconds()):
        error = Forbidden(message, code=f"key_{state}")
        audit.record_refusal(Action.KEY_USED, target=key, actor=key.user, error=error)


def is_use_due(key: ApiKey) -> bool:
    """Whether the last note of its use is more than a minute old."""
    return key.last_used_at is None or key.last_used_at < timezone.now() - USED_EVERY


def note_use(key: ApiKey) -> None:
    """When a key was last used, to the minute: no write for every call."""
    if is_use_due(key):
        now = timezone.now()
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
        key.last_used_at = now
