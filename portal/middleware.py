"""What every request gets: an id that answers quote, a context for the audit log, and a closed door."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.translation import gettext as _
from django_structlog.middlewares import RequestMiddleware

from portal.redaction import redact
from portal.views import errors
from registry import audit
from registry.errors import Refused, TooLarge

GetResponse = Callable[[HttpRequest], HttpResponse]
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}\Z")

#: The fields of a form beside its files; a page of the doors has nothing else.
FORM_BYTES = 4 << 20

#: Open to everybody. The API answers for itself, with 401.
OPEN_PATHS = ("/livez", "/readyz", "/static/", "/accounts/", "/api/", "/metrics")


class RequestIdMiddleware:
    """Take the caller's X-Request-ID where it is a plain one, make one otherwise; send it back."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")  # not `headers`, which would remember the old value
        request.request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        # django-structlog reads this header to name the request in every log line, Celery's included.
        request.META["HTTP_X_REQUEST_ID"] = request.request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response


class RequestLogMiddleware(RequestMiddleware):
    """A line when a request begins and ends. Not what was asked, and not the link that lets somebody in once:
    it still works while its first line is written, and whoever reads the log could be faster."""

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(ip=client_ip(request))

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {redact(request.path)}"


class BodyLimitMiddleware:
    """Refuse a body that no page takes before any of it is on the disk: Django itself limits no file."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        limit = longest_body(request.path)
        if body_length(request) <= limit:
            return self.get_response(request)
        message = _("The body is larger than the limit of %(limit)d MiB.") % {"limit": limit >> 20}
        return errors.refused(request, TooLarge(message, code="too_large"))


class AuditContextMiddleware:
    """Everything recorded during a request says by which door, from where and under which id it came."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.context(
            channel=channel_of(request.path),
            ip=client_ip(request),
            request_id=request.request_id,  # type: ignore[attr-defined]
        ):
            return self.get_response(request)


class LoginRequiredMiddleware:
    """Deny first: a page that is not on the short list of open ones sends a stranger to the login page."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated or request.path.startswith(OPEN_PATHS):
            return self.get_response(request)
        if request.headers.get("HX-Request"):
            # A fragment that asks again after the session has ended must not show a login page inside the page.
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        return redirect_to_login(request.get_full_path(), str(settings.LOGIN_URL))


class RefusedMiddleware:
    """A rule of the domain that no form showed becomes a page that says what and why; so does a wrong method."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            page = errors.error_page(request, 405)
            page["Allow"] = response["Allow"]
            return page
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return errors.refused(request, exception) if isinstance(exception, Refused) else None


def longest_body(path: str) -> int:
    """Strangers send a form; people inside also files, at most those of one page together."""
    if path.startswith("/accounts/"):
        return FORM_BYTES
    version = settings.MODELGATE_MAX_ARTIFACT + 2 * settings.MODELGATE_MAX_DATASET
    return FORM_BYTES + max(version, settings.MODELGATE_MAX_BATCH)


def body_length(request: HttpRequest) -> int:
    """As declared; a body of undeclared length is not read at all."""
    declared = request.META.get("CONTENT_LENGTH") or "0"
    return int(declared) if declared.isdecimal() and len(declared) < 19 else 0


def channel_of(path: str) -> str:
    if path.startswith("/api/"):
        return "api"
    return "admin" if path.startswith("/admin/") else "page"


def client_ip(request: HttpRequest) -> str:
    """The visitor's address; X-Forwarded-For counts only as far as our own proxies wrote it."""
    proxies = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    forwarded = [
        part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()
    ]
    if proxies and len(forwarded) >= proxies:
        return forwarded[-proxies][:45]
    return str(request.META.get("REMOTE_ADDR", ""))[:45]
