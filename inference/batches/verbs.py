"""What people do with batch jobs: start, run, cancel, retry, delete. Pages and API call these, with the same rules."""

from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import csvfile
from inference.batches import files
from inference.dispatch import enqueue
from inference.models.batches import BatchChunk, BatchJob
from registry import artifacts, audit, gate, permissions, storage
from registry import as_of as times
from registry.artifacts import Readable, Received
from registry.audit import Action
from registry.errors import FieldError, Invalid, Refused
from registry.models import PRODUCTION, RegisteredModel, Role

State = BatchJob.State

PREPARE, WORK = "inference.tasks.prepare_batch", "inference.tasks.score_batch"

#: Messages in flight for one job: enough for many workers, few enough that other work gets its turn between them.
PARALLEL = 4

_CHOICES = {"on_invalid": ("skip", "stop"), "decimal": (".", ","), "delimiter": (",", ";", "\t", "|")}
_FLAGS = ("hold", "explain")
OPTIONS = ("encoding", "delimiter", "decimal", "dates", "mapping", "on_invalid", "explain", "hold")


def start_batch(
    model: RegisteredModel,
    file: Readable,
    filename: str,
    *,
    options: dict[str, Any] | None = None,
    actor: Any,
    environment: str = PRODUCTION,
    version: int | None = None,
    as_of: datetime | None = None,
) -> BatchJob:
    """Keep a file and let it be scored by the version that answers now, whatever is released later.

    Refused: who may not predict, a model that does not answer here, a file that is no table by its first bytes,
    unknown options. `as_of` sets the time of the predictions back; only the demo and tests may.
    """
    _require_predict(actor, model)
    chosen = read_options(options or {})
    times.require_allowed(as_of)
    release = gate.answering_release(model, environment, version)
    with artifacts.receive(file, settings.MODELGATE_MAX_BATCH) as received:
        _refuse_by_first_bytes(received)
        job = BatchJob(
            model=model,
            version=release.version,
            release=release,
            environment=environment,
            filename=safe_name(filename),
            sha256=received.sha256,
            size=received.size,
            options=chosen,
            created_by=actor,
            as_of=as_of,
            request_id=audit.current_context().request_id,
        )
        storage.put(files.upload_key(job), received.path)
    try:
        _record_start(job, actor)
    except BaseException:
        storage.delete(files.upload_key(job))
        raise
    return job


@transaction.atomic
def _record_start(job: BatchJob, actor: Any) -> None:
    job.save(force_insert=True)
    details = {"sha256": job.sha256, "size": job.size, "options": job.options}
    if job.as_of:
        details["as_of"] = job.as_of.isoformat()
    audit.record(Action.BATCH_STARTED, target=job, actor=actor, version=str(job.version), **details)
    enqueue(PREPARE, job.pk)


def _refuse_by_first_bytes(received: Received) -> None:
    with received.path.open("rb") as file:
        csvfile.refuse_early(file.read(4096))


def safe_name(filename: str) -> str:
    """A file's name for people: never a path, nothing that moves a cursor."""
    name = PurePath(filename.replace("\\", "/")).name
    clean = "".join(char for char in name if char.isprintable()).strip()
    return clean[-200:] or "rows.csv"


def read_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, each known and valid; all mistakes at once."""
    errors = [
        _bad(name, name, ", ".join(OPTIONS), "unknown_option") for name in options if name not in OPTIONS
    ]
    for name, allowed in _CHOICES.items():
        if options.get(name) and options[name] not in allowed:
            errors.append(_bad(name, options[name], ", ".join(repr(value) for value in allowed)))
    errors += [
        _bad(name, options[name], "true, false")
        for name in _FLAGS
        if not isinstance(options.get(name, False), bool)
    ]
    mapping = options.get("mapping") or {}
    is_mapping = isinstance(mapping, dict) and all(isinstance(value, str) for value in mapping.values())
    if not is_mapping:
        errors.append(_bad("mapping", mapping, '{"field": "column", …}'))
    if not isinstance(options.get("encoding") or "", str):
        errors.append(_bad("encoding", options["encoding"], "utf-8, cp1252, …"))
    if errors:
        raise Invalid(_("The options have mistakes."), code="invalid_options", errors=errors)
    if options.get("encoding"):
        csvfile.find_encoding_name(options["encoding"])
    return {name: value for name, value in options.items() if value not in (None, "", False)}


def _bad(name: str, value: object, expected: str, code: str = "bad_option") -> FieldError:
    return FieldError(field=f"options.{name}"[:100], code=code, value=str(value)[:100], expected=expected)


def can_change(user: Any, job: BatchJob) -> bool:
    """Stop, retry or delete: who started it, or an operator."""
    return job.created_by_id == user.pk or permissions.has_role(user, Role.OPERATOR)


def can_read_rows(user: Any, job: BatchJob) -> bool:
    """Download rows: who started it, and who may see other people's inputs."""
    return job.created_by_id == user.pk or permissions.can_see_others_inputs(user, job.model)


def problems_for(user: Any, job: BatchJob) -> list[dict[str, Any]]:
    """The problems by cause; values out of the rows only for those who may read rows."""
    if can_read_rows(user, job):
        return list(job.problems)
    return [{**group, "examples": []} for group in job.problems]


