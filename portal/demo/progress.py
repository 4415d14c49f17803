"""How far the demo has been seeded: one small file, written by the command, read by the home page."""

import json
import os
from typing import TypedDict

from django.conf import settings


class Progress(TypedDict):
    """`state` is absent, running, done or failed; `step` is a sentence for people."""

    state: str
    step: str
    done: int
    total: int


_ABSENT: Progress = {"state": "absent", "step": "", "done": 0, "total": 0}


def read() -> Progress:
    try:
        stored = json.loads((settings.DATA_DIR / "demo-progress.json").read_text())
    except (OSError, ValueError):
        return _ABSENT
    return {**_ABSENT, **stored}


def write(*, state: str, step: str = "", done: int = 0, total: int = 0) -> None:
    """Replace the file whole, so that a reader never sees half of it."""
    path = settings.DATA_DIR / "demo-progress.json"
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps({"state": state, "step": step, "done": done, "total": total}))
    os.replace(scratch, path)
