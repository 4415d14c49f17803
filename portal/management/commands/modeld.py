"""`manage.py modeld`: the model supervisor as a production unit."""

from typing import Any

from django.core.management.base import BaseCommand

from portal import units


class Command(BaseCommand):
    help = "Run model versions, each in a process of its own. One of these on every machine that predicts."
    requires_system_checks = ()

    def handle(self, **options: Any) -> None:
        units.become(units.modeld())
