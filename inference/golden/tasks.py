"""The doorway of the worker."""

import structlog
from celery import shared_task

from inference.golden import replays
from inference.models import GoldenSet
from registry import audit
from registry.errors import Refused

logger = structlog.get_logger(__name__)


@shared_task(ignore_result=True, acks_late=True, soft_time_limit=120, time_limit=150)
def replay_version(version_id: int) -> None:
    """Ask a version for its golden answers, unless that was done in this environment."""
    golden = GoldenSet.objects.select_related("version__model").filter(version=version_id).first()
    if golden is None:
        return
    with audit.context(channel="task"):
        try:
            replays.known_or_replayed(golden, golden.version)
        except Refused as error:  # the next tick tries again
            logger.warning("replay_waits", version=str(golden.version), reason=error.code)
