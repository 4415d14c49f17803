"""What a new installation needs before its first visitor: an administrator who can choose a password."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from django.conf import settings

from portal.demo import people as people_of_the_demo
from portal.demo import progress
from portal.env import env_str
from portal.launcher import CannotStart, noted_address
from registry import audit
from registry.actions import people
from registry.errors import Invalid
from registry.models import Role, User

DEFAULT_ADMINISTRATOR = "admin@localhost"


@dataclass(frozen=True)
class Administrator:
    """Somebody who may administer, but has not chosen a password yet."""

    user: User

    @property
    def email(self) -> str:
        return self.user.email

    def link(self, address: str) -> str:
        return sign_in_link(self.user, address)


def sign_in_link(user: User, address: str = "") -> str:
    """A page where this person sets a password and is signed in; it works once and for three days."""
    with audit.context(channel="command"):
        path = people.one_time_link(user, actor=people.SYSTEM)
    return urljoin(address or portal_address(), path)


def portal_address() -> str:
    """Where people reach this installation, as far as a command on the same machine can know."""
    return env_str("MODELGATE_URL") or noted_address(claim_path()) or "http://127.0.0.1:8000/"


def claim_path() -> Path:
    return Path(settings.DATA_DIR) / "run" / "up.lock"


def first_administrator(email: str | None) -> Administrator | None:
    """The one without whom nobody gets in; nothing once an administrator has a password."""
    administrators = list(User.objects.filter(grants__role=Role.ADMIN, is_active=True).order_by("pk"))
    if any(user.has_usable_password() for user in administrators):
        return None
    if administrators:
        return Administrator(administrators[0])
    try:
        with audit.context(channel="command"):
            user = people.invite(
                email=email or DEFAULT_ADMINISTRATOR,
                name="Administrator",
                roles=[Role.ADMIN],
                actor=people.SYSTEM,
            )
    except Invalid as problem:
        raise CannotStart(f"--admin-email: {problem}") from None
    return Administrator(user)


def demo_is_complete() -> bool:
    return progress.is_complete()


def demo_people() -> list[tuple[str, str]]:
    """Their addresses, and what each of them does here."""
    return people_of_the_demo.introductions()


def demo_links(address: str) -> list[str]:
    """One link for each of the demo's people; empty as long as not all of them are here."""
    emails = [email for email, _ in demo_people()]
    found = {user.email: user for user in User.objects.filter(email__in=emails)}
    if len(found) < len(emails):
        return []
    return [sign_in_link(found[email], address) for email in emails]
