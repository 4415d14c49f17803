"""How far the demo has been seeded: one small file, written by the command, read by the home page."""

import json
import os
from pathlib import Path
from typing import Literal, TypedDict

from django.conf import settings

from registry.audit import Action
from registry.models import AuditEvent

State = Literal["absent", "running", "done", "failed"]


class Progress(TypedDict):
    """`state` is absent, running, done or failed; `step` says in a sentence what happens, `error` what went wrong."""

    state: State
    step: str
    done: int
    total: int
    error: str


_ABSENT: Progress = {"state": "absent", "step": "", "done": 0, "total": 0, "error": ""}


def read() -> Progress:
    try:
        stored = json.loads(_path().read_text())
    except (OSError, ValueError):
        return _ABSENT
    return {**_ABSENT, **stored}


def is_complete() -> bool:
    """Whether the demo was seeded once: the record says so, whatever happened to files since."""
    return AuditEvent.objects.filter(action=Action.DEMO_SEEDED).exists()


def write(*, state: State, step: str = "", done: int = 0, total: int = 0, error: str = "") -> None:
    """Replace the file whole, so that a reader never sees half of it."""
    path = _path()
    scratch = path.with_suffix(".tmp")
    progress: Progress = {"state": state, "step": step, "done": done, "total": total, "error": error}
    scratch.write_text(json.dumps(progress))
    os.replace(scratch, path)


def _path() -> Path:
    return Path(settings.DATA_DIR) / "demo-progress.json"
