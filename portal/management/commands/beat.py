"""`manage.py beat`: the scheduler as a production unit."""

from typing import Any

from django.core.management.base import BaseCommand

from portal import units


class Command(BaseCommand):
    help = "Send the periodic tick. Exactly one of these for an installation."
    requires_system_checks = ()

    def handle(self, **options: Any) -> None:
        units.become(units.beat())
