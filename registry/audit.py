"""The audit log: names of acts, the one writer, and the check that nobody touched it.

Each event carries SHA-256(previous hash, "|", canonical JSON of the event): anyone can verify the chain with the
one file `verify_audit.py`, the home of that definition. A chain proves order and completeness up to its head; that
the head itself was not rewritten is proven by its seals (`seals.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from registry import seals
from registry.errors import Refused
from registry.models import AuditEvent, AuditHead
from registry.verify_audit import Finding, link, read_lines, walk


class Action(models.TextChoices):
    """`<subject>.<past-tense verb>`; add one here before using it anywhere."""

    USER_INVITED = "user.invited"
    USER_ROLE_GRANTED = "user.role_granted"
    USER_ROLE_REVOKED = "user.role_revoked"
    USER_ACTIVATED = "user.activated"
    USER_DEACTIVATED = "user.deactivated"
    USER_GROUPS_CHANGED = "user.groups_changed"
    USER_LINK_ISSUED = "user.link_issued"
    USER_LOGGED_IN = "user.logged_in"
    USER_LOGGED_OUT = "user.logged_out"
    USER_LOGIN_FAILED = "user.login_failed"
    USER_PASSWORD_SET = "user.password_set"  # noqa: S105 - a name of an act
    USER_SECOND_FACTOR_ADDED = "user.second_factor_added"
    USER_SECOND_FACTOR_REMOVED = "user.second_factor_removed"
    USER_SECOND_FACTOR_FAILED = "user.second_factor_failed"  # only ever refused
    USER_RECOVERY_CODES_MADE = "user.recovery_codes_made"
    USER_RECOVERY_CODES_ENDED = "user.recovery_codes_ended"
    USER_RECOVERY_CODE_USED = "user.recovery_code_used"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATED = "key.rotated"
    KEY_USED = "key.used"  # only ever refused: a key that is over was tried
    ADMIN_ENTERED = "admin.entered"  # only ever refused: somebody who may not enter sent a form
    MODEL_CREATED = "model.created"
    MODEL_CHANGED = "model.changed"
    MODEL_DELETED = "model.deleted"
    MODEL_POLICY_CHANGED = "model.policy_changed"
    DATASET_ADDED = "dataset.added"
    DATASET_DOWNLOADED = "dataset.downloaded"
    VERSION_UPLOADED = "version.uploaded"
    VERSION_EDITED = "version.edited"
    VERSION_CHECKING = "version.checking"
    VERSION_CHECKED = "version.checked"
    VERSION_CHECKS_FAILED = "version.checks_failed"
    VERSION_HELD = "version.held_for_review"
    VERSION_ADMITTED = "version.admitted"
    VERSION_NOT_ADMITTED = "version.not_admitted"
    VERSION_RETIRED = "version.retired"
    VERSION_ARCHIVED = "version.archived"
    VERSION_UNARCHIVED = "version.unarchived"
    VERSION_QUARANTINED = "version.quarantined"
    VERSION_QUARANTINE_LIFTED = "version.quarantine_lifted"
    VERSION_DOWNLOADED = "version.downloaded"
    REQUEST_MADE = "request.made"
    REQUEST_APPROVED = "request.approved"
    REQUEST_REJECTED = "request.rejected"
    REQUEST_CHANGES_ASKED = "request.changes_asked"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_STALE = "request.stale"
    RELEASE_MADE = "release.made"
    RELEASE_ROLLED_BACK = "release.rolled_back"
    FREEZE_LIFTED = "freeze.lifted"
    PREDICTION_MADE = "prediction.made"
    PREDICTION_READ = "prediction.read"
    PREDICTION_REPORTED = "prediction.reported"
    PREDICTION_ERASED = "prediction.erased"
    FEEDBACK_GIVEN = "feedback.given"
    BATCH_STARTED = "batch.started"
    BATCH_CANCELLED = "batch.cancelled"
    BATCH_RETRIED = "batch.retried"
    BATCH_FINISHED = "batch.finished"
    BATCH_DOWNLOADED = "batch.downloaded"
    BATCH_DELETED = "batch.deleted"
    MONITORING_CHANGED = "monitoring.changed"
    CHECK_RUN = "check.run"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged"
    INCIDENT_MUTED = "incident.muted"
    INCIDENT_RESOLVED = "incident.resolved"
    AUDIT_EXPORTED = "audit.exported"
    DEMO_SEEDED = "demo.seeded"


CHANNELS = ("page", "admin", "api", "command", "task", "system")


@dataclass(frozen=True)
class Context:
    """Where an act comes from; `channel` is one of CHANNELS."""

    channel: str = "system"
    ip: str = ""
    request_id: str = ""
    key_prefix: str = ""


_nowhere = Context()
_context: ContextVar[Context] = ContextVar("audit_context", default=_nowhere)


def current_context() -> Context:
    return _context.get()


@contextmanager
def context(**changes: str) -> Iterator[Context]:
    """Everything recorded inside comes from here: `with audit.context(channel="command"): …`."""
    token = _context.set(replace(_context.get(), **changes))
    try:
        yield _context.get()
    finally:
        _context.reset(token)


def extend_context(**changes: str) -> None:
    """Say more about the act in progress; it holds until the surrounding `context` ends."""
    _context.set(replace(_context.get(), **changes))


def record(
    action: Action,
    *,
    target: models.Model | None,
    actor: Any,
    reason: str = "",
    before: Any = None,
    after: Any = None,
    **details: Any,
) -> AuditEvent:
    """Append one event, in the transaction of what it records; RuntimeError outside of one."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("audit.record() must share its change's transaction")
    return _append(
        action,
        AuditEvent.Result.DONE,
        target=target,
        actor=actor,
        reason=reason,
        before=before,
        after=after,
        details=details,
    )


