"""A person's notices: unread first. On pages only; programs have the API's lists of what notices are about."""

from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.models import Notice
from portal.notices import icon_of, sentence
from portal.views.gates import person

PER_PAGE = 50


def notice_list(request: HttpRequest) -> HttpResponse:
    own = Notice.objects.of(person(request))
    found = own.order_by(F("read_at").desc(nulls_first=True), "-at", "-pk")
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    rows = [
        (notice, sentence(notice.kind, notice.names), icon_of(notice.kind)) for notice in page.object_list
    ]
    return render(
        request, "portal/notices.html", {"page": page, "rows": rows, "unread": own.unread().count()}
    )


def notice_open(request: HttpRequest, pk: int) -> HttpResponse:
    """To what it is about; from now on it is read."""
    notice = get_object_or_404(Notice.objects.of(person(request)), pk=pk)
    Notice.objects.filter(pk=pk).mark_read()
    return redirect(notice.url)


@require_POST
def notice_read(request: HttpRequest) -> HttpResponse:
    """One, by its number, or all of them."""
    chosen = request.POST.get("notice", "")
    own = Notice.objects.of(person(request))
    if chosen.isdecimal() and len(chosen) < 19:
        own = own.filter(pk=int(chosen))
    own.mark_read()
    return redirect("notices")
