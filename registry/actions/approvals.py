"""Ask, approve, reject: bound to exactly what was looked at, and never decided by the one who asked."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from registry import as_of as times
from registry import audit, gate, permissions, ports, signals
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import FieldError, Refused
from registry.models import (
    Decision,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
    Role,
    User,
)

State = ReleaseRequest.State
Verdict = Decision.Verdict


def ask(
    version: ModelVersion,
    *,
    environment: str = "production",
    reason: str,
    mode: str = "full",
    as_of: datetime | None = None,
    actor: Any,
) -> ReleaseRequest:
    """Ask that a checked version may be released to an environment. Only authors; one waiting request at a time.

    Refused (409) unless every quality gate of the model's policy is passed against what serves there now.
    `as_of` sets its time back, for the demo only; the time to decide in runs from now all the same.
    """
    try:
        return _ask(version, environment=environment, reason=reason, mode=mode, as_of=as_of, actor=actor)
    except Refused as error:
        if error.code == "gates_pending":  # outside of what the refusal has undone
            ports.gates.start(version.model_id)
        raise


@transaction.atomic
def _ask(
    version: ModelVersion, *, environment: str, reason: str, mode: str, as_of: datetime | None, actor: Any
) -> ReleaseRequest:
    permissions.require_role(permissions.can_request(actor, version), Role.AUTHOR)
    words = reason_from(reason)
    place = gate.environment_named(environment)
    require_full(mode)
    if not version.model.lock_present():
        raise gate.deleted(version.model)
    version.refresh_from_db(fields=["state"])
    if not version.may_be_requested:
        raise Refused(
            _("%(version)s is %(state)s; only a checked version can be requested.")
            % {"version": version, "state": version.get_state_display().lower()},
            code="not_checked",
        )
    version.model.refresh_from_db(fields=["policy"])
    request = ReleaseRequest(
        version=version,
        environment=place,
        mode=mode,
        reason=words,
        bound=binding(version, environment),
        gates=_passed_gates(version, environment),
        requested_by=actor,
        requested_at=times.instant(as_of, after=None, message=""),
        expires_at=timezone.now() + timedelta(days=version.model.rules.days),
    )
    try:
        with transaction.atomic():
            request.save()
    except IntegrityError as exc:
        raise Refused(
            _("A request for %(version)s in %(environment)s is waiting already.")
            % {"version": version, "environment": environment},
            code="already_waiting",
        ) from exc
    audit.record(
        Action.REQUEST_MADE,
        target=request,
        actor=actor,
        reason=words,
        after=request.bound,
        environment=environment,
        gates=request.gates,
        **times.told(as_of),
    )
    transaction.on_commit(partial(signals.request_made.send, sender=ReleaseRequest, request_id=request.pk))
    return request


def _passed_gates(version: ModelVersion, environment: str) -> list[dict[str, Any]]:
    """The gates as this request saw them; Refused with one entry for each that is missed."""
    if not version.model.rules.gates:
        return []
    found = ports.gates.results(version, environment)
    missed = [each for each in found if not each["passed"]]
    if missed:
        errors: list[FieldError] = [
            {"field": "gates", "code": "gate_missed", "expected": each["words"], "fix": each["detail"]}
            for each in missed
        ]
        raise Refused(
            _("%(version)s misses these quality gates: %(gates)s.")
            % {"version": version, "gates": "; ".join(each["words"] for each in missed)},
            code="gates_missed",
            fix=_("Upload a better version; the version page has the numbers."),
            errors=errors,
        )
    return found


def approve(
    request: ReleaseRequest, *, comment: str = "", as_of: datetime | None = None, actor: Any
) -> ReleaseRequest:
    """One approver's yes. The last one needed turns the request approved; releasing stays an operator's act."""
    words = reason_from(comment, field="comment", required=False)
    return _decide(request, Verdict.APPROVED, words, actor, as_of)


def reject(
    request: ReleaseRequest, *, comment: str, as_of: datetime | None = None, actor: Any
) -> ReleaseRequest:
    """No, and why: the comment is required."""
    return _decide(request, Verdict.REJECTED, reason_from(comment, field="comment"), actor, as_of)


def ask_changes(request: ReleaseRequest, *, comment: str, actor: Any) -> ReleaseRequest:
    """Not like this: the comment says what must change before it is asked again."""
    return _decide(request, Verdict.CHANGES_ASKED, reason_from(comment, field="comment"), actor)


@transaction.atomic
def withdraw(request: ReleaseRequest, *, comment: str = "", actor: Any) -> ReleaseRequest:
    """The one who asked takes it back."""
    permissions.require(
        permissions.can_withdraw(actor, request),
        _("Only the person who asked may withdraw."),
        code="not_requester",
    )
    words = reason_from(comment, field="comment", required=False)
    _move(request, State.WITHDRAWN)
    audit.record(Action.REQUEST_WITHDRAWN, target=request, actor=actor, reason=words)
    return request


_OUTCOME = {
    Verdict.APPROVED: (State.APPROVED, Action.REQUEST_APPROVED),
    Verdict.REJECTED: (State.REJECTED, Action.REQUEST_REJECTED),
    Verdict.CHANGES_ASKED: (State.CHANGES_ASKED, Action.REQUEST_CHANGES_ASKED),
}


def _decide(
    request: ReleaseRequest, verdict: Verdict, comment: str, actor: Any, as_of: datetime | None = None
) -> ReleaseRequest:
    _require_decider(actor, request)
    if verdict == Verdict.APPROVED and request.state == State.WAITING:
        ports.replay.require_unmoved(request.version_id)
    # Committed on its own: the refusal that follows must not undo that the request became stale.
    settle(request)
    return _record_decision(request, verdict, comment, actor, as_of)


@transaction.atomic
def _record_decision(
    request: ReleaseRequest, verdict: Verdict, comment: str, actor: Any, as_of: datetime | None
) -> ReleaseRequest:
    # The row lock (and on SQLite the write transaction) puts two approvers in a line.
    locked = ReleaseRequest.objects.select_for_update().get(pk=request.pk)
    if locked.state != State.WAITING:
        raise _decided_already(locked)
    if verdict == Verdict.APPROVED:
        _require_may_answer(locked.version)
    early = _("A decision cannot be older than what it is about.")
    at = times.instant(as_of, after=locked.requested_at, message=early)
    try:
        with transaction.atomic():
            decision = Decision.objects.create(
                request=locked, verdict=verdict, comment=comment, decided_by=actor, decided_at=at
            )
    except IntegrityError as exc:
        raise Refused(_("You have decided on this request before."), code="decided_before") from exc
    state, action = _OUTCOME[verdict]
    if verdict != Verdict.APPROVED or locked.approvals_given >= locked.approvals_needed:
        _move(locked, state, at)
    audit.record(
        action,
        target=locked,
        actor=actor,
        reason=comment,
        after={"state": locked.state, "given": locked.approvals_given, "needed": locked.approvals_needed},
        decision=decision.pk,
        bound=locked.bound,
        **times.told(as_of),
    )
    transaction.on_commit(partial(signals.request_decided.send, sender=ReleaseRequest, request_id=locked.pk))
    request.refresh_from_db()
    return request


def _require_may_answer(version: ModelVersion) -> None:
    if not gate.may_answer(version):
        raise Refused(
            _("%(version)s is %(state)s: it may not answer, so it cannot be approved.")
            % {"version": version, "state": version.get_state_display().lower()},
            code="version_barred",
        )


def _require_decider(actor: Any, request: ReleaseRequest) -> None:
    permissions.require_role(permissions.has_role(actor, Role.APPROVER), Role.APPROVER)
    permissions.require(
        not permissions.is_own_request(actor, request),
        _("You asked for this, so another approver must decide."),
        code="own_request",
    )
    permissions.require(
        not actor.is_service, _("Only a person may approve, never a service account."), code="service"
    )
    permissions.require(
        permissions.can_decide(actor, request),
        _("Only approvers of these teams decide about this model: %(teams)s.")
        % {"teams": ", ".join(request.version.model.rules.approver_groups)},
        code="not_in_team",
    )


def approvers_of(version: ModelVersion, *, asked_by: Any) -> QuerySet[User]:
    """Who may decide, were this person to ask: by role and by the teams that the model's policy names."""
    found = User.objects.filter(grants__role=Role.APPROVER, is_active=True, is_service=False)
    teams = version.model.rules.approver_groups
    if teams:
        found = found.filter(groups__name__in=teams)
    return found.exclude(pk__in=[asked_by.pk, version.uploaded_by_id]).distinct().order_by("email")


