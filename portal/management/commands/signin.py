"""`manage.py signin EMAIL`: a new one-time link, for whoever lost the first one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.first_steps import sign_in_link
from portal.management.acting import acting, user_named


class Command(BaseCommand):
    help = "Print a link that lets this person choose a password and signs them in, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, **options: Any) -> None:
        with acting():
            self.stdout.write(sign_in_link(user_named(options["email"])))
