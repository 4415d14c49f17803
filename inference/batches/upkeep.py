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
    for job in BatchJob.objects.unfinished().order_by("pk")[:MAX_JOBS]:
        if _has_lost_workers(job):
            _publish(job, verbs.PARALLEL)
        elif _is_quiet(job):
            _publish(job, 1)  # its messages may just be waiting in a long queue
    for job in BatchJob.objects.filter(expires_at__lt=timezone.now()).exclude(state=State.EXPIRED)[:MAX_JOBS]:
        verbs.expire(job)


def _has_lost_workers(job: BatchJob) -> bool:
    """Held, or worked on, by a process that is gone."""
    dead = leases.release_dead(job.chunks.filter(state=BatchChunk.State.RUNNING), state=BatchChunk.State.TODO)
    dead += leases.release_dead(BatchJob.objects.filter(pk=job.pk))
    return bool(dead)


def _is_quiet(job: BatchJob) -> bool:
    last = max(job.heartbeat_at or job.created_at, job.published_at or job.created_at)
    return last < timezone.now() - QUIET


def _publish(job: BatchJob, messages: int) -> None:
    logger.info("batch_requeued", job=job.public_id, state=job.state)
    BatchJob.objects.filter(pk=job.pk).update(published_at=timezone.now())
    if job.state in {State.UPLOADED, State.CHECKING}:
        enqueue(verbs.PREPARE, job.pk)
    else:
        for _message in range(messages):
            enqueue(verbs.WORK, job.pk)