def settle(request: ReleaseRequest) -> None:
    """Turn an open request expired or stale where that is what it is by now. One that was released is history."""
    request.refresh_from_db()
    if not ReleaseRequest.objects.open().filter(pk=request.pk).exists():
        return
    if request.expires_at <= timezone.now():
        _close(request, State.EXPIRED, Action.REQUEST_EXPIRED)
    elif (
        request.version.state == ModelVersion.State.RETIRED
        or binding(request.version, request.environment.slug) != request.bound
    ):
        _close(request, State.STALE, Action.REQUEST_STALE)


def lock_open(model: RegisteredModel) -> list[int]:
    """Hold whatever is open about a model, so that nobody decides on it before it is settled.

    Before the first audit event of a transaction: whoever decides takes the request first and the log's head then,
    and of two who take them the other way round the database ends one.
    """
    found = ReleaseRequest.objects.open().filter(version__model=model)
    ids = list(found.order_by("pk").values_list("pk", flat=True))
    held = ReleaseRequest.objects.select_for_update(no_key=True).filter(pk__in=ids)
    return list(held.order_by("pk").values_list("pk", flat=True))


def settle_all(ids: Iterable[int]) -> None:
    """After an act these may be over, or about something that is there no more: as `lock_open` gave them."""
    for request in ReleaseRequest.objects.filter(pk__in=list(ids)).with_context():
        settle(request)