def summary_for(user: Any, job: BatchJob) -> dict[str, Any]:
    """What was answered how often, only for those who may read the rows that were."""
    return dict(job.summary) if can_read_rows(user, job) else {}


def require_rows(user: Any, job: BatchJob) -> None:
    permissions.require(
        can_read_rows(user, job),
        _("Only the person who started this job may see its rows."),
        code="not_yours",
    )


def _require_predict(actor: Any, model: RegisteredModel) -> None:
    permissions.require_role(permissions.can_predict(actor, model), Role.BUSINESS)


def _require_change(actor: Any, job: BatchJob) -> None:
    permissions.require(
        can_change(actor, job),
        _("Only the person who started this job, or an operator, may do this."),
        code="not_yours",
    )


@transaction.atomic
def run(job: BatchJob, *, actor: Any) -> BatchJob:
    """Score a job that was held after its check."""
    _require_change(actor, job)
    _require_predict(actor, job.model)
    if not BatchJob.objects.filter(pk=job.pk).move(
        old=State.READY, new=State.QUEUED, heartbeat_at=timezone.now(), expires_at=None
    ):
        raise _wrong_state(job, _("Only a job that is ready can be run."))
    enqueue_work(job)
    job.refresh_from_db()
    return job


@transaction.atomic
def cancel(job: BatchJob, *, actor: Any) -> BatchJob:
    """Stop after the current block; what is scored is kept, and its result is named partial."""
    _require_change(actor, job)
    now = timezone.now()
    rows = BatchJob.objects.filter(pk=job.pk)
    ended = {
        "finished_at": now,
        "expires_at": now + timedelta(days=settings.MODELGATE_BATCH_DAYS),
        "owner": "",
    }
    early = [State.UPLOADED, State.CHECKING, State.READY, State.QUEUED]
    has_rows = job.chunks.filter(state=BatchChunk.State.DONE).exists()
    stopped = not has_rows and rows.move(
        old=early, new=State.CANCELLED, cancel_requested=True, lease_until=None, **ended
    )
    running = [State.QUEUED, State.RUNNING]
    if not stopped and not rows.move(
        old=running, new=State.CANCELLING, cancel_requested=True, heartbeat_at=now
    ):
        raise _wrong_state(job, _("This job is not running."))
    audit.record(Action.BATCH_CANCELLED, target=job, actor=actor)
    job.refresh_from_db()
    if job.state == State.CANCELLING:
        enqueue(WORK, job.pk)
    return job


@transaction.atomic
def retry(job: BatchJob, *, actor: Any) -> BatchJob:
    """Go on with a job that failed or was stopped: only its unscored rows, on the version that it was pinned to."""
    _require_change(actor, job)
    _require_predict(actor, job.model)
    gate.answering_release(job.model, job.environment, job.version.number)
    new = State.UPLOADED if job.total is None else State.QUEUED
    moved = BatchJob.objects.filter(pk=job.pk).move(
        old=[State.FAILED, State.CANCELLED],
        new=new,
        cancel_requested=False,
        error="",
        tries=0,
        finished_at=None,
        expires_at=None,
        owner="",
        lease_until=None,
        heartbeat_at=timezone.now(),
    )
    if not moved:
        raise _wrong_state(job, _("Only a job that failed or was stopped can be retried."))
    job.chunks.exclude(state=BatchChunk.State.DONE).update(
        state=BatchChunk.State.TODO, tries=0, failures=0, owner="", lease_until=None, error=""
    )
    audit.record(Action.BATCH_RETRIED, target=job, actor=actor)
    job.refresh_from_db()
    if new == State.UPLOADED:
        enqueue(PREPARE, job.pk)
    else:
        enqueue_work(job)
    return job


@transaction.atomic
def delete_now(job: BatchJob, *, actor: Any) -> BatchJob:
    """Delete the rows of a finished job before their time; its numbers stay."""
    _require_change(actor, job)
    if not job.is_finished or not expire(job, actor=actor):
        raise _wrong_state(job, _("Only a finished job can be deleted."))
    job.refresh_from_db()
    return job


@transaction.atomic
def expire(job: BatchJob, *, actor: Any = None) -> bool:
    """Mark the job's rows as gone and delete them; False if the job is not finished."""
    finished = [
        State.READY,  # nobody ran it
        State.SUCCEEDED,
        State.SUCCEEDED_WITH_ERRORS,
        State.FAILED,
        State.CANCELLED,
        State.REJECTED,
    ]
    if not BatchJob.objects.filter(pk=job.pk).move(
        old=finished, new=State.EXPIRED, expires_at=timezone.now()
    ):
        return False
    audit.record(Action.BATCH_DELETED, target=job, actor=actor, state=job.state)
    transaction.on_commit(lambda: files.delete_rows(job))
    return True


def enqueue_work(job: BatchJob) -> None:
    for _message in range(min(PARALLEL, max(1, job.chunks.exclude(state=BatchChunk.State.DONE).count()))):
        enqueue(WORK, job.pk)


def _wrong_state(job: BatchJob, message: str) -> Refused:
    job.refresh_from_db()
    state = State(job.state).label
    return Refused(
        _("%(message)s Its state is “%(state)s”.") % {"message": message, "state": state}, code="wrong_state"
    )
