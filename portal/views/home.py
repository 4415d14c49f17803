"""The start page: what needs this person, then what is new. And the help page."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from inference.models import BatchJob
from monitoring import words
from monitoring.models import State, Verdict
from portal.demo import progress
from portal.views.gates import person, serving
from registry import permissions
from registry.models import PRODUCTION, ApiKey, ModelVersion, RegisteredModel, ReleaseRequest, Role, User

logger = logging.getLogger(__name__)

_SHOWN = 6
_KEY_DAYS = 14


@dataclass(frozen=True)
class Need:
    """One thing that waits for this person."""

    tone: str
    icon: str
    text: str
    detail: str
    url: str
    label: str
    at: datetime | None = None


def home(request: HttpRequest) -> HttpResponse:
    user = person(request)
    needs, failed = _needs(user)
    models = list(RegisteredModel.objects.visible_to(user).order_by("-created_at")[:_SHOWN])
    current = serving(models)
    context = {
        "needs": needs,
        "failed": failed,
        "models": [(model, current.get(model.pk)) for model in models],
        "jobs": _safely(lambda: list(_jobs(user)[:_SHOWN])),
        "can_predict": permissions.has_role(user, *permissions.KEY_NEEDS["predict"]),
        "can_create": permissions.can_create_model(user),
        "demo": progress.read(),
    }
    return render(request, "portal/home.html", context)


def demo_progress(request: HttpRequest) -> HttpResponse:
    """How far the demo is; the home page asks while it is being seeded."""
    demo = progress.read()
    response = render(request, "portal/_demo_progress.html", {"demo": demo})
    if demo["state"] == "done":
        response["HX-Refresh"] = "true"  # there is something to see now
    return response


def _jobs(user: User) -> Any:
    return BatchJob.objects.visible_to(user).select_related("model", "version").order_by("-created_at")


def _needs(user: User) -> tuple[list[Need], list[str]]:
    """Everything that waits, and the names of the parts that could not be asked."""
    sources: list[tuple[str, Callable[[User], list[Need]]]] = [
        (_("approvals"), _approvals),
        (_("versions"), _versions),
        (_("releases"), _releases),
        (_("alerts"), _alerts),
        (_("batch jobs"), _failed_jobs),
        (_("keys"), _keys),
    ]
    needs: list[Need] = []
    failed: list[str] = []
    for name, source in sources:
        found = _safely(source, user)
        if found is None:
            failed.append(name)
        else:
            needs += found
    return needs, failed


def _safely(source: Callable[..., Any], *args: Any) -> Any:
    """Each card fails alone: what could not be read is said there, and the page stands."""
    try:
        return source(*args)
    except Exception:
        logger.exception("a part of the start page failed")
        return None


def _approvals(user: User) -> list[Need]:
    if not permissions.has_role(user, Role.APPROVER):
        return []
    waiting = ReleaseRequest.objects.visible_to(user).waiting().with_context().order_by("requested_at")
    waiting = waiting.exclude(decisions__decided_by=user)
    return [
        Need(
            "warn",
            "checklist",
            _("%(who)s asks to serve %(version)s")
            % {"who": one.requested_by.display_name, "version": f"{one.version.model} {one.version.label}"},
            one.reason,
            one.get_absolute_url(),
            _("Decide"),
            one.requested_at,
        )
        for one in waiting
        if permissions.can_decide(user, one)
    ][:_SHOWN]


def _versions(user: User) -> list[Need]:
    """An author's own: failed checks, changes asked, drafts, and what is checked but not yet asked for."""
    if not permissions.has_role(user, Role.AUTHOR):
        return []
    needs = []
    states = [ModelVersion.State.CHECKS_FAILED, ModelVersion.State.DRAFT, ModelVersion.State.CHECKED]
    own = ModelVersion.objects.filter(uploaded_by=user, state__in=states).select_related("model")
    for version in own.prefetch_related("requests").order_by("-uploaded_at")[:_SHOWN]:
        name = f"{version.model} {version.label}"
        asked = list(version.requests.all())
        url = version.get_absolute_url()
        if version.state == ModelVersion.State.CHECKS_FAILED:
            needs.append(
                Need(
                    "bad",
                    "x",
                    _("The checks of %s failed") % name,
                    _("Read which one, and why."),
                    url,
                    _("Look"),
                    version.uploaded_at,
                )
            )
        elif version.state == ModelVersion.State.DRAFT:
            needs.append(
                Need(
                    "mute",
                    "pencil",
                    _("%s is a draft") % name,
                    _("Review its schema and start the checks."),
                    url,
                    _("Go on"),
                    version.uploaded_at,
                )
            )
        elif not asked:
            needs.append(
                Need(
                    "info",
                    "check",
                    _("%s is checked") % name,
                    _("Ask for approval, so that it may answer."),
                    url,
                    _("Ask"),
                    version.uploaded_at,
                )
            )
        elif asked[0].state in ("changes_asked", "rejected", "stale"):
            needs.append(
                Need(
                    "warn",
                    "message-circle",
                    _("The request for %s was not approved") % name,
                    asked[0].get_state_display(),
                    asked[0].get_absolute_url(),
                    _("Read why"),
                    asked[0].decided_at,
                )
            )
    return needs


