"""What the periodic tick proves: a scheduler or a starting worker sent it, and a worker ran it.

The scheduler's own says so ("by beat"), so that one can tell which of the two is missing.
"""

from datetime import datetime

from inference.models import Heartbeat
from inference.models.heartbeat import beat, is_fresh

WORKER = "worker"
BEAT = "beat"


def beat_tick() -> None:
    beat(WORKER)


def beat_sent_it() -> None:
    beat(BEAT)


def last(name: str) -> datetime | None:
    """When `name` last showed life."""
    return Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()


def worker_is_alive(seconds: float = 90) -> bool:
    return is_fresh(WORKER, seconds)
