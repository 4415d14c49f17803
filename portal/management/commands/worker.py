"""`manage.py worker`: a Celery worker as a production unit."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal import units


class Command(BaseCommand):
    help = "Run background work: checks, batches, monitoring. Start as many as you need, on any machine."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--processes", type=int, default=0, metavar="N", help="default: 2 to 4, by the machine"
        )
        parser.add_argument(
            "--with-beat", action="store_true", help="schedule too (only where there is one worker)"
        )

    def handle(self, **options: Any) -> None:
        command = units.worker(processes=options["processes"], with_beat=options["with_beat"])
        units.become(command)
