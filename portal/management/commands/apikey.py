"""`manage.py apikey EMAIL --models … --actions … --days N`: a key for a program; its secret is shown once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.management.acting import acting, listed, model_named, user_named
from registry.actions import keys, people
from registry.models import KeyAction


class Command(BaseCommand):
    help = "Make an API key. The last line is the secret, alone; it is kept nowhere else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="whose key it is: it can do no more than this person may")
        parser.add_argument(
            "--models", default="all", metavar="all|SLUG,…", help="default: all that the owner sees"
        )
        parser.add_argument(
            "--actions", required=True, metavar="ACTION,…", help=f"from: {', '.join(KeyAction.values)}"
        )
        parser.add_argument("--days", type=int, default=90, help="how long it lives (default: %(default)s)")
        parser.add_argument("--name", default="", help="what it is for")

    def handle(self, **options: Any) -> None:
        owner = user_named(options["email"])
        models = (
            None if options["models"] == "all" else [model_named(slug) for slug in listed(options["models"])]
        )
        with acting():
            key, secret = keys.create_key(
                owner=owner,
                name=options["name"] or "made by manage.py apikey",
                actions=listed(options["actions"]),
                models=models,
                days=options["days"],
                actor=people.SYSTEM,
            )
        self.stdout.write(
            f"A key of {owner} for {', '.join(key.actions)}, until {key.expires_at:%Y-%m-%d %H:%M} UTC:"
        )
        self.stdout.write(secret)
