"""Is it alive, is it ready: for load balancers, for `manage.py up`, and at length for people."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from portal import system
from registry import permissions
from registry.models import Role


@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """200 when everything that an answer needs is there, else 503 with what is missing."""
    parts = system.readiness()
    is_ready = system.is_ready(parts)
    return JsonResponse({"ready": is_ready, **parts}, status=200 if is_ready else 503)


@never_cache
def system_check(request: HttpRequest) -> HttpResponse:
    """Every part of the installation, looked at now, with what to do where something is missing."""
    permissions.require_role(permissions.can_see_system(request.user), Role.OPERATOR)
    parts = system.parts()
    context = {
        "parts": parts,
        "bad": sum(part.state == "bad" for part in parts),
        "layers": system.layers(),
        "versions": list(system.versions()),
    }
    return render(request, "portal/system.html", context)
