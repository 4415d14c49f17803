"""Files that no row points to, so that a kill between a file and its row leaves nothing behind for good.

A file is announced before it is written, and settled in the transaction that lets a row point to it. A file that is
replaced is discarded in the transaction that lets go of it. What stays announced for too long, or is discarded, the
tick deletes.
"""

from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import structlog
from django.db import transaction
from django.utils import timezone

from inference.models import Leftover
from registry import storage

logger = structlog.get_logger(__name__)

#: Whoever writes a file for longer has died, or loses it.
LEASE = timedelta(hours=1)
AT_ONCE = 1_000


class Overtaken(Exception):
    """Somebody else changed what this act stands on: look again, or leave it to them."""


class Replacement(Protocol):
    """Files that were written without somebody's rows, and wait to take the place of those that hold them."""

    @property
    def model_id(self) -> int: ...

    def swap(self) -> int:
        """In the act's transaction: put them in place, discard the old ones; how many rows of batches that took.

        Overtaken when the old ones were replaced meanwhile.
        """

    def give_up(self) -> None:
        """Delete what was written: the act did not happen. Harmless after a swap that was committed."""

    def history(self) -> list[dict[str, Any]]:
        """Each old file with its hash, and what takes its place, for the audit log."""


def announce(key: str) -> None:
    """Say that a file is about to be written under this key."""
    Leftover.objects.create(key=key, due=timezone.now() + LEASE)


def settle(key: str) -> None:
    """From this transaction on a row points to the file. Overtaken when it was given up for lost meanwhile."""
    if not Leftover.objects.filter(key=key, is_going=False).delete()[0]:
        raise Overtaken(key)


def discard(key: str) -> None:
    """From this transaction on nothing points to the file, and after it the file goes."""
    Leftover.objects.get_or_create(key=key, defaults={"due": timezone.now()})
    transaction.on_commit(partial(drop, key))


def drop(key: str) -> None:
    """Delete the leftover now; where that fails, the tick does it."""
    try:
        _delete(key)
    except OSError:
        logger.exception("leftover_waits_for_the_tick", key=key)


def collect() -> int:
    """Delete every leftover that is due; how many."""
    keys = list(Leftover.objects.filter(due__lte=timezone.now()).values_list("key", flat=True)[:AT_ONCE])
    for key in keys:
        drop(key)
    return len(keys)


def _delete(key: str) -> None:
    """First claimed, so that nobody settles it any more, then the file, then the word that there is one."""
    if Leftover.objects.filter(key=key).update(is_going=True):
        storage.delete(key)
        storage.delete_torn(key)
        Leftover.objects.filter(key=key).delete()
