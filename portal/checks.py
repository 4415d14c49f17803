"""System checks on settings: what would bite in production, said before it does."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security, deploy=True)
def production_is_closed(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    if not settings.MODELGATE_HTTPS:
        messages.append(
            Warning(
                "Cookies travel without TLS.",
                hint="Set MODELGATE_HTTPS=true behind a proxy that speaks HTTPS.",
                id="portal.W001",
            )
        )
    if settings.MODELGATE_ALLOW_AS_OF:
        messages.append(
            Error(
                "MODELGATE_ALLOW_AS_OF lets acts be recorded as of another time.",
                hint="Only the demo and the tests may set it.",
                id="portal.E001",
            )
        )
    return messages
