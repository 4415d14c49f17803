"""Tell of a version whose runners die again and again: once a minute from each process, to whoever listens."""

import threading
import time

import structlog

from inference import signals
from inference.runners.errors import REST_SECONDS
from registry.models import ModelVersion

logger = structlog.get_logger(__name__)

_lock = threading.Lock()
_told: dict[int, float] = {}


def tell(version_id: int) -> None:
    """Send `model_crashing`; not again while the version rests."""
    now = time.monotonic()
    with _lock:
        if now - _told.get(version_id, -REST_SECONDS) < REST_SECONDS:
            return
        _told[version_id] = now
    logger.error("model_crash_loop", version_id=version_id)
    signals.model_crashing.send_robust(sender=ModelVersion, version_id=version_id)