def expire_due() -> int:
    """Close the requests whose time is over; the periodic tick calls this. Returns how many."""
    due = ReleaseRequest.objects.open().filter(expires_at__lte=timezone.now())
    count = 0
    for request in due.with_context():
        settle(request)
        count += 1
    return count


def close_with_model(request: ReleaseRequest, *, actor: Any) -> None:
    """Its model is deleted: nothing can come of the request any more."""
    old = request.state
    if ReleaseRequest.objects.filter(pk=request.pk).move(old=old, new=State.WITHDRAWN):
        after = {"state": State.WITHDRAWN}
        words = _("The model was deleted.")
        audit.record(
            Action.REQUEST_WITHDRAWN,
            target=request,
            actor=actor,
            reason=words,
            before={"state": old},
            after=after,
        )


@transaction.atomic
def _close(request: ReleaseRequest, state: State, action: Action) -> None:
    old = request.state
    if ReleaseRequest.objects.filter(pk=request.pk).move(old=old, new=state):
        audit.record(action, target=request, actor=None, before={"state": old}, after={"state": state})
        request.state = state


def _move(request: ReleaseRequest, state: State, at: datetime | None = None) -> None:
    if not ReleaseRequest.objects.filter(pk=request.pk).move(old=State.WAITING, new=state, at=at):
        request.refresh_from_db()
        raise _decided_already(request)
    request.state = state


def _decided_already(request: ReleaseRequest) -> Refused:
    return Refused(
        _("This request is %(state)s already.") % {"state": request.get_state_display().lower()},
        code=f"request_{request.state}",
        fix=_("Ask again for what is there now.") if request.state in (State.STALE, State.EXPIRED) else "",
    )


def binding(version: ModelVersion, environment: str) -> dict[str, Any]:
    """What a decision is about: if any of these moves, it was about something else."""
    current = Release.objects.current(version.model, environment)
    return {
        "sha256": version.sha256,
        "schema": _digest(version.schema),
        "environment": _digest(version.environment),
        "metrics": _digest(version.measured_metrics),
        "release": current.number if current else 0,
        "policy": version.model.rules.deciding(),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(audit.plain(value), sort_keys=True).encode()).hexdigest()


def require_full(mode: str) -> None:
    """Canary and shadow have their place in the record, and are refused until they work."""
    if mode != Release.Mode.FULL:
        raise Refused(
            _("The mode “%(mode)s” is not available yet; use “full”.") % {"mode": mode},
            code="mode_not_available",
            status=422,
        )
