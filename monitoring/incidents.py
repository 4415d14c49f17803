"""What a person must act on: opened by what is observed, acknowledged, muted and resolved by who is responsible."""

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring import signals
from monitoring.models import Incident
from registry import audit, permissions
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import Invalid, Refused
from registry.models import AuditEvent, ModelVersion, RegisteredModel, Release

LONGEST_MUTE = timedelta(days=90)
HISTORY_KEPT = 50
TRIES = 3

Kind = Incident.Kind
Severity = Incident.Severity


def open_or_update(
    model: RegisteredModel,
    kind: str,
    sentence: str,
    *,
    severity: str = Severity.WARNING,
    version: ModelVersion | None = None,
) -> Incident:
    """Write down what was found: in the open incident of this model and kind, or in a new one.

    Of two who find the same thing at once the database lets one open it; the other one's word is added to it. Where
    that one is resolved in between, there is room for a new one.
    """
    for _try in range(TRIES):
        try:
            with transaction.atomic():
                return _open(model, kind, sentence, severity, version)
        except IntegrityError:
            with suppress(Incident.DoesNotExist):
                return _update(model, kind, sentence, severity, version)
    return _update(model, kind, sentence, severity, version)


def quarantined(version: ModelVersion, reason: str) -> Incident:
    """A version that answers nobody any more."""
    sentence = _("%(version)s answers no more. %(reason)s") % {"version": version.label, "reason": reason}
    return open_or_update(
        version.model, Kind.QUARANTINE, sentence, severity=Severity.CRITICAL, version=version
    )


def open_missed() -> int:
    """For the tick: a process that died between a quarantine and its signal has told nobody. Returns how many."""
    waiting = ModelVersion.objects.filter(state=ModelVersion.State.QUARANTINED).select_related("model")
    missed = 0
    for version in waiting:
        event = (
            AuditEvent.objects.filter(
                action=Action.VERSION_QUARANTINED,
                target_type=version._meta.label_lower,
                target_id=str(getattr(version, "public_id", None) or version.pk),
            )
            .order_by("-seq")
            .first()
        )
        told = Incident.objects.filter(model=version.model, kind=Kind.QUARANTINE)
        if event is not None and not told.filter(updated_at__gte=event.at).exists():
            quarantined(version, event.reason)
            missed += 1
    return missed


def _open(
    model: RegisteredModel, kind: str, sentence: str, severity: str, version: ModelVersion | None
) -> Incident:
    incident = Incident.objects.create(
        model=model,
        kind=Kind(kind),
        severity=Severity(severity),
        sentence=sentence,
        version=version,
        history=[_line(sentence, version)],
    )
    audit.record(
        Action.INCIDENT_OPENED,
        target=incident,
        actor=None,
        reason=sentence,
        after={"kind": incident.kind, "severity": incident.severity},
        version=version.number if version else None,
    )
    transaction.on_commit(partial(signals.incident_opened.send, sender=Incident, incident_id=incident.pk))
    return incident


@transaction.atomic
def _update(
    model: RegisteredModel, kind: str, sentence: str, severity: str, version: ModelVersion | None
) -> Incident:
    incident = Incident.objects.select_for_update().get(model=model, kind=kind, resolved_at=None)
    last = incident.history[-1] if incident.history else {}
    if (last.get("sentence"), incident.version_id) != (sentence, version.pk if version else None):
        incident.history = [*incident.history, _line(sentence, version)][-HISTORY_KEPT:]
    incident.sentence, incident.version = sentence, version
    if severity == Severity.CRITICAL:
        incident.severity = Severity.CRITICAL
    incident.updated_at = timezone.now()
    incident.save(update_fields=["history", "sentence", "version", "severity", "updated_at"])
    return incident


def _line(sentence: str, version: ModelVersion | None) -> dict[str, Any]:
    return {
        "at": timezone.now().isoformat(),
        "version": version.number if version else None,
        "sentence": sentence,
    }


