"""`manage.py adduser EMAIL --role author,approver`: invite a person and print a one-time link."""

import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from portal.first_steps import sign_in_link
from portal.management.acting import acting, listed
from registry import audit
from registry.actions import people
from registry.models import Role, User


class Command(BaseCommand):
    help = "Invite a person. The last line is a link that lets them choose a password, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--role", default="", metavar="ROLE,…", help=f"from: {', '.join(Role.values)}")
        parser.add_argument("--name", default="", help="how pages call this person")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="read a password instead of printing a link; for tests",
        )

    def handle(self, **options: Any) -> None:
        password = sys.stdin.readline().rstrip("\n") if options["password_stdin"] else None
        with acting(), transaction.atomic():
            user = people.invite(
                email=options["email"],
                name=options["name"],
                roles=listed(options["role"]),
                actor=people.SYSTEM,
            )
            if password is not None:
                _set_password(user, password)
        self.stdout.write(f"{user} is invited: {', '.join(sorted(user.roles)) or 'no role yet'}.")
        if password is None:
            self.stdout.write(sign_in_link(user))


def _set_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    user.set_password(password)
    user.save(update_fields=["password"])
    audit.record(audit.Action.USER_PASSWORD_SET, target=user, actor=people.SYSTEM)
