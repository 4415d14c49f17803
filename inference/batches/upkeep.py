"""What the periodic tick does for batches: publish again what lost its message or its worker, expire what is old."""

from datetime import timedelta

import structlog
from django.utils import timezone

from inference.batches import leases, verbs
from inference.dispatch import enqueue
from inference.models.batches import BatchChunk, BatchJob

logger = structlog.get_logger(__name__)

State = BatchJob.State

#: A job without a sign of life for so long has lost its message or its workers.
QUIET = timedelta(seconds=25)
MAX_JOBS = 100


def requeue_lost() -> None:
    """Publish every job that should go on and shows no sign of life, and end what is past its time."""
    for job in BatchJob.objects.unfinished().select_related("version")[:MAX_JOBS]:
        if _is_lost(job):
            _publish(job)
    for job in BatchJob.objects.filter(expires_at__lt=timezone.now()).exclude(state=State.EXPIRED)[:MAX_JOBS]:
        verbs.expire(job)


def _is_lost(job: BatchJob) -> bool:
    """Quiet for a while, or held by a process that is gone."""
    dead = leases.release_dead(job.chunks.filter(state=BatchChunk.State.RUNNING), state=BatchChunk.State.TODO)
    dead += leases.release_dead(BatchJob.objects.filter(pk=job.pk))
    return bool(dead) or (job.heartbeat_at or job.created_at) < timezone.now() - QUIET


def _publish(job: BatchJob) -> None:
    logger.info("batch_requeued", job=job.public_id, state=job.state)
    BatchJob.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now())
    if job.state in {State.UPLOADED, State.CHECKING}:
        enqueue(verbs.PREPARE, job.pk)
    elif job.state == State.CANCELLING:
        enqueue(verbs.WORK, job.pk)
    else:
        verbs.enqueue_work(job)
