"""`manage.py web`: the web server as a production unit."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal import units


class Command(BaseCommand):
    help = "Serve pages and API; runs until it is told to stop."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--web-processes", type=int, default=1, metavar="N", help="default: %(default)s")
        parser.add_argument(
            "--threads", type=int, default=0, metavar="N", help="for each process (default: by the machine)"
        )

    def handle(self, **options: Any) -> None:
        command = units.web(
            host=options["host"],
            port=options["port"],
            processes=options["web_processes"],
        )
        if options["threads"]:
            os.environ["MODELGATE_WEB_THREADS"] = str(options["threads"])
        units.become(command)
