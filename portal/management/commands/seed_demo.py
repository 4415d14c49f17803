"""`manage.py seed_demo`: fills an installation with the demo, once. `up` runs it; it needs a worker that runs."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.demo import seeding
from portal.demo.progress import Progress
from portal.demo.record import ChecksFailed
from portal.demo.traffic import NotScored
from portal.demo.waiting import TookTooLong
from portal.management.acting import acting


class Command(BaseCommand):
    help = "Fill this installation with the demo: people, three models, three years of traffic. Needs a running worker."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--months",
            type=int,
            default=12,
            choices=range(1, 13),
            metavar="N",
            help="months of each year, 1 to 12 (default: 12)",
        )
        parser.add_argument(
            "--seconds",
            type=float,
            default=seeding.SECONDS,
            help="how long the worker may take for any one thing (default: %(default)g)",
        )

    def handle(self, **options: Any) -> None:
        if not settings.MODELGATE_ALLOW_AS_OF:
            raise CommandError(
                "The demo records what happened at earlier times. Allow it for this command: "
                "MODELGATE_ALLOW_AS_OF=1 python3 manage.py seed_demo"
            )
        self.last = ""
        with acting():
            try:
                seeding.Seeding(months=options["months"], seconds=options["seconds"], tell=self.tell).run()
            except (ChecksFailed, NotScored, TookTooLong) as problem:
                raise CommandError(str(problem)) from problem
        self.stdout.write("The demo is complete.")

    def tell(self, progress: Progress) -> None:
        self.stdout.write(f"{progress['done']:>4}/{progress['total']}  {progress['step']}")
        self.stdout.flush()
