"""How people sign in: by invitation only."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import Http404, HttpRequest, HttpResponse


class AccountAdapter(DefaultAccountAdapter):
    """allauth with its sign-up closed: an administrator invites (`registry.actions.people`)."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


def closed(request: HttpRequest, **arguments: str) -> HttpResponse:
    """A page of allauth that does not exist here."""
    raise Http404
