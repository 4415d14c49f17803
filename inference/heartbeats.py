"""What the periodic tick proves: a scheduler or a starting worker sent it, and a worker ran it."""

from inference.models.heartbeat import beat, is_fresh

WORKER = "worker"


def beat_tick() -> None:
    beat(WORKER)


def worker_is_alive(seconds: float = 90) -> bool:
    return is_fresh(WORKER, seconds)