def acknowledge(incident: Incident, *, reason: str = "", actor: Any) -> Incident:
    """I have seen it and see to it. Operators and the model's owners; once."""
    require_handler(incident, actor)
    words = reason_from(reason, required=False)
    changes: dict[str, Any] = {
        "acknowledged_at": timezone.now(),
        "acknowledged_by": actor,
        "acknowledged_reason": words,
    }
    return _move(incident, Action.INCIDENT_ACKNOWLEDGED, words, actor, changes, acknowledged_at=None)


def mute(incident: Incident, *, until: datetime, reason: str, actor: Any) -> Incident:
    """Be quiet about it until then; it stays open, and says who muted it."""
    require_handler(incident, actor)
    now = timezone.now()
    if not now < until <= now + LONGEST_MUTE:
        message = _("Choose a time within the next %(days)d days.") % {"days": LONGEST_MUTE.days}
        raise Invalid(
            message,
            code="bad_until",
            errors=[{"field": "until", "code": "bad_until", "expected": message, "fix": message}],
        )
    words = reason_from(reason)
    changes: dict[str, Any] = {"muted_until": until, "muted_by": actor, "muted_reason": words}
    return _move(incident, Action.INCIDENT_MUTED, words, actor, changes)


def resolve(incident: Incident, *, reason: str, actor: Any) -> Incident:
    """It is over. Refused while the cause still answers nothing: a quarantined version that is released."""
    require_handler(incident, actor)
    words = reason_from(reason)
    _require_over(incident)
    changes: dict[str, Any] = {"resolved_at": timezone.now(), "resolved_by": actor, "resolved_reason": words}
    return _move(incident, Action.INCIDENT_RESOLVED, words, actor, changes)


def resolve_by_itself(model: RegisteredModel, kind: str, reason: str) -> None:
    """What opened it is no more."""
    for incident in Incident.objects.filter(model=model, kind=kind).unresolved().with_context():
        over: dict[str, Any] = {"resolved_at": timezone.now(), "resolved_reason": reason}
        _write(incident, Action.INCIDENT_RESOLVED, reason, None, over)


def _move(
    incident: Incident, action: Action, words: str, actor: Any, changes: dict[str, Any], **still: Any
) -> Incident:
    if not _write(incident, action, words, actor, changes, **still):
        incident.refresh_from_db()
        raise Refused(
            _("This incident is %(state)s already.")
            % {"state": str(Incident.State(incident.state).label).lower()},
            code=f"incident_{incident.state}",
        )
    return incident


def require_handler(incident: Incident, actor: Any) -> None:
    permissions.require(
        permissions.can_handle_incident(actor, incident.model),
        _("Only operators and the model's owners act on its incidents."),
        code="not_operator",
    )


@transaction.atomic
def _write(
    incident: Incident, action: Action, words: str, actor: Any, changes: dict[str, Any], **still: Any
) -> bool:
    """One UPDATE is the check and the change: nobody acts on what somebody else has just resolved."""
    before = incident.state
    if not Incident.objects.filter(pk=incident.pk, resolved_at=None, **still).update(**changes):
        return False
    incident.refresh_from_db()
    audit.record(
        action,
        target=incident,
        actor=actor,
        reason=words,
        before={"state": before},
        after={"state": incident.state, "until": incident.muted_until},
    )
    if action == Action.INCIDENT_RESOLVED:
        transaction.on_commit(
            partial(signals.incident_resolved.send, sender=Incident, incident_id=incident.pk)
        )
    return True


def _require_over(incident: Incident) -> None:
    if incident.kind != Kind.QUARANTINE:
        return
    stuck = (
        Release.objects.answering()
        .filter(model=incident.model_id, version__state=ModelVersion.State.QUARANTINED)
        .select_related("version", "environment")
        .first()
    )
    if stuck is not None:
        raise Refused(
            _("%(version)s is quarantined, and still the released version in %(place)s.")
            % {"version": stuck.version, "place": stuck.environment.slug},
            code="still_quarantined",
            fix=_("Roll back to a version that served before, or release another one."),
        )