def record_refusal(
    action: Action, *, target: models.Model | None, actor: Any, error: Refused, **details: Any
) -> AuditEvent:
    """Append a refusal, in a transaction of its own: the refused act's own was rolled back.

    The caller of a verb (page, API, admin, command) calls this where it catches the error.
    """
    details = {"code": error.code, "message": str(error), **error.facts, **details}
    with transaction.atomic():
        return _append(action, AuditEvent.Result.REFUSED, target=target, actor=actor, details=details)


def _append(
    action: Action,
    result: str,
    *,
    target: models.Model | None,
    actor: Any,
    details: dict[str, Any],
    reason: str = "",
    before: Any = None,
    after: Any = None,
) -> AuditEvent:
    where = current_context()
    if where.key_prefix:
        details = {**details, "key": where.key_prefix}
    head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
    event = AuditEvent(
        seq=head.seq + 1,
        at=timezone.now(),
        action=Action(action),
        result=result,
        actor_id=getattr(actor, "pk", None),
        actor_name=str(actor) if getattr(actor, "pk", None) else str(actor or "system")[:254],
        channel=where.channel,
        ip=where.ip,
        request_id=where.request_id,
        model_slug=_slug_of(target),
        target_type=target._meta.label_lower if target else "",
        target_id=str(getattr(target, "public_id", None) or target.pk or "") if target else "",
        target_name=str(target)[:200] if target else "",
        reason=reason,
        before=plain(before),
        after=plain(after),
        details=plain(details),
        prev_hash=head.hash,
    )
    event.hash = link(head.hash, facts(event))
    event.save()
    AuditHead.objects.filter(pk=head.pk).update(seq=event.seq, hash=event.hash)
    return event


def _slug_of(target: Any) -> str:
    """The model that an event is about, whatever row it names: so that one can ask for a model's whole story."""
    for path in (
        ("slug",),
        ("model", "slug"),
        ("version", "model", "slug"),
        ("request", "version", "model", "slug"),
    ):
        value = target
        for name in path:
            value = getattr(value, name, None)
        if isinstance(value, str) and (len(path) > 1 or target._meta.model_name == "registeredmodel"):
            return value
    return ""


def plain(value: Any) -> Any:
    """`value` as JSON that every database gives back unchanged, so that a hash can be computed again."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if value == 0:
            return 0.0  # PostgreSQL keeps no sign of a zero
        return value if 1e-4 <= abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return _iso(value)
    return str(value).replace("\x00", "�")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


#: The fields that a link covers, in no particular order: the canonical form sorts them.
FACTS = (
    "seq action result actor_id actor_name channel ip request_id model_slug "
    "target_type target_id target_name reason before after details"
).split()

#: The order in which an event is shown to programs: what its hash covers, then both hashes.
COLUMNS = ["seq", "at", *FACTS[1:], "prev_hash", "hash"]


def facts(event: AuditEvent) -> dict[str, Any]:
    return {"at": _iso(event.at), **{name: getattr(event, name) for name in FACTS}}


def row(event: AuditEvent) -> dict[str, Any]:
    """Everything that the chain knows of an event, as an export and the verifier have it."""
    known = {**facts(event), "prev_hash": event.prev_hash, "hash": event.hash}
    return {name: known[name] for name in COLUMNS}


def verify() -> Finding:
    """Walk the whole chain and its seals in constant memory, and say where it breaks first, and how.

    Seals and head are read before the events: what is written meanwhile is beyond them.
    """
    sealed = seals.lines()
    head = AuditHead.objects.filter(pk=1).first()
    events = AuditEvent.objects.order_by("seq").iterator(chunk_size=1000)
    found = walk(
        map(row, events),
        seals=read_lines(sealed),
        key=seals.key(),
        ends_at=(head.seq, head.hash) if head else None,
    )
    if found.ok and found.rows and _goes_beyond_its_head():
        return replace(found, ok=False, broken_at=found.last, problem="the chain goes on after its head")
    return found


def _goes_beyond_its_head() -> bool:
    """In one statement, so that an event written at this moment is no finding."""
    at_end = AuditHead.objects.filter(seq__gte=OuterRef("seq"))
    return AuditEvent.objects.filter(~Exists(at_end)).exists()
