"""What commands have in common: they come from `command` in the audit log, and a refusal is one clear sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from registry import audit
from registry.errors import Refused
from registry.models import RegisteredModel, User


@contextmanager
def acting() -> Iterator[None]:
    """Run a verb as a command does: recorded as such, refusals told to the person at the keyboard."""
    with audit.context(channel="command"):
        try:
            yield
        except Refused as error:
            fix = f"\n{error.fix}" if error.fix else ""
            raise CommandError(f"{error}{fix}") from error


def user_named(email: str) -> User:
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        raise CommandError(
            f"Nobody here has the address {email}. Invite them with: manage.py adduser {email} --role …"
        )
    return user


def model_named(slug: str) -> RegisteredModel:
    model = RegisteredModel.objects.present().filter(slug=slug).first()
    if model is None:
        known = (
            ", ".join(RegisteredModel.objects.present().order_by("slug").values_list("slug", flat=True))
            or "none yet"
        )
        raise CommandError(f"There is no model “{slug}”; there are: {known}.")
    return model


def listed(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
