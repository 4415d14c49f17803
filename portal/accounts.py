"""How people sign in: by invitation only, with a second factor where they have one."""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from registry.errors import Refused


class AccountAdapter(DefaultAccountAdapter):
    """allauth with its sign-up closed: an administrator invites (`registry.actions.people`)."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """A service account has keys and no session, whoever reads its mail and asked for a new password."""
        if user.is_service:
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **kwargs)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Who has a second factor confirms with it: a password that was stolen must not take it away."""
        methods = super().get_reauthentication_methods(user)
        return [each for each in methods if each["id"] == "mfa_reauthenticate"] or methods


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of second factors lie encrypted in the database: a copy of it alone makes no codes."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken as exc:
            raise Refused(
                _("This second factor cannot be read any more: the secret key of this portal has changed."),
                code="unreadable_second_factor",
                fix=_("Ask an administrator to remove it, then set up a new one."),
            ) from exc


def _cipher() -> MultiFernet:
    """Of keys that only the settings know; the first one encrypts, earlier ones still open."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keys = [salted_hmac("portal.second-factor", "", each, algorithm="sha256").digest() for each in secrets]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


def closed(request: HttpRequest, **arguments: str) -> HttpResponse:
    """A page of allauth that does not exist here."""
    raise Http404
