"""The end of a job: its parts become a result in input order, or the reason why there is none is written down."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import signals
from inference.batches import files, leases, parts, results, scoring
from inference.batches.problems import Problems
from inference.models.batches import BatchChunk, BatchJob
from registry import audit
from registry.audit import Action

logger = structlog.get_logger(__name__)

State = BatchJob.State


class Unfinished(Exception):
    """The job is not ready to be finished, or somebody else finishes it."""


def finish(job: BatchJob) -> None:
    """Write the result if every chunk is done, or what there is of it if the job is to stop."""
    try:
        _claim(job)
    except Unfinished:
        return
    try:
        chunks = results.done_chunks(job)
        _write(job, chunks)
        _close(job, chunks)
    except Unfinished:
        # Stopped meanwhile, say: whoever comes next must not wait for our lease to run out.
        BatchJob.objects.held(job).update(owner="", lease_until=None)
        return
    except BaseException:
        # A full disk, say: let the next one try as soon as there is one.
        BatchJob.objects.held(job).update(owner="", lease_until=None)
        raise
    if job.state != State.CANCELLED:
        files.delete_sources(job)


def _claim(job: BatchJob) -> None:
    """One finisher at a time: its lease is the job's own."""
    if job.state == State.RUNNING and job.chunks.exclude(state=BatchChunk.State.DONE).exists():
        raise Unfinished
    if job.state not in {State.RUNNING, State.CANCELLING}:
        raise Unfinished
    if job.state == State.CANCELLING and _is_being_scored(job):
        raise Unfinished
    is_held = (
        job.lease_until is not None and job.lease_until > timezone.now() and not leases.is_dead(job.owner)
    )
    if is_held or not BatchJob.objects.claim(job, leases.owner(), leases.JOB_SECONDS):
        raise Unfinished


def _is_being_scored(job: BatchJob) -> bool:
    """A worker that still holds a chunk lets go of it at its next block, and then finishes the job."""
    return job.chunks.filter(state=BatchChunk.State.RUNNING, lease_until__gt=timezone.now()).exists()


def _write(job: BatchJob, chunks: list[BatchChunk]) -> None:
    if not chunks:
        return
    job.reading["answers"] = _kind_of_answers(job, chunks)
    layout = results.layout_of(job)
    _store(job, "result", chunks, lambda out, tables: results.write_result(out, layout, tables))
    if any(chunk.invalid for chunk in chunks):
        bad = [chunk for chunk in chunks if chunk.invalid]
        _store(job, "problems", bad, lambda out, tables: results.write_problems(out, layout, tables))


def _kind_of_answers(job: BatchJob, chunks: list[BatchChunk]) -> dict[str, Any]:
    for chunk in chunks:
        if "answers" in chunk.summary:
            return dict(chunk.summary["answers"])
    return {"classes": list(job.version.schema_object.target.classes), "probabilities": True}


def _store(
    job: BatchJob, name: str, chunks: list[BatchChunk], write: Callable[[IO[str], Iterator[pa.Table]], None]
) -> None:
    key = files.output_key(job, name)
    results.store(key, lambda out: write(out, _verified_parts(job, chunks)))
    job.files[name] = key


def _verified_parts(job: BatchJob, chunks: list[BatchChunk]) -> Iterator[pa.Table]:
    """Each part, proven to be what was counted; a damaged one is scored again."""
    for chunk in chunks:
        _renew(job)
        part = results.part_bytes(chunk)
        if part is None:
            _redo(job, chunk)
        else:
            yield parts.read(pa.BufferReader(part))


def _renew(job: BatchJob) -> None:
    until = timezone.now() + timedelta(seconds=leases.JOB_SECONDS)
    if not BatchJob.objects.held(job).update(lease_until=until, heartbeat_at=timezone.now()):
        raise Unfinished


def _redo(job: BatchJob, chunk: BatchChunk) -> None:
    logger.error("batch_part_damaged", job=job.public_id, chunk=chunk.index)
    chunk.job.chunks.filter(pk=chunk.pk, token=chunk.token).update(state=BatchChunk.State.TODO)
    BatchJob.objects.held(job).update(owner="", lease_until=None)
    raise Unfinished


@transaction.atomic
def _close(job: BatchJob, chunks: list[BatchChunk]) -> None:
    """Say that the job is finished, if it still is ours and no chunk was added to those that were written."""
    counted = {
        "scored": sum(chunk.scored for chunk in chunks),
        "invalid": sum(chunk.invalid for chunk in chunks),
        "ignored": sum(chunk.ignored for chunk in chunks),
    }
    state = _final_state(job, counted["invalid"])
    found = Problems()
    for chunk in chunks:
        found.merge(chunk.problems)
    closed = (
        BatchJob.objects.held(job)
        .filter(state=job.state)
        .update(
            **counted,
            state=state,
            problems=found.to_json(),
            summary=scoring.add_summaries([chunk.summary for chunk in chunks]),
            reading=job.reading,
            files=job.files,
            owner="",
            lease_until=None,
            finished_at=timezone.now(),
            expires_at=timezone.now() + timedelta(days=settings.MODELGATE_BATCH_DAYS),
        )
    )
    if not closed or len(results.done_chunks(job)) != len(chunks):
        transaction.set_rollback(True)
        raise Unfinished
    job.refresh_from_db()
    told: dict[str, Any] = {"state": state, "total": job.total, **counted}
    audit.record(Action.BATCH_FINISHED, target=job, actor=job.created_by, **told)
    _tell(job)


def _final_state(job: BatchJob, invalid: int) -> str:
    if job.state == State.CANCELLING:
        return State.CANCELLED
    return State.SUCCEEDED_WITH_ERRORS if invalid else State.SUCCEEDED


@transaction.atomic
def fail(job: BatchJob, error: str) -> None:
    """Write down why the job cannot go on; what was scored is kept, and a retry takes up from there."""
    states = [State.UPLOADED, State.CHECKING, State.QUEUED, State.RUNNING]
    if BatchJob.objects.filter(pk=job.pk).move(
        old=states, new=State.FAILED, error=error, owner="", lease_until=None, **_ended()
    ):
        audit.record(Action.BATCH_FINISHED, target=job, actor=job.created_by, state=State.FAILED, error=error)
        _tell(job)


@transaction.atomic
def reject(job: BatchJob, error: str, fix: str = "", **changes: Any) -> None:
    """The file cannot be scored; the sentence says where it is wrong and how to mend it."""
    told = f"{error} {fix}".strip()
    if BatchJob.objects.held(job).move(
        old=State.CHECKING, new=State.REJECTED, error=told, owner="", lease_until=None, **_ended(), **changes
    ):
        audit.record(
            Action.BATCH_FINISHED, target=job, actor=job.created_by, state=State.REJECTED, error=told
        )
        _tell(job)


def _tell(job: BatchJob) -> None:
    transaction.on_commit(partial(signals.batch_ended.send, sender=BatchJob, batch_id=job.pk))


def _ended() -> dict[str, Any]:
    now = timezone.now()
    return {"finished_at": now, "expires_at": now + timedelta(days=settings.MODELGATE_BATCH_DAYS)}


def result_name(job: BatchJob, name: str, ending: str) -> str:
    """What a download is called: after the file that was scored, and `partial` if it is."""
    stem = Path(job.filename.removesuffix(".gz")).stem or "rows"
    partial = "-partial" if job.state == State.CANCELLED and name == "result" else ""
    word = {"result": _("scored"), "problems": _("problems")}[name]
    return f"{stem}-{word}{partial}.{ending}"
