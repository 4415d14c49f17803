"""Alerts: what somebody must act on, what to do about it, and the acts behind the buttons."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from monitoring import incidents
from monitoring.models import Incident
from portal.forms.monitoring import IncidentForm
from portal.forms.registry import ReasonForm
from portal.views.acts import attempt, on_the_record, problems, require_role
from portal.views.gates import get_version, person
from registry import permissions
from registry.actions import quarantine, releases
from registry.audit import Action
from registry.errors import NotFound
from registry.models import ModelVersion, Release, Role, User

_RESOLVED_SHOWN = 30
ACTIONS = {
    "acknowledge": Action.INCIDENT_ACKNOWLEDGED,
    "mute": Action.INCIDENT_MUTED,
    "resolve": Action.INCIDENT_RESOLVED,
}


def alert_list(request: HttpRequest) -> HttpResponse:
    """Open ones by severity; then the muted; then what is over."""
    visible = Incident.objects.visible_to(request.user).with_context()
    context = {
        "open": visible.needing_somebody().order_by("severity", "-opened_at"),  # critical, then warning
        "muted": visible.in_state(Incident.State.MUTED).order_by("muted_until"),
        "resolved": visible.in_state(Incident.State.RESOLVED).order_by("-resolved_at")[:_RESOLVED_SHOWN],
    }
    return render(request, "monitoring/alert_list.html", context)


def incident_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    visible = Incident.objects.visible_to(request.user).with_context()
    incident = get_object_or_404(visible, public_id=public_id)
    form = IncidentForm(request.POST or None)
    if request.method == "POST":
        act = ACTIONS.get(request.POST.get("act", ""), Action.INCIDENT_ACKNOWLEDGED)
        with on_the_record(request, act, incident):
            incidents.require_handler(incident, request.user)
        if form.is_valid() and _act(request, incident, form) is not None:
            messages.success(request, _("Recorded."))
            return redirect(incident)
    context = _page(incident, person(request)) | {"form": form}
    return render(
        request, "monitoring/incident.html", context, status=422 if request.method == "POST" else 200
    )


def _act(request: HttpRequest, incident: Incident, form: IncidentForm) -> Incident | None:
    said = form.cleaned_data
    act, reason = said["act"], said["reason"]
    if act == "mute":
        until = timezone.now() + timedelta(days=int(said["days"]))
        return attempt(
            request, form, ACTIONS[act], incident, incidents.mute, incident, until=until, reason=reason
        )
    verb = incidents.acknowledge if act == "acknowledge" else incidents.resolve
    return attempt(request, form, ACTIONS[act], incident, verb, incident, reason=reason)


def _page(incident: Incident, user: User) -> dict[str, Any]:
    version, model = incident.version, incident.model
    quarantined = version is not None and version.state == ModelVersion.State.QUARANTINED
    places = list(
        Release.objects.answering().filter(model=model, version=version).select_related("environment")
    )
    return {
        "incident": incident,
        "model": model,
        "version": version,
        "quarantined": quarantined,
        "places": places if version else [],
        "target": _way_back(places) if version else None,
        "history": [{**line, "at": parse_datetime(line["at"])} for line in reversed(incident.history)],
        "can_handle": permissions.can_handle_incident(user, model),
        "can_roll_back": permissions.can_roll_back(user, model),
        "can_lift": quarantined and version is not None and permissions.can_lift_quarantine(user, version),
    }


def _way_back(places: list[Release]) -> ModelVersion | None:
    """The version that a rollback would go back to, where the one in trouble is released."""
    for release in places:
        try:
            preview = releases.rollback_preview(release.model, environment=release.environment.slug)
        except NotFound:
            continue
        if preview.target is not None:
            return preview.target.version
    return None


@require_POST
def version_lift(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Let a quarantined version answer again, once its golden answers are the old ones."""
    version = get_version(request, slug, number)
    is_approver = permissions.has_role(request.user, Role.APPROVER)
    require_role(request, Action.VERSION_QUARANTINE_LIFTED, version, is_approver, Role.APPROVER)
    form = ReasonForm(request.POST)
    lifted = None
    if form.is_valid():
        reason = form.cleaned_data["reason"]
        lifted = attempt(
            request,
            form,
            Action.VERSION_QUARANTINE_LIFTED,
            version,
            quarantine.lift_quarantine,
            version,
            reason=reason,
        )
    if lifted is not None:
        messages.success(
            request, _("%(version)s gave its old answers, and answers again.") % {"version": version}
        )
    else:
        messages.error(request, problems(form))
    return redirect(version)
