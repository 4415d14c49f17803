"""`manage.py signin EMAIL`: a new one-time link, for whoever lost the first one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.first_steps import sign_in_link
from portal.management.acting import acting, user_named
from registry.actions import people


class Command(BaseCommand):
    help = "Print a link that lets this person choose a password and signs them in, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument(
            "--remove-second-factor",
            action="store_true",
            help="They lost their authenticator app and their recovery codes: the password alone lets them in.",
        )

    def handle(self, **options: Any) -> None:
        with acting():
            user = user_named(options["email"])
            if options["remove_second_factor"]:
                people.remove_second_factor(user, actor=people.SYSTEM)
            self.stdout.write(sign_in_link(user))