def _releases(user: User) -> list[Need]:
    """An operator's: approved, and not yet released."""
    if not permissions.has_role(user, Role.OPERATOR):
        return []
    approved = ReleaseRequest.objects.visible_to(user).filter(
        state=ReleaseRequest.State.APPROVED, releases=None
    )
    return [
        Need(
            "ok",
            "rocket",
            _("%s is approved") % f"{one.version.model} {one.version.label}",
            _("It can be released to %s.") % one.environment,
            reverse("version-release", args=[one.version.model.slug, one.version.number]),
            _("Release…"),
            one.decided_at,
        )
        for one in approved.with_context().order_by("-decided_at")[:_SHOWN]
    ]


def _alerts(user: User) -> list[Need]:
    """Serving models whose latest verdict is an alert: for operators all, for owners their own."""
    models = RegisteredModel.objects.visible_to(user)
    if not permissions.has_role(user, Role.OPERATOR):
        models = models.filter(owners=user)
    needs = []
    current = serving(models)
    for model in models.filter(pk__in=current):
        verdict = Verdict.objects.of(model, PRODUCTION).newest()
        if verdict and verdict.state == State.DRIFT and verdict.version_id == current[model.pk].version_id:
            text = _("%s needs a look") % f"{model} {verdict.version.label}"
            url = reverse("drift", args=[model.slug])
            said = words.sentence(verdict)
            needs.append(Need("bad", "alert-triangle", text, said, url, _("Look"), verdict.as_of))
    return needs[:_SHOWN]


def _failed_jobs(user: User) -> list[Need]:
    since = timezone.now() - timedelta(days=7)
    failed = BatchJob.objects.filter(created_by=user, state__in=["failed", "rejected"], created_at__gte=since)
    return [
        Need(
            "bad",
            "file-spreadsheet",
            _("%s could not be scored") % job.filename,
            job.error[:200],
            job.get_absolute_url(),
            _("Look"),
            job.created_at,
        )
        for job in failed.order_by("-created_at")[:3]
    ]


def _keys(user: User) -> list[Need]:
    soon = timezone.now() + timedelta(days=_KEY_DAYS)
    keys = ApiKey.objects.usable().filter(user=user, expires_at__lte=soon)
    return [
        Need(
            "warn",
            "key",
            _("The key “%s” ends soon") % key.name,
            _("Make a new one before programs stop."),
            reverse("key-list"),
            _("Keys"),
            key.expires_at,
        )
        for key in keys
    ]


def help_page(request: HttpRequest) -> HttpResponse:
    """What one does here, by role; the reader's own tasks first."""
    roles = sorted(Role, key=lambda role: role not in person(request).roles)
    return render(request, "portal/help.html", {"roles": [(role.value, role.label) for role in roles]})
