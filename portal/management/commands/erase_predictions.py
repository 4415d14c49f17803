"""`manage.py erase_predictions ID… --reason … --by EMAIL`: what was asked about a person, gone for good."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from inference import erasing
from portal.management.acting import acting, user_named
from registry import audit
from registry.errors import Refused


class Command(BaseCommand):
    help = "Erase predictions by their ids. Counts and measured performance stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="ID")
        parser.add_argument("--reason", required=True, help="read by whoever asks later")
        parser.add_argument("--by", required=True, metavar="EMAIL", help="the person who answers for it")

    def handle(self, **options: Any) -> None:
        actor = user_named(options["by"])
        with acting():
            try:
                erased = erasing.erase(options["ids"], actor=actor, reason=options["reason"])
            except Refused as error:
                audit.record_refusal(audit.Action.PREDICTION_ERASED, target=None, actor=actor, error=error)
                raise
        self.stdout.write(f"{erased.predictions} erased, with {erased.outcomes} outcomes.")
        for each in erased.unknown:
            self.stdout.write(f"{each}: nothing is known under this id")
