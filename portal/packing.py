"""Large answers of the API go out as gzip to whoever takes it.

Only to programs that come with a key: a secret in a page that also repeats what a visitor sent could be guessed from
the lengths of packed pages (BREACH), and pages have such a secret in every form.
"""

import gzip
import re
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

SMALLEST = 2_048  # bytes; less is not worth the time
LEVEL = 4
_REFUSED = re.compile(r";\s*q=0(\.0*)?\s*$")
_JSON = ("application/json", "application/problem+json")

GetResponse = Callable[[HttpRequest], HttpResponse]


def packed(body: bytes, kind: str, environ: Mapping[str, object]) -> bytes | None:
    """The body as gzip; None where it is to go as it is."""
    if len(body) < SMALLEST or kind not in _JSON or "HTTP_AUTHORIZATION" not in environ:
        return None
    return (
        gzip.compress(body, LEVEL, mtime=0)
        if takes_gzip(str(environ.get("HTTP_ACCEPT_ENCODING", "")))
        else None
    )


def takes_gzip(accepted: str) -> bool:
    """Does an Accept-Encoding name gzip, and not with a weight of nothing?"""
    for choice in accepted.lower().split(","):
        name = choice.partition(";")[0].strip()
        if name == "gzip":
            return not _REFUSED.search(choice)
    return False


class PackingMiddleware:
    """For every answer of the API; the short path in front of Django asks `packed` itself."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if (
            response.streaming
            or response.has_header("Content-Encoding")
            or not request.path.startswith("/api/v1/")
        ):
            return response
        body = packed(response.content, response.get("Content-Type", ""), request.META)
        if body is not None:
            response.content = body
            response["Content-Encoding"] = "gzip"
            response["Content-Length"] = str(len(body))
            patch_vary_headers(response, ("Accept-Encoding",))
        return response
