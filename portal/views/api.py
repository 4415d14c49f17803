"""The API's own pages: the document, its readable form, and the answer to an address that does not exist."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView

from portal.api import problems
from portal.csp import chart_page
from registry.api.access import ANY_KEY


class Schema(SpectacularAPIView):
    """The OpenAPI document: JSON, or YAML where that is asked for."""

    key_action = ANY_KEY
    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]


@chart_page
@login_required
@require_GET
def docs(request: HttpRequest) -> HttpResponse:
    """The document as a page on which calls can be tried with one's own session or key."""
    return render(request, "portal/api_docs.html")


@csrf_exempt
def nowhere(request: HttpRequest, path: str) -> HttpResponse:
    """Nothing is here; a forgotten slash at the end is the commonest reason, and no body survives a redirect."""
    problem = problems.not_found()
    if not path.endswith("/") and _exists(f"{request.path}/"):
        message = _("Addresses of the API end with a slash.")
        problem = problems.Problem(404, "slash_missing", message, fix=f"{request.path}/")
    return problem.response()


def _exists(path: str) -> bool:
    try:
        return resolve(path).func is not nowhere
    except Resolver404:
        return False
