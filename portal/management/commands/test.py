"""`manage.py test`: everything that must hold before a change is taken, the cheapest first."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand

MANAGE = (sys.executable, "manage.py")
STAGES: tuple[tuple[str, Sequence[str]], ...] = (
    ("style", (sys.executable, "-m", "ruff", "check", ".")),
    ("format", (sys.executable, "-m", "ruff", "format", "--check", "--quiet", ".")),
    # The script and not `-m`: import-linter has no __main__.
    ("directions", (os.path.join(os.path.dirname(sys.executable), "lint-imports"), "--no-logo")),
    ("migrations", (*MANAGE, "makemigrations", "--check", "--dry-run")),
    ("settings", (*MANAGE, "check", "--fail-level", "WARNING")),
    ("types", (sys.executable, "-m", "mypy", ".")),
)
#: A file stays on one worker, so that what its tests share is started once.
PYTEST = (sys.executable, "-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
#: What the person's own shell says about an installation; tests have one of their own.
OURS = ("MODELGATE_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


class Command(BaseCommand):
    """Replaces Django's own: pytest runs the tests, and it is given every argument as it is."""

    help = (
        "Check style, directions, migrations, settings and types, then run pytest with the given arguments."
    )
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        if argv[2:] in (["-h"], ["--help"]):
            self.stdout.write(f"{self.help}\nFor pytest's own options: manage.py test -- --help")
            sys.exit(0)
        arguments = argv[2:]
        if arguments[:1] == ["--"]:
            arguments = arguments[1:]
        sys.exit(self.check_everything(arguments))

    def handle(self, *arguments: str, **options: Any) -> NoReturn:
        sys.exit(self.check_everything(arguments))

    def check_everything(self, arguments: Sequence[str]) -> int:
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the child, which tidies up
        with tempfile.TemporaryDirectory(prefix="modelgate-test-") as folder:
            environ = _environ(folder)
            for position, (name, command) in enumerate(STAGES):
                if code := self._run(name, command, environ):
                    left = ", ".join([name for name, _ in STAGES[position + 1 :]] + ["tests"])
                    self.stderr.write(f"\nFailed: {name}. Not run: {left}.\nAgain: {_as_typed(command)}")
                    return code
            # Last, and nothing after it: pytest's own closing lines are the summary.
            return subprocess.call([*PYTEST, *arguments], cwd=settings.BASE_DIR, env=environ)

    def _run(self, name: str, command: Sequence[str], environ: dict[str, str]) -> int:
        """Quiet when all is well."""
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            self.stdout.write(done.stdout.decode(errors="replace"))
        verdict = "failed" if done.returncode else "ok"
        self.stdout.write(f"{name:<12} {verdict}  ({time.monotonic() - began:.1f} s)")
        self.stdout.flush()
        return done.returncode


def _environ(folder: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {"MODELGATE_DATA_DIR": folder}


def _as_typed(command: Sequence[str]) -> str:
    return " ".join(os.path.relpath(word) if os.path.isabs(word) else word for word in command)
