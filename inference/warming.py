"""What is released is open before somebody asks, and what is remembered is renewed, by a thread beside the requests.

Whoever releases tells nobody; every process on every machine looks at the change mark, as it does for each answer, and
opens what answers now and was not open yet. So the first answer after a release is as quick as the second, unless it
comes within the first quarter of a second; then it opens the form, which takes a tenth.
"""

import threading
from collections.abc import Iterator

import structlog
from django.db import close_old_connections, connection

from inference import compiled
from inference.compiled import stored
from registry import changes
from registry.changes import Known
from registry.models import ModelVersion, Release

logger = structlog.get_logger(__name__)

EVERY = 0.25  # seconds between two looks at the mark
BUSY = changes.SHARED * changes.RENEWED
AFTER_TROUBLE = 5.0


def start() -> None:
    """From now on, for as long as the process lives."""
    threading.Thread(target=_watch, name="warming", daemon=True).start()


def _watch() -> None:
    seen, pause = None, threading.Event()
    while True:
        seen, seconds = look(seen)
        pause.wait(seconds)


def look(seen: str | None) -> tuple[str | None, float]:
    """Renew what is known, and open what is new since that mark. The mark now, and when to look again."""
    try:
        known = changes.renewed()
        if known.mark != seen:
            warm()
    except Exception:  # whatever it is (the database, a file), requests meet it too and tell it better
        logger.warning("warming_failed", exc_info=True)
        return seen, AFTER_TROUBLE
    finally:
        if connection.vendor != "sqlite":  # there an open file costs nobody anything
            close_old_connections()
    return known.mark, _pause(known)


def _pause(known: Known) -> float:
    """A mark that is a trip over the network away is read before it is too old, while anybody needs it."""
    return BUSY if known.is_wanted and connection.vendor != "sqlite" else EVERY


def warm() -> int:
    """Open the forms of what answers now; those released last first, and no more than are kept open."""
    opened = 0
    for version in _within_memory():
        opened += compiled.form_of(version) is not None
    return opened


def _within_memory() -> Iterator[ModelVersion]:
    serving = Release.objects.answering().order_by("-pk").values_list("version", flat=True)
    versions = ModelVersion.objects.filter(engine__in=compiled.WITH_FORM, form__isnull=False).select_related(
        "form"
    )
    found = versions.in_bulk(list(serving))
    room = stored.MOST_BYTES
    for version_id in list(dict.fromkeys(serving))[: stored.KEPT]:
        version = found.get(version_id)
        if version is None:
            continue
        room -= stored.bytes_of(version)
        if room < 0:
            return
        yield version
