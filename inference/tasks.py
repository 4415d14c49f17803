"""Doorways: an id comes in, the domain does the work. Running one twice is harmless."""

from celery import shared_task

from inference import comparing, outcome_files
from inference.batches import preparing, verbs, working
from inference.dispatch import enqueue
from inference.models import BatchJob


@shared_task
def prepare_batch(job_id: int) -> None:
    """Check an uploaded file and cut it into chunks; then let workers at it."""
    if preparing.prepare(job_id):
        verbs.enqueue_work(BatchJob.objects.get(pk=job_id))


@shared_task
def score_batch(job_id: int) -> None:
    """One turn of a worker at a job; more turns as long as there is more to do."""
    if working.work(job_id):
        enqueue(score_batch, job_id)


@shared_task
def compare_versions(comparison_id: int) -> None:
    """Ask both versions of a comparison the same rows, unless that is done or being done."""
    comparing.compute(comparison_id)


@shared_task(ignore_result=True, acks_late=True)
def take_in_outcomes(dataset_id: int) -> None:
    """Record what a dataset with the role feedback says came true."""
    outcome_files.take_in(dataset_id)
