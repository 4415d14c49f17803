"""Two versions side by side: a page of its own, and part of what an approver looks at."""

from typing import Any

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from inference import comparing
from portal.views.gates import get_model, person, whole_number
from portal.views.model_page import model_page
from registry import permissions
from registry.models import ModelVersion, RegisteredModel, User


def compare_index(request: HttpRequest) -> HttpResponse:
    """Which model has two versions that one would like to see side by side?"""
    counted = RegisteredModel.objects.visible_to(request.user).annotate(count=Count("versions"))
    return render(request, "registry/compare_index.html", {"models": counted.filter(count__gte=2)})


def compare(request: HttpRequest, slug: str) -> HttpResponse:
    """A picker until two versions are named; one alone is compared with what serves."""
    model = get_model(request, slug)
    versions = list(model.versions.select_related("model", "reference", "evaluation"))
    context = model_page(request, model, "versions") | {"versions": versions}
    serving = context["serving"].version if context["serving"] else None
    asked = [_version(versions, text) for text in request.GET.getlist("v")[:2] if text]
    if len(asked) == 1 and serving is not None and serving.pk != asked[0].pk:
        asked.insert(0, next(each for each in versions if each.pk == serving.pk))
    if len(asked) == 2 and asked[0].pk != asked[1].pk:
        context |= compared(asked[0], asked[1], person(request))
    else:
        context |= {"a": asked[0] if asked else None, "b": None, "is_same": len(asked) == 2}
    is_part = request.headers.get("HX-Request") == "true" and context.get("comparison")
    template = "registry/_comparison.html" if is_part else "registry/compare.html"
    return render(request, template, context)


def _version(versions: list[ModelVersion], text: str) -> ModelVersion:
    number = whole_number(text.removeprefix("v"))
    found = next((each for each in versions if each.number == number), None)
    if found is None:
        raise Http404
    return found


def compared(a: ModelVersion | None, b: ModelVersion, user: User) -> dict[str, Any]:
    """What `registry/_comparison.html` shows; nothing where there is nothing to compare with."""
    if a is None or a.pk == b.pk:
        return {"comparison": None}
    found = comparing.compare(a, b)
    may_see = permissions.can_see_data(user, b.model)
    return {
        "comparison": found if may_see else comparing.without_rows(found),
        "a": a,
        "b": b,
        "declared": declared(a, b),
        "may_see_rows": may_see,
        "is_computing": found["state"] in ("waiting", "running"),
        "compare_url": compare_url(b.model, a, b),
    }


def declared(*versions: ModelVersion) -> str:
    """Those of them that the checks could not measure, by name: their figures are their authors' word."""
    return ", ".join(version.label for version in versions if not version.measured_metrics)


def compare_url(model: RegisteredModel, a: ModelVersion, b: ModelVersion) -> str:
    return f"{reverse('compare', args=[model.slug])}?v={a.number}&v={b.number}"
