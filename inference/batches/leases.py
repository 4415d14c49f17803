"""Who works on what: the name of this process, and whether the owner of a lease still lives."""

import os
import socket
from functools import lru_cache
from pathlib import Path

from django.db.models import QuerySet

from inference.models.batches import Leased

#: Longer than any pause between two renewals; a worker that is stopped for longer loses its chunk.
CHUNK_SECONDS = 180.0
JOB_SECONDS = 120.0


def owner() -> str:
    """This process: host, number and start time, so that a number used again is another owner."""
    return _owner(os.getpid())


@lru_cache(maxsize=4)
def _owner(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def _started(pid: int) -> str:
    """The kernel's start time of a process; empty when it does not exist, or where the kernel does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else rest[18]


def is_dead(name: str) -> bool:
    """Tell whether an owner is known to be gone: a process of this host that no longer runs."""
    host, pid, started = (["", "", *name.rsplit(":", 2)])[-3:]
    if host != socket.gethostname() or not pid.isdecimal() or not started:
        return False
    return _started(int(pid)) != started


def release_dead(rows: "QuerySet[Leased]", **changes: object) -> int:
    """End the leases of owners of this host that are gone, so that nobody waits for them to run out."""
    released = 0
    for row in rows.exclude(owner="").only("pk", "owner", "token"):
        if is_dead(row.owner):
            released += rows.filter(pk=row.pk, token=row.token).update(owner="", lease_until=None, **changes)
    return released
