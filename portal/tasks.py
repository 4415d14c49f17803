"""The periodic tick: it finds what is due and hands ids on; the work itself is in tasks of its own.

Beat knows this one entry. Every part stands alone: one that fails is logged and the others go on.
"""

import structlog
from celery import shared_task
from django.db import close_old_connections
from django.utils.module_loading import import_string

from inference import heartbeats

logger = structlog.get_logger(__name__)

PARTS = (
    "inference.heartbeats.beat_tick",
    "inference.keeping.keep_released",
    "inference.log.ingest",
    "inference.erasing.clean_segments",
    "inference.retention.forget_old_inputs",
    "inference.cold.move_old",
    "inference.cold.drop_unneeded",
    "inference.leftovers.collect",
    "inference.calls.forget_old",
    "inference.checks.requeue_stuck",
    "inference.checks.requeue_unfrozen",
    "inference.golden.sweep",
    "inference.batches.requeue_lost",
    "inference.comparing.requeue_lost",
    "monitoring.incidents.open_missed",
    "monitoring.actions.tick",
    "registry.actions.approvals.expire_due",
    "registry.idempotency.purge",
    "registry.seals.seal_due",
    "registry.storage.sweep_scratch",
    "portal.notices.tick",
)


@shared_task(soft_time_limit=120, time_limit=150)
def tick(by: str = "") -> None:
    """Run every part once. Two ticks at the same time do no harm: each part claims what it touches."""
    if by == heartbeats.BEAT:
        _run("inference.heartbeats.beat_sent_it")
    for part in PARTS:
        _run(part)


def _run(part: str) -> None:
    try:
        import_string(part)()
    except Exception:
        logger.exception("tick_part_failed", part=part)
        close_old_connections()
