"""How often a program may write. Predictions are not counted."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from registry.models import ApiKey


class WriteThrottle(SimpleRateThrottle):
    """So many writes a minute for each key, or for each person without one."""

    scope = "writes"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        if request.method in SAFE_METHODS or not getattr(view, "is_throttled", True):
            return None
        who = f"key-{request.auth.pk}" if isinstance(request.auth, ApiKey) else f"user-{request.user.pk}"
        return f"writes-{who}"
