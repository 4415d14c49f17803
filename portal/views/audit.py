"""The audit log: read, filter, verify, export. There is no way to change it from here."""

import json
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from portal.forms.audit import AuditFilter
from portal.views.gates import person
from registry import audit, permissions
from registry.audit_export import KINDS, SCRIPT, export
from registry.models import AuditEvent, Role, User
from registry.models.audit import AuditEventQuerySet

PER_PAGE = 50
_VERIFIED = "audit-verified"
_SOUND_SECONDS, _BROKEN_SECONDS = 300, 60


def visible_events(user: User) -> AuditEventQuerySet:
    """Everything for auditors and administrators; for others what they did, and what happened to their models."""
    if permissions.can_see_audit(user):
        return AuditEvent.objects.all()
    own = Q(actor_id=user.pk)
    if user.roles & {Role.AUTHOR}:
        own |= Q(model_slug__in=user.owned_models.values("slug"))
    if user.roles & {Role.OPERATOR}:
        own |= ~Q(model_slug="") & ~Q(action__in=["prediction.made", "prediction.read"])
    return AuditEvent.objects.filter(own)


def audit_log(request: HttpRequest) -> HttpResponse:
    user = person(request)
    form = AuditFilter(request.GET or None)
    events = visible_events(user)
    total_is_filtered = form.is_bound and bool(form.chosen())
    if form.is_bound:
        events = form.apply(events)
    page = Paginator(events.order_by("-seq"), PER_PAGE).get_page(request.GET.get("page"))
    query = request.GET.copy()
    query.pop("page", None)
    sees_all = permissions.can_see_audit(user)
    context = {
        "form": form,
        "page": page,
        "query": query.urlencode(),
        "is_filtered": total_is_filtered,
        "sees_all": sees_all,
        "verified": (cache.get(_VERIFIED) or _verify()) if sees_all else None,
    }
    return render(request, "portal/audit_log.html", context)


def audit_event(request: HttpRequest, seq: int) -> HttpResponse:
    event = get_object_or_404(visible_events(person(request)), seq=seq)
    context = {
        "event": event,
        "before": _pretty(event.before),
        "after": _pretty(event.after),
        "details": _pretty(event.details),
    }
    template = "portal/_audit_event.html" if request.headers.get("HX-Request") else "portal/audit_event.html"
    return render(request, template, context)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) if value else ""


@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    permissions.require_role(permissions.can_see_audit(request.user), Role.AUDITOR)
    _verify()
    return redirect("audit-log")


def _verify() -> dict[str, Any]:
    """Walk the chain, which is long, and remember what was found: of a broken one for a short time only."""
    found = audit.verify()
    verified = {**vars(found), "sealed_at": _instant(found.sealed_at), "at": timezone.now()}
    cache.set(_VERIFIED, verified, _SOUND_SECONDS if found.ok else _BROKEN_SECONDS)
    return verified


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def audit_script(request: HttpRequest) -> HttpResponse:
    """The verifier for an export, as it lies in the bundle too: nothing in it is secret."""
    answer = HttpResponse(SCRIPT.read_bytes(), content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{SCRIPT.name}"'
    return answer


def audit_export(request: HttpRequest) -> StreamingHttpResponse:
    user = person(request)
    form = AuditFilter(request.GET)
    asked = request.GET.get("format", "")
    kind = asked if asked in KINDS else "csv"
    return export(form.apply(AuditEvent.objects.all()), kind, chosen=form.chosen(), actor=user)
