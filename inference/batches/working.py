"""A worker's turn at a job: claim a chunk, score it, store its part, mark it done, publish its counts; then the next.

A chunk is claimed by compare-and-set with a lease and a fencing token. Whoever is killed loses its lease, and the
chunk is scored again; whoever is merely late finds that its token no longer holds and changes nothing. The part, the
counts and the word "done" become true in one transaction.
"""

import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import engines, explanations, golden, ports, runners
from inference.batches import files, finishing, leases, parts, scoring
from inference.batches.answers import Answers
from inference.csvfile import Reading
from inference.engines import FreshEngine
from inference.explanations import Why
from inference.models.batches import BatchChunk, BatchJob
from inference.runners import Answer, ModelError, Question, Reasons
from inference.validation import RowWarning
from registry import gate, permissions, storage
from registry.errors import Refused, Unavailable

logger = structlog.get_logger(__name__)

State = BatchJob.State

#: After so many seconds a worker lets others have their turn.
TURN_SECONDS = 8.0
#: A chunk that failed so often fails the job; one that lost its worker so often too.
MAX_FAILURES, MAX_TRIES = 4, 20
#: For the golden rows, where nobody asked them yet since the environment changed.
ANSWER_SECONDS = 60.0
MODEL_SERVICE_AWAY = "model_service_away"
JAIL_MISSING = "jail_missing"


class Stopped(Exception):
    """Somebody wants the job to stop, or this worker lost its lease."""


def work(job_id: int) -> bool:
    """Score chunks of a job for one turn, and finish the job when nothing is left. True: there is more to do."""
    job = BatchJob.objects.select_related("model", "version__model", "release", "created_by").get(pk=job_id)
    leases.release_dead(job.chunks.filter(state=BatchChunk.State.RUNNING), state=BatchChunk.State.TODO)
    if job.state in {State.QUEUED, State.RUNNING}:
        return _turn(job)
    if job.state == State.CANCELLING:
        finishing.finish(job)
    return False


def _turn(job: BatchJob) -> bool:
    try:
        _require_gate(job)
    except Unavailable as error:
        _wait(job, f"{error} {error.fix}")
        return False
    except Refused as refusal:
        finishing.fail(job, str(refusal))
        return False
    until = time.monotonic() + TURN_SECONDS
    with ExitStack() as stack:
        engine = stack.enter_context(engines.fresh(job.version))
        while (chunk := claim_next(job)) is not None:
            if not _attempt(chunk, job, engine):
                break
            if time.monotonic() > until:
                return True
    job.refresh_from_db()
    finishing.finish(job)
    return False


def _require_gate(job: BatchJob) -> None:
    """Since the job was started its version may have been withdrawn, or its owner have lost the right to ask."""
    permissions.require(
        permissions.can_predict(job.created_by, job.model),
        _("%(person)s, who started this job, may not predict with this model any more.")
        % {"person": job.created_by},
        code="owner_may_not_predict",
    )
    if job.release is None or not gate.may_answer(job.version):
        gate.answering_release(job.model, job.environment, job.version.number)
    golden.require_unmoved(job.version_id, ANSWER_SECONDS)


def claim_next(job: BatchJob) -> BatchChunk | None:
    """Claim the first chunk that nobody works on; None when there is none, or the job is not to go on."""
    while True:
        now = timezone.now()
        free = Q(state=BatchChunk.State.TODO) | Q(state=BatchChunk.State.RUNNING, lease_until__lt=now)
        chunk = job.chunks.filter(free).order_by("index").first()
        if chunk is None or not _touch(job):
            return None
        changes = {"state": BatchChunk.State.RUNNING, "tries": F("tries") + 1}
        if BatchChunk.objects.claim(chunk, leases.owner(), leases.CHUNK_SECONDS, **changes):
            return chunk


def _touch(job: BatchJob) -> bool:
    """Say that the job goes on; False when it is not to."""
    now = timezone.now()
    BatchJob.objects.filter(pk=job.pk, started_at=None).update(started_at=now)
    going = BatchJob.objects.filter(pk=job.pk, state__in=[State.QUEUED, State.RUNNING])
    return bool(going.update(state=State.RUNNING, heartbeat_at=now))


def _attempt(chunk: BatchChunk, job: BatchJob, engine: FreshEngine) -> bool:
    """Score one chunk. False when this worker should not go on with the job now."""
    chunk.job = job
    if chunk.tries > MAX_TRIES:
        finishing.fail(job, chunk.error or _("The worker was lost too often while it scored these rows."))
        return False
    try:
        score_chunk(chunk, engine)
    except Stopped:
        _give_back(chunk)
        return False
    except ModelError as error:
        logger.warning(
            "batch_chunk_failed", job=job.public_id, chunk=chunk.index, code=error.code, detail=error.detail
        )
        if error.code == MODEL_SERVICE_AWAY:
            # Nobody's fault here: the job waits, and the tick asks again, until the service is back.
            _give_back(chunk, error=str(error), tries=F("tries") - 1)
            return False
        if error.code == JAIL_MISSING:
            _give_back(chunk, error=str(error), tries=F("tries") - 1)
            _wait(job, f"{error} {error.fix}")
            return False
        return _failed(chunk, str(error), transient=isinstance(error, runners.ModelUnavailable))
    except Exception as error:
        logger.exception("batch_chunk_failed", job=job.public_id, chunk=chunk.index)
        told = _("Something went wrong while these rows were scored (%(name)s). The log says more.")
        return _failed(chunk, told % {"name": type(error).__name__}, transient=True)
    return True


