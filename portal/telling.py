"""Signal in, notices out. What fails here is logged and stops nobody: a rollback is made whether or not it is told."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from django.dispatch import Signal, receiver
from django.urls import reverse

from inference.models import BatchJob, ProblemReport
from inference.signals import batch_ended, problem_reported
from monitoring.models import Incident
from monitoring.signals import incident_opened, incident_resolved
from portal.notices import keepers_of, tell
from registry.actions.approvals import approvers_of
from registry.audit import Action
from registry.models import Release, ReleaseRequest, Role, User
from registry.signals import request_decided, request_made, serving_changed, way_in_changed

logger = structlog.get_logger(__name__)

Teller = Callable[..., None]


def tells(signal: Signal) -> Callable[[Teller], Teller]:
    """Receive `signal`, and let no failure reach whoever sent it."""

    def decorate(teller: Teller) -> Teller:
        @receiver(signal, weak=False)
        @wraps(teller)
        def safely(sender: Any, **kwargs: Any) -> None:
            try:
                teller(**{name: value for name, value in kwargs.items() if name != "signal"})
            except Exception:
                logger.exception("notice_failed", teller=teller.__name__)

        return safely

    return decorate


@tells(batch_ended)
def batch_has_ended(batch_id: int, **more: Any) -> None:
    job = BatchJob.objects.select_related("created_by").get(pk=batch_id)
    if job.created_by is None or job.state == BatchJob.State.CANCELLED:
        return
    went_well = job.state in (BatchJob.State.SUCCEEDED, BatchJob.State.SUCCEEDED_WITH_ERRORS)
    tell(
        [job.created_by],
        "batch_finished" if went_well else "batch_failed",
        url=reverse("batch-detail", args=[job.public_id]),
        about=job.public_id,
        once=f"{job.public_id}:{job.finished_at}",
        at=job.finished_at,
        file=job.filename,
        scored=job.scored,
        invalid=job.invalid,
    )


@tells(request_made)
def approval_is_asked(request_id: int, **more: Any) -> None:
    request = ReleaseRequest.objects.with_context().get(pk=request_id)
    tell(
        approvers_of(request.version, asked_by=request.requested_by),
        "approval_asked",
        **_about_request(request),
        at=request.requested_at,
        who=request.requested_by.display_name,
    )


@tells(request_decided)
def request_is_decided(request_id: int, **more: Any) -> None:
    request = ReleaseRequest.objects.with_context().get(pk=request_id)
    if request.state == ReleaseRequest.State.WAITING:
        return  # one more approval is needed
    tell([request.requested_by], f"request_{request.state}", **_about_request(request), at=request.decided_at)


def _about_request(request: ReleaseRequest) -> dict[str, Any]:
    return {
        "url": request.get_absolute_url(),
        "about": request.public_id,
        "once": request.public_id,
        "version": str(request.version),
        "environment": request.environment.slug,
    }


@tells(problem_reported)
def problem_is_reported(report_id: int, **more: Any) -> None:
    """Whoever looks after the model, but who said it."""
    report = ProblemReport.objects.select_related("model").get(pk=report_id)
    tell(
        [user for user in keepers_of(report.model, Role.OPERATOR) if user.pk != report.reported_by_id],
        "problem_reported",
        url=f"{reverse('model-detail', args=[report.model.slug])}#reports",
        about=report.prediction_id,
        once=str(report.pk),
        at=report.reported_at,
        who=report.reported_by_name,
        model=report.model.name,
    )


_KINDS = {
    Release.Kind.RELEASE: "released",
    Release.Kind.ROLLBACK: "rolled_back",
    Release.Kind.AUTO_ROLLBACK: "auto_rolled_back",
}


@tells(serving_changed)
def serving_has_changed(release_id: int, **more: Any) -> None:
    """Everybody who looks after the model, but the person who did it."""
    related = ("model", "version__model", "environment", "released_by")
    made = Release.objects.select_related(*related).get(pk=release_id)
    people = keepers_of(made.model, Role.APPROVER, Role.OPERATOR)
    tell(
        [user for user in people if user.pk != made.released_by_id],
        _KINDS[Release.Kind(made.kind)],
        url=f"{reverse('release-list', args=[made.model.slug])}?environment={made.environment.slug}",
        about=f"r{made.number}",
        once=str(made.pk),
        at=made.created_at,
        who=made.released_by.display_name,
        version=str(made.version),
        environment=made.environment.slug,
    )


@tells(incident_opened)
def incident_is_open(incident_id: int, **more: Any) -> None:
    _tell_of_incident("incident_opened", incident_id)


@tells(incident_resolved)
def incident_is_resolved(incident_id: int, **more: Any) -> None:
    _tell_of_incident("incident_resolved", incident_id)


def _tell_of_incident(kind: str, incident_id: int) -> None:
    incident = Incident.objects.with_context().get(pk=incident_id)
    tell(
        keepers_of(incident.model, Role.OPERATOR),
        kind,
        url=incident.get_absolute_url(),
        about=incident.public_id,
        once=incident.public_id,
        model=incident.model.name,
        incident=incident.kind,
    )


_WAYS_IN = {Action.USER_LINK_ISSUED: "person_link", Action.USER_SECOND_FACTOR_REMOVED: "person_factor"}


@tells(way_in_changed)
def way_in_has_changed(user_id: int, action: Action, by: str, event: int, **more: Any) -> None:
    """Its owner; a link for somebody who never signed in is their first, and no news."""
    user = User.objects.get(pk=user_id)
    if user.last_login is not None:
        tell([user], _WAYS_IN[action], url=reverse("mfa_index"), about=user.email, once=str(event), who=by)
