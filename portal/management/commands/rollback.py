"""`manage.py rollback SLUG --reason … --by EMAIL`: the one-click rollback, for when there is no page to click on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.management.acting import acting, model_named, user_named
from registry import audit
from registry.actions import releases
from registry.errors import Refused


class Command(BaseCommand):
    help = "Answer with an earlier version again. Needs neither Celery nor the model supervisor."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--reason", required=True, help="read by whoever asks later")
        parser.add_argument("--by", required=True, metavar="EMAIL", help="the operator who answers for it")
        parser.add_argument("--environment", default="production", help="default: %(default)s")
        parser.add_argument(
            "--to", type=int, metavar="NUMBER", help="a version number (default: the one before)"
        )
        parser.add_argument(
            "--expect",
            type=int,
            metavar="RELEASE",
            help="refuse when another release than this one serves by now",
        )

    def handle(self, **options: Any) -> None:
        model, actor = model_named(options["slug"]), user_named(options["by"])
        with acting():
            try:
                made = releases.roll_back(
                    model,
                    environment=options["environment"],
                    reason=options["reason"],
                    to=options["to"],
                    expect=options["expect"],
                    actor=actor,
                )
            except Refused as error:
                audit.record_refusal(audit.Action.RELEASE_ROLLED_BACK, target=model, actor=actor, error=error)
                raise
        self.stdout.write(f"{made.version} answers in {options['environment']} (release {made.number}).")