def _wait(job: BatchJob, why: str) -> None:
    """Back to the queue with a sentence, unless another machine has a whole jail and is at it."""
    if not job.chunks.filter(state=BatchChunk.State.RUNNING).exists():
        BatchJob.objects.filter(pk=job.pk, state=State.RUNNING).update(state=State.QUEUED, error=why)


def _give_back(chunk: BatchChunk, **changes: Any) -> None:
    BatchChunk.objects.held(chunk).update(state=BatchChunk.State.TODO, owner="", lease_until=None, **changes)


def _failed(chunk: BatchChunk, error: str, *, transient: bool) -> bool:
    """Give the chunk back to be tried again; at once, or at the next tick where something is away."""
    _give_back(chunk, error=error, failures=F("failures") + 1)
    chunk.refresh_from_db()
    if chunk.failures >= MAX_FAILURES:
        finishing.fail(chunk.job, error)
        return False
    return not transient


def score_chunk(chunk: BatchChunk, engine: FreshEngine) -> None:
    """Score the rows of a claimed chunk and make it count, exactly once."""
    job = chunk.job
    started = timezone.now()
    _still_mine(chunk)
    with files.local_copy(chunk.source_key) as path:
        source = parts.read(path)

    def ask(rows: Any) -> Answer:
        _still_mine(chunk)
        return engine.predict(rows)

    def explain(rows: Any, answers: Answers) -> list[Why | RowWarning]:
        def ask_why(question: Question) -> Reasons:
            _still_mine(chunk)
            return engine.explain(question)

        outputs = explanations.explained_classes(schema, answers.classes, answers.indices, len(answers))
        return explanations.of_table(job.version, rows, outputs, ask_why)

    schema = job.version.schema_object
    scored = scoring.score(
        source,
        schema,
        job.reading["columns"],
        Reading.from_json(job.reading["file"]),
        ask,
        explain if job.options.get("explain") else None,
    )
    with storage.scratch(".parquet") as path:
        parts.write(scored.part, path)
        sha256 = storage.sha256_of(path)
        key = files.part_key(chunk)
        storage.put(key, path)
    milliseconds = (timezone.now() - started).total_seconds() * 1000
    try:
        with transaction.atomic():
            _hold(job)
            _done(chunk, scored, key, sha256)
            ports.publish(_call_batch(chunk, scored, milliseconds))
            count(job)
    except BaseException:
        storage.delete(key)
        raise


def _hold(job: BatchJob) -> None:
    """Lock the job's row first, in every transaction that changes its chunks: no two can wait for each other."""
    open_states = [State.RUNNING, State.CANCELLING]
    if not BatchJob.objects.filter(pk=job.pk, state__in=open_states).update(heartbeat_at=timezone.now()):
        raise Stopped


def _still_mine(chunk: BatchChunk) -> None:
    """Renew the lease; stop when it is lost or the job is to stop."""
    now = timezone.now()
    renewed = BatchChunk.objects.held(chunk).update(lease_until=now + timedelta(seconds=leases.CHUNK_SECONDS))
    if not renewed or not BatchJob.objects.filter(pk=chunk.job_id, state=State.RUNNING).update(
        heartbeat_at=now
    ):
        raise Stopped


def _done(chunk: BatchChunk, scored: scoring.Scored, key: str, sha256: str) -> None:
    marked = (
        BatchChunk.objects.held(chunk)
        .filter(state=BatchChunk.State.RUNNING)
        .update(
            state=BatchChunk.State.DONE,
            owner="",
            lease_until=None,
            part_key=key,
            sha256=sha256,
            scored=scored.scored,
            invalid=scored.invalid,
            ignored=chunk.rows - scored.scored - scored.invalid,
            problems=scored.problems,
            summary=scored.summary,
            done_at=timezone.now(),
            error="",
        )
    )
    if not marked:
        raise Stopped


def count(job: BatchJob) -> None:
    """Write down the job's counts: computed from the chunks that are done, never incremented."""
    sums = job.chunks.filter(state=BatchChunk.State.DONE).aggregate(
        scored=Sum("scored", default=0), invalid=Sum("invalid", default=0), ignored=Sum("ignored", default=0)
    )
    BatchJob.objects.filter(pk=job.pk).update(**sums, error="")


def _call_batch(chunk: BatchChunk, scored: scoring.Scored, milliseconds: float) -> ports.CallBatch:
    job, answers = chunk.job, scored.answers
    at = job.as_of or timezone.now()
    probabilities = [] if answers.probabilities is None else answers.probabilities.tolist()
    return ports.CallBatch(
        source=f"batch:{job.public_id}:{chunk.index}",
        model_id=job.model_id,
        version_id=job.version_id,
        environment=job.environment,
        channel="batch",
        columns=scored.inputs,
        at=[at] * scored.scored,
        labels=answers.labels,
        values=answers.values,
        probabilities=probabilities,
        classes=answers.classes,
        call_at=[at],
        call_statuses=[200],
        call_latencies=[milliseconds],
        call_rows=[chunk.rows],
    )
