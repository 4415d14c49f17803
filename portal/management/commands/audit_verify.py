"""`manage.py audit_verify`: walk the audit chain from its first event to its head."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from registry import audit


class Command(BaseCommand):
    help = (
        "Exit 0 when no audit event was altered, removed or reordered; otherwise 1, and say where it breaks."
    )

    def handle(self, **options: Any) -> None:
        found = audit.verify()
        if not found.ok:
            raise CommandError(
                f"The audit log breaks at event {found.broken_at}: {found.problem}.", returncode=1
            )
        self.stdout.write(f"The audit log is intact: events {found.first} to {found.last}, head {found.head}")
