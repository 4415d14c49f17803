"""The audit log: read, filter, verify, export. There is no way to change it from here."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.core.cache import cache
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from portal.forms.audit import AuditFilter
from portal.views.gates import person
from registry import audit, permissions
from registry.audit import Action
from registry.models import AuditEvent, AuditHead, Role, User

PER_PAGE = 50
_VERIFIED = "audit-verified"
_DAY = 24 * 3600


def visible_events(user: User) -> QuerySet[AuditEvent]:
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
    context = {
        "form": form,
        "page": page,
        "query": query.urlencode(),
        "is_filtered": total_is_filtered,
        "sees_all": permissions.can_see_audit(user),
        "verified": cache.get(_VERIFIED) or _verify(),
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
    """Walk the chain and remember until when it is true; a broken one is looked at anew each time."""
    found = audit.verify()
    verified = {
        "ok": found.ok,
        "last": found.last,
        "head": found.head,
        "broken_at": found.broken_at,
        "problem": found.problem,
        "at": timezone.now(),
    }
    if found.ok:
        cache.set(_VERIFIED, verified, 300)
    else:
        cache.delete(_VERIFIED)
    return verified


COLUMNS = [
    "seq",
    "at",
    "action",
    "result",
    "actor_name",
    "channel",
    "ip",
    "request_id",
    "model_slug",
    "target_type",
    "target_id",
    "target_name",
    "reason",
    "before",
    "after",
    "details",
    "prev_hash",
    "hash",
]


def audit_export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream what the filter finds; the export is itself an event, and names the head of the chain."""
    user = person(request)
    permissions.require_role(permissions.can_see_audit(user), Role.AUDITOR)
    form = AuditFilter(request.GET)
    chosen = form.chosen()
    kind = "jsonl" if request.GET.get("format") == "jsonl" else "csv"
    head = AuditHead.objects.filter(pk=1).first()
    events = form.apply(AuditEvent.objects.all()).filter(seq__lte=head.seq if head else 0).order_by("seq")
    with transaction.atomic():
        audit.record(
            Action.AUDIT_EXPORTED, target=None, actor=user, format=kind, filter=chosen, rows=events.count()
        )
    lines = _jsonl(events, chosen, head) if kind == "jsonl" else _csv(events, chosen, head)
    response = StreamingHttpResponse(
        lines, content_type="application/x-ndjson" if kind == "jsonl" else "text/csv"
    )
    name = f"audit-{timezone.now():%Y%m%d-%H%M}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _head_line(chosen: dict[str, str], head: AuditHead | None) -> dict[str, Any]:
    return {
        "exported_at": timezone.now().isoformat(timespec="seconds"),
        "filter": chosen,
        "chain_head": {"seq": head.seq, "hash": head.hash} if head else None,
    }


def _row(event: AuditEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in COLUMNS} | {"at": event.at.isoformat()}


def _jsonl(events: QuerySet[AuditEvent], chosen: dict[str, str], head: AuditHead | None) -> Iterator[str]:
    yield json.dumps(_head_line(chosen, head), ensure_ascii=False) + "\n"
    for event in events.iterator(chunk_size=1000):
        yield json.dumps(_row(event), ensure_ascii=False) + "\n"


def _csv(events: QuerySet[AuditEvent], chosen: dict[str, str], head: AuditHead | None) -> Iterator[str]:
    first = _head_line(chosen, head)
    yield "\ufeff" + _line(
        [
            f"# exported {first['exported_at']}",
            json.dumps(chosen, ensure_ascii=False),
            json.dumps(first["chain_head"]),
        ]
    )
    yield _line(COLUMNS)
    for event in events.iterator(chunk_size=1000):
        row = _row(event)
        yield _line([_cell(row[name]) for name in COLUMNS])


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if value is None or isinstance(value, int):
        return "" if value is None else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\0") else text


def _line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
