"""What every page about one model says: what answers, who approved it, whether it is well, what one may do."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring.models import Incident, ServicePart
from monitoring.windows import Service
from portal.views.gates import person
from registry import permissions
from registry.models import PRODUCTION, Environment, Freeze, RegisteredModel, Release, ReleaseRequest
from registry.serving import approvers_of


def serving(models: Iterable[RegisteredModel], environment: str = PRODUCTION) -> dict[int, Release]:
    """The release that answers now, by model: one query for a whole list."""
    releases = Release.objects.answering().filter(
        model__in=[model.pk for model in models], environment__slug=environment
    )
    related = releases.select_related("version", "released_by", "request", "restores__request")
    return {release.model_id: release for release in related}


def model_page(request: HttpRequest, model: RegisteredModel, tab: str) -> dict[str, Any]:
    """What `registry/model_base.html` needs: the head, the tabs and the one state of this model."""
    user = person(request)
    current = Release.objects.current(model)
    freeze = (
        Freeze.objects.filter(model=model, environment__slug=PRODUCTION, lifted_at=None)
        .select_related("release__version", "release__released_by")
        .first()
    )
    waiting = ReleaseRequest.objects.filter(version__model=model).waiting().count()
    return {
        "model": model,
        "tab": tab,
        "serving": current,
        "approvers": names_of_approvers([current])[current.pk] if current else "",
        "freeze": freeze,
        "undo": undo_of(freeze.release) if freeze else None,
        "trouble": _trouble_if_known(current) if current else None,
        "waiting": waiting,
        "incidents": Incident.objects.filter(model=model).needing_somebody(),
        "environments": Environment.objects.all(),
        "can_predict": permissions.can_predict(user, model),
        "can_upload": permissions.can_upload(user, model),
        "can_release": permissions.can_release(user, model),
        "can_roll_back": permissions.can_roll_back(user, model),
        "can_change": permissions.can_change_model(user, model),
        "why_not_predict": "" if current else _("No approved version is serving."),
    }


def names_of_approvers(releases: Iterable[Release]) -> dict[int, str]:
    """Who approved what each release serves, as names in a sentence."""
    found = approvers_of(releases)
    return {release: ", ".join(user.display_name for user in people) for release, people in found.items()}


logger = logging.getLogger(__name__)

#: A serving model is in trouble when this share of at least so many calls of so many minutes failed.
TROUBLE_SHARE, TROUBLE_CALLS, TROUBLE_MINUTES = 0.05, 20, 15


def trouble(release: Release) -> Service | None:
    """How the last minutes went, if badly: what the banner of a failing model says."""
    recent = service_of(release, timezone.now() - timedelta(minutes=TROUBLE_MINUTES))
    is_bad = recent.requests >= TROUBLE_CALLS and recent.failed / recent.requests >= TROUBLE_SHARE
    return recent if is_bad else None


def _trouble_if_known(release: Release) -> Service | None:
    """The way back is on these pages: it must not need the figures."""
    try:
        return trouble(release)
    except Exception:
        logger.exception("no service figures for a banner")
        return None


def service_of(release: Release, start: datetime) -> Service:
    """The calls that this release's version answered in its environment from a moment on."""
    parts = ServicePart.objects.filter(
        model_id=release.model_id,
        environment=release.environment.slug,
        version_id=release.version_id,
        minute__gte=start,
    )
    total = Service()
    for part in parts.values("channel", "requests", "rows", "errors", "latencies").iterator():
        total.add(part)
    return total


def undo_of(rollback: Release) -> Release | None:
    """The release that a rollback replaced: what "Undo" would go back to."""
    return (
        Release.objects.of(rollback.model, rollback.environment.slug)
        .filter(number__lt=rollback.number)
        .order_by("-number")
        .first()
    )
