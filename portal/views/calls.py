"""The request log, and what was used: who asked which model what, and how it ended. Never what was in it."""

import csv
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_GET

from inference import log
from inference.models import Call
from monitoring import usage
from portal.forms.calls import CallFilter
from portal.views.gates import person
from registry import spreadsheet
from registry.models import ApiKey, RegisteredModel

PER_PAGE = 50
BY = [("key", lazy("Key")), ("model", lazy("Model")), ("person", lazy("Person"))]


@require_GET
def request_log(request: HttpRequest) -> HttpResponse:
    """Newest first. What was just asked is here: the log is read before the page is made."""
    log.ingest(wait=True)
    visible = Call.objects.visible_to(person(request))
    form = CallFilter(
        request.GET or None,
        keys=ApiKey.objects.filter(pk__in=visible.exclude(key=None).values("key")).order_by("name", "prefix"),
        models=RegisteredModel.objects.filter(pk__in=visible.exclude(model=None).values("model")).order_by(
            "name"
        ),
    )
    found = form.apply(visible) if form.is_bound else visible
    page = Paginator(found.select_related("model", "version", "key"), PER_PAGE).get_page(
        request.GET.get("page")
    )
    is_filtered = form.is_bound and bool(form.chosen())
    return render(
        request, "inference/request_log.html", {"form": form, "page": page, "is_filtered": is_filtered}
    )


@require_GET
def usage_page(request: HttpRequest) -> HttpResponse:
    """Calls, rows, refusals and p95 of the last 30 days: by key, model or person, and by day."""
    log.ingest(wait=True)
    by = _by(request)
    visible = Call.objects.visible_to(person(request))
    days = usage.daily(visible, "day")
    context = {
        "by": by,
        "choices": BY,
        "days": days,
        "totals": usage.totals(visible, by),
        "most": max((use.calls for use in days), default=0),
        "number_of_days": usage.DAYS,
    }
    return render(request, "inference/usage.html", context)


@require_GET
def usage_csv(request: HttpRequest) -> HttpResponse:
    """One line for each day and key, model or person."""
    by = _by(request)
    used = usage.daily(Call.objects.visible_to(person(request)), by)
    lines = [[use.day, use.name, use.calls, use.rows, use.refused, use.p95_ms] for use in used]
    return _csv(f"usage-by-{by}.csv", ["day", by, "calls", "rows", "refused", "p95_ms"], lines)


def _by(request: HttpRequest) -> str:
    asked = request.GET.get("by", "")
    return asked if asked in {name for name, _label in BY} else "key"


def _csv(name: str, header: list[str], lines: list[list[Any]]) -> HttpResponse:
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(answer)
    writer.writerow(header)
    writer.writerows(
        [spreadsheet.escape(cell) if isinstance(cell, str) else cell for cell in line] for line in lines
    )
    return answer
