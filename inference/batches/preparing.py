"""From an uploaded file to chunks that any worker can read: recognise, match the columns, cut at record boundaries."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import csvfile
from inference.batches import files, finishing, leases, parts, scoring
from inference.batches.problems import Problems
from inference.csvfile import Block, Upload
from inference.models.batches import BatchChunk, BatchJob
from registry import storage
from registry.errors import Invalid, Refused, TooLarge

logger = structlog.get_logger(__name__)

State = BatchJob.State

#: A chunk is a twentieth of the file, within these bounds: progress that one can see, and little to lose.
MIN_ROWS, MAX_ROWS, CHUNKS = 500, 10_000, 20
MAX_TRIES = 5


class Lost(Exception):
    """Somebody cancelled the job, or another worker prepares it."""


def prepare(job_id: int) -> bool:
    """Check an uploaded file and cut it up. True when the job is queued to be scored."""
    job = BatchJob.objects.select_related("model", "version", "created_by").get(pk=job_id)
    if not _claim(job):
        return False
    try:
        _prepare(job)
    except Lost:
        return False
    except Refused as refusal:
        finishing.reject(job, str(refusal), refusal.fix)
        return False
    except BaseException:
        BatchJob.objects.held(job).update(owner="", lease_until=None)
        raise
    return bool(job.state == State.QUEUED)


def _claim(job: BatchJob) -> bool:
    """Take an uploaded job, or one whose worker was lost while it checked."""
    if job.tries >= MAX_TRIES:
        finishing.fail(job, _("The file could not be read: the worker was lost each time. Split the file."))
        return False
    is_orphan = job.state == State.CHECKING and (
        job.lease_until is None or job.lease_until < timezone.now() or leases.is_dead(job.owner)
    )
    if job.state != State.UPLOADED and not is_orphan:
        return False
    changes = {"state": State.CHECKING, "heartbeat_at": timezone.now(), "tries": job.tries + 1}
    unchanged = BatchJob.objects.filter(state=job.state)
    return unchanged.claim(job, leases.owner(), leases.JOB_SECONDS, **changes)


def _prepare(job: BatchJob) -> None:
    with storage.scratch() as path:
        with storage.open_read(files.upload_key(job)) as packed:
            csvfile.unpack(packed, path, limit=settings.MODELGATE_MAX_BATCH)
        upload = recognise(path, job.options)
        schema = job.version.schema_object
        columns = csvfile.match_columns(upload.reading.header, schema, job.options.get("mapping"))
        job.reading = {"file": upload.reading.to_json(), "columns": columns}
        found = Problems()
        chunks = []
        for index, block in enumerate(_blocks(job, upload)):
            _renew(job)
            if job.on_invalid == "stop":
                verdicts = scoring.judge(block.table, schema, columns, upload.reading)
                found.merge(scoring.count_problems(verdicts, block.table, upload.reading))
            chunks.append(_keep(job, index, block))
    _refuse_what_is_left(job, chunks, found)
    _ready(job, chunks)


def recognise(path: Path, options: dict[str, Any]) -> Upload:
    return csvfile.recognise(
        path,
        encoding=options.get("encoding") or "",
        delimiter=options.get("delimiter") or "",
        decimal=options.get("decimal") or ".",
    )


def _blocks(job: BatchJob, upload: Upload) -> Iterator[Block]:
    size = max(MIN_ROWS, min(MAX_ROWS, -(-upload.estimated_rows // CHUNKS)))
    rows = 0
    for block in upload.blocks(size):
        rows += block.rows
        if rows > settings.MODELGATE_MAX_BATCH_ROWS:
            raise TooLarge(
                _("The file has more than %(limit)d rows.") % {"limit": settings.MODELGATE_MAX_BATCH_ROWS},
                code="too_many_rows",
                fix=_("Split it into smaller files."),
            )
        if job.options.get("explain") and rows > settings.MODELGATE_MAX_EXPLAINED_ROWS:
            raise TooLarge(
                _("Files of at most %(limit)d rows are scored with reasons.")
                % {"limit": settings.MODELGATE_MAX_EXPLAINED_ROWS},
                code="too_many_to_explain",
                fix=_("Score the file without reasons, or send the rows that matter in a file of their own."),
            )
        yield block


def _keep(job: BatchJob, index: int, block: Block) -> BatchChunk:
    key = files.source_key(job, index)
    with storage.scratch(".parquet") as path:
        parts.write(block.table, path)
        storage.put(key, path)
    return BatchChunk(job=job, index=index, first_row=block.first_row, rows=block.rows, source_key=key)


def _renew(job: BatchJob) -> None:
    until = timezone.now() + timedelta(seconds=leases.JOB_SECONDS)
    still = BatchJob.objects.held(job).filter(state=State.CHECKING)
    if not still.update(lease_until=until, heartbeat_at=timezone.now()):
        raise Lost


def _refuse_what_is_left(job: BatchJob, chunks: list[BatchChunk], found: Problems) -> None:
    if not chunks:
        raise Invalid(
            _("The file has column names but no rows."),
            code="no_rows",
            fix=_("Fill in the template and upload it."),
        )
    if found.groups:
        job.problems = found.to_json()
        count = sum(group["count"] for group in job.problems)
        BatchJob.objects.held(job).update(problems=job.problems, reading=job.reading)
        raise Invalid(
            _("%(count)d values are not valid, and you asked to stop in that case.") % {"count": count},
            code="invalid_rows",
            fix=_("Mend the rows below, or choose to skip them."),
        )


@transaction.atomic
def _ready(job: BatchJob, chunks: list[BatchChunk]) -> None:
    """Write the chunks down, if the job is still ours."""
    state = State.READY if job.options.get("hold") else State.QUEUED
    ready = BatchJob.objects.held(job).move(
        old=State.CHECKING,
        new=state,
        total=sum(chunk.rows for chunk in chunks),
        reading=job.reading,
        owner="",
        lease_until=None,
        heartbeat_at=timezone.now(),
        # One that is held keeps its rows no longer than one that is done.
        expires_at=timezone.now() + timedelta(days=settings.MODELGATE_BATCH_DAYS)
        if state == State.READY
        else None,
    )
    if not ready:
        raise Lost
    BatchChunk.objects.filter(job=job).delete()
    BatchChunk.objects.bulk_create(chunks, batch_size=500)
    job.refresh_from_db()
