"""Error pages: what happened, what to do, the request id to quote. No trace, no SQL."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader
from django.utils.translation import gettext as _

from portal.api import problems
from registry import audit
from registry.errors import Refused

_PAGES = frozenset({400, 403, 404, 405, 409, 413, 429, 503})


def error_page(request: HttpRequest, status: int, *, detail: str = "", fix: str = "") -> HttpResponse:
    """The page for `status`; one without a page of its own gets the nearest (422 is a 400, 410 a 404)."""
    if request.path.startswith(problems.API):
        return problems.of(status, detail=detail, fix=fix).response()
    page = status if status in _PAGES else {410: 404}.get(status, 400 if status < 500 else 503)
    context = {
        "status": status,
        "detail": detail,
        "fix": fix,
        "request_id": audit.current_context().request_id,
    }
    return render(request, f"{page}.html", context, status=status)


def refused(request: HttpRequest, error: Refused) -> HttpResponse:
    """A rule of the domain said no, and no form was there to show it."""
    return error_page(request, error.status, detail=str(error), fix=error.fix)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 403, detail=str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Stands alone: whatever broke may break the usual context too."""
    if request.path.startswith(problems.API):
        return problems.of(500).response()
    context = {"request_id": audit.current_context().request_id}
    return HttpResponse(loader.get_template("500.html").render(context), status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_page(
        request,
        403,
        detail=_("This form did not come from a page of ours, or the page is older than your session."),
        fix=_("Reload the page and send the form again."),
    )
