"""`manage.py audit_verify`: walk the audit chain and its seals from the first event to the head, or an export of it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry import audit, seals
from registry.audit_export import SCRIPT
from registry.verify_audit import in_words, open_export, verify_export


class Command(BaseCommand):
    help = (
        "Exit 0 when no audit event was altered, removed or reordered; otherwise 1, and say where it breaks."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "export", nargs="?", type=Path, help="an export (zip, jsonl) instead of the database"
        )
        parser.add_argument(
            "--script", action="store_true", help="print the verifier that needs nothing but Python"
        )

    def handle(self, **options: Any) -> None:
        if options["script"]:
            self.stdout.write(SCRIPT.read_text(), ending="")
        elif options["export"]:
            self._verify_export(options["export"])
        else:
            self._verify_database()

    def _verify_database(self) -> None:
        found = audit.verify()
        if not found.ok:
            raise CommandError(
                f"The audit log breaks at event {found.broken_at}: {found.problem}.", returncode=1
            )
        self.stdout.write(f"The audit log is intact: events {found.first} to {found.last}, head {found.head}")
        if found.seals:
            self.stdout.write(
                f"{found.seals} seals vouch for it up to event {found.sealed_to}, the last of {found.sealed_at}."
            )
        else:
            self.stdout.write("No seal vouches for it yet.")

    def _verify_export(self, path: Path) -> None:
        """With our own key and, where the export brings none, our own seals."""
        try:
            with ExitStack() as stack:
                events, inside = open_export(path, None, stack)
                about, found = verify_export(events, inside or seals.lines(), seals.key())
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise CommandError(f"{path} cannot be read: {error}", returncode=2) from error
        if not found.ok:
            raise CommandError(in_words(about, found), returncode=1)
        self.stdout.write(in_words(about, found))
