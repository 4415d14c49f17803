"""How people sign in: by invitation only."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import Http404, HttpRequest, HttpResponse


class AccountAdapter(DefaultAccountAdapter):
    """allauth with its sign-up closed: an administrator invites (`registry.actions.people`)."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """A service account has keys and no session, whoever reads its mail and asked for a new password."""
        if user.is_service:
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **kwargs)


def closed(request: HttpRequest, **arguments: str) -> HttpResponse:
    """A page of allauth that does not exist here."""
    raise Http404
