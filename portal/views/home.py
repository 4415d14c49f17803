"""The start page: what needs this person, then what is new. And the help page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from inference.models import BatchJob
from portal.demo import progress
from portal.views.gates import person
from portal.views.model_page import serving
from portal.views.needs import SHOWN, needs_of, safely
from registry import permissions
from registry.models import RegisteredModel, Role, User


def home(request: HttpRequest) -> HttpResponse:
    user = person(request)
    needs, failed = needs_of(user)
    models = list(RegisteredModel.objects.visible_to(user).order_by("-created_at")[:SHOWN])
    current = serving(models)
    context = {
        "needs": needs,
        "failed": failed,
        "models": [(model, current.get(model.pk)) for model in models],
        "jobs": safely(lambda: list(_jobs(user)[:SHOWN])),
        "can_predict": permissions.has_role(user, *permissions.KEY_NEEDS["predict"]),
        "can_create": permissions.can_create_model(user),
        "demo": progress.read(),
    }
    return render(request, "portal/home.html", context)


def demo_progress(request: HttpRequest) -> HttpResponse:
    """How far the demo is; the home page asks while it is being seeded."""
    demo = progress.read()
    response = render(request, "portal/_demo_progress.html", {"demo": demo})
    if demo["state"] == "done":
        response["HX-Refresh"] = "true"  # there is something to see now
    return response


def _jobs(user: User) -> Any:
    return BatchJob.objects.visible_to(user).select_related("model", "version").order_by("-created_at")


def help_page(request: HttpRequest) -> HttpResponse:
    """What one does here, by role; the reader's own tasks first."""
    roles = sorted(Role, key=lambda role: role not in person(request).roles)
    return render(request, "portal/help.html", {"roles": [(role.value, role.label) for role in roles]})
