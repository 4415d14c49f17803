"""What waits for a person, by role: the upper half of the start page."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from inference.models import BatchJob
from monitoring import words
from monitoring.models import Incident, State, Verdict
from portal.views.model_page import serving
from portal.views.registry.reviews import waiting_for_review
from registry import permissions
from registry.models import PRODUCTION, ApiKey, ModelVersion, RegisteredModel, ReleaseRequest, Role, User

logger = logging.getLogger(__name__)

SHOWN = 6
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


def needs_of(user: User) -> tuple[list[Need], list[str]]:
    """Everything that waits, and the names of the parts that could not be asked."""
    sources: list[tuple[str, Callable[[User], list[Need]]]] = [
        (_("approvals"), _approvals),
        (_("reviews"), _reviews),
        (_("versions"), _versions),
        (_("releases"), _releases),
        (_("incidents"), _incidents),
        (_("alerts"), _alerts),
        (_("batch jobs"), _failed_jobs),
        (_("keys"), _keys),
    ]
    needs: list[Need] = []
    failed: list[str] = []
    for name, source in sources:
        found = safely(source, user)
        if found is None:
            failed.append(name)
        else:
            needs += found
    return needs, failed


def safely(source: Callable[..., Any], *args: Any) -> Any:
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
    ][:SHOWN]


def _reviews(user: User) -> list[Need]:
    """An approver's: files with names that nobody has looked at yet."""
    return [
        Need(
            "warn",
            "eye",
            (
                _("%s needs a look at its names")
                if version.unknown_names
                else _("%s needs a look at its packages")
            )
            % f"{version.model} {version.label}",
            ", ".join(version.names_to_review)[:200],
            f"{version.get_absolute_url()}#review",
            _("Look"),
            version.uploaded_at,
        )
        for version in waiting_for_review(user)
        if permissions.can_admit(user, version)
    ][:SHOWN]


def _versions(user: User) -> list[Need]:
    """An author's own: failed checks, changes asked, drafts, and what is checked but not yet asked for."""
    if not permissions.has_role(user, Role.AUTHOR):
        return []
    states = [ModelVersion.State.CHECKS_FAILED, ModelVersion.State.DRAFT, ModelVersion.State.CHECKED]
    own = ModelVersion.objects.filter(uploaded_by=user, state__in=states).select_related("model")
    shown = own.prefetch_related("requests").order_by("-uploaded_at")[:SHOWN]
    return [need for need in map(_need_of, shown) if need]


def _need_of(version: ModelVersion) -> Need | None:
    name, url, at = f"{version.model} {version.label}", version.get_absolute_url(), version.uploaded_at
    asked = version.requests.all().first()
    if version.state == ModelVersion.State.CHECKS_FAILED:
        text = _("The checks of %s failed") % name
        return Need("bad", "x", text, _("Read which one, and why."), url, _("Look"), at)
    if version.state == ModelVersion.State.DRAFT:
        text = _("%s is a draft") % name
        return Need("mute", "pencil", text, _("Review its schema and start the checks."), url, _("Go on"), at)
    if asked is None:
        text = _("%s is checked") % name
        return Need("info", "check", text, _("Ask for approval, so that it may answer."), url, _("Ask"), at)
    if asked.state in ("changes_asked", "rejected", "stale"):
        text, url = _("The request for %s was not approved") % name, asked.get_absolute_url()
        said = asked.get_state_display()
        return Need("warn", "message-circle", text, said, url, _("Read why"), asked.decided_at)
    return None


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
        for one in approved.with_context().order_by("-decided_at")[:SHOWN]
    ]


def _incidents(user: User) -> list[Need]:
    """Open ones that this person may act on, the worst first."""
    return [
        Need(
            "bad" if one.severity == Incident.Severity.CRITICAL else "warn",
            "alert-triangle",
            f"{one.model}: {one.get_kind_display()}",
            one.sentence,
            one.get_absolute_url(),
            _("What to do"),
            one.opened_at,
        )
        for one in Incident.objects.for_handler(user).with_context().order_by("severity", "-opened_at")
        if one.acknowledged_at is None
    ][:SHOWN]


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
    return needs[:SHOWN]


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
