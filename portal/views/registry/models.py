"""Models: the list, the overview, a new one, its data, its API."""

from collections.abc import Sequence

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from inference.models import ProblemReport
from inference.reports import reports_for
from portal import answers
from portal.first_calls import example_of
from portal.forms.registry import DatasetForm, DeleteForm, ModelChangeForm, ModelForm, UploadForm
from portal.views.acts import attempt, on_the_record
from portal.views.gates import get_model, person
from portal.views.model_page import model_page, names_of_approvers, serving
from portal.views.registry import states
from registry import permissions
from registry.actions import catalog, endings
from registry.audit import Action
from registry.models import (
    AuditEvent,
    Dataset,
    Decision,
    RegisteredModel,
    Release,
    ReleaseRequest,
    Role,
    User,
)

PER_PAGE = 50
MOST_REPORTS = 10


def model_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip()
    visible = RegisteredModel.objects.visible_to(request.user)
    found = visible
    if text:
        found = found.filter(Q(name__icontains=text) | Q(slug__icontains=text) | Q(question__icontains=text))
    found = found.annotate(version_count=Count("versions", distinct=True)).order_by("name")
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    current = serving(page.object_list)
    rows = [(model, current.get(model.pk)) for model in page.object_list]
    context = {
        "page": page,
        "rows": rows,
        "search_text": text,
        "can_create": permissions.can_create_model(request.user),
        "can_predict": permissions.has_role(request.user, *permissions.KEY_NEEDS["predict"]),
        "is_empty": not text and not rows,
        "tombstones": RegisteredModel.objects.tombstones()
        if permissions.can_see_tombstones(request.user)
        else [],
    }
    return render(request, "registry/model_list.html", context)


def model_detail(request: HttpRequest, slug: str) -> HttpResponse:
    tombstone = _tombstone(request, slug)
    if tombstone:
        return tombstone
    model = get_model(request, slug)
    context = model_page(request, model, "overview")
    reports = list(reports_for(person(request), model)[:MOST_REPORTS])
    versions = list(model.versions.select_related("uploaded_by")[:5])
    words = states.latest_words(model)
    context |= {
        "versions": [(version, words[version.pk]) for version in versions],
        "version_count": len(words),
        "releases": Release.objects.of(model).order_by("-number")[:5],
        "requests": ReleaseRequest.objects.filter(version__model=model).waiting().with_context(),
        "owners": model.owners.all(),
        "groups": model.groups.all(),
        "datasets": model.datasets.select_related("created_by")[:5],
        "reports": reports,
        "readable": _readable(person(request), model, reports),
    }
    return render(request, "registry/model_detail.html", context)


def _readable(user: User, model: RegisteredModel, reports: Sequence[ProblemReport]) -> set[str]:
    """The predictions behind these reports that this person may open."""
    sees_all = permissions.can_see_others_inputs(user, model)
    return {each.prediction_id for each in reports if sees_all or each.reported_by_id == user.pk}


def model_create(request: HttpRequest) -> HttpResponse:
    permissions.require_role(permissions.can_create_model(request.user), Role.AUTHOR)
    form = ModelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        model = attempt(request, form, Action.MODEL_CREATED, None, catalog.create_model, **form.cleaned_data)
        if model:
            messages.success(request, _("%(model)s is here. Upload its first version.") % {"model": model})
            return redirect("version-upload", model.slug)
    return render(request, "registry/model_form.html", {"form": form})


def model_edit(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    with on_the_record(request, Action.MODEL_CHANGED, model):
        permissions.require(
            permissions.can_change_model(request.user, model), _("Only an owner may change this model.")
        )
    initial = {name: getattr(model, name) for name in ("name", "question", "description")}
    initial |= {"owners": model.owners.all(), "groups": model.groups.all()}
    form = ModelChangeForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        change = catalog.change_model
        changed = attempt(request, form, Action.MODEL_CHANGED, model, change, model, **form.cleaned_data)
        if changed:
            messages.success(request, _("Saved."))
            return redirect(model)
    context = {"form": form, "model": model, "can_delete": permissions.can_delete_model(request.user, model)}
    return render(request, "registry/model_form.html", context)


def model_delete(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    with on_the_record(request, Action.MODEL_DELETED, model):
        permissions.require(
            permissions.can_delete_model(request.user, model),
            _("Only an owner or an administrator may delete a model."),
            code="not_owner",
        )
    form = DeleteForm(request.POST if request.method == "POST" else None, model=model)
    if request.method == "POST" and form.is_valid():
        given = {"reason": form.cleaned_data["reason"], "confirm": form.cleaned_data["slug"]}
        if attempt(request, form, Action.MODEL_DELETED, model, endings.delete_model, model, **given):
            messages.success(request, _("%(model)s is deleted; its record stays.") % {"model": model})
            return redirect("model-list")
    context = {
        "form": form,
        "model": model,
        "serving": endings.serving(model),
        "version_count": model.versions.count(),
    }
    return render(request, "registry/model_delete.html", context, status=422 if form.errors else 200)


def _tombstone(request: HttpRequest, slug: str) -> HttpResponse | None:
    """What stayed of a deleted model, for those who look after the record."""
    if not permissions.can_see_tombstones(request.user):
        return None
    model = RegisteredModel.objects.tombstones().filter(slug=slug).first()
    if model is None:
        return None
    releases = list(
        Release.objects.filter(model=model)
        .with_origin()
        .select_related("version", "environment", "released_by")
        .order_by("-created_at")
    )
    context = {
        "model": model,
        "event": AuditEvent.objects.filter(
            action=Action.MODEL_DELETED, model_slug=slug, result="done"
        ).first(),
        "versions": model.versions.select_related("uploaded_by"),
        "releases": releases,
        "approvers": names_of_approvers(releases),
        "decisions": Decision.objects.filter(request__version__model=model).select_related(
            "request__version", "request__environment", "decided_by"
        ),
    }
    return render(request, "registry/tombstone.html", context)


def dataset_list(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    form = DatasetForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        dataset = keep_data(request, form, model, given["file"], given["role"])
        if dataset:
            messages.success(request, _("%(data)s is kept.") % {"data": dataset})
            return redirect("dataset-list", model.slug)
    context = model_page(request, model, "datasets")
    context |= {"form": form, "datasets": model.datasets.select_related("created_by")}
    return render(request, "registry/dataset_list.html", context, status=422 if form.errors else 200)


def keep_data(
    request: HttpRequest,
    form: DatasetForm | UploadForm,
    model: RegisteredModel,
    file: UploadedFile,
    role: str,
) -> Dataset | None:
    """One file of rows that came with a form, kept; the form's `target` names its column with the answer."""
    target = form.cleaned_data["target"]
    return attempt(
        request,
        form,
        Action.DATASET_ADDED,
        model,
        catalog.add_dataset,
        model,
        file=file,
        filename=file.name,
        role=role,
        target=target,
    )


def model_api(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    context = model_page(request, model, "api")
    current = context["serving"]
    example = example_of(current.version.schema) if current else {}
    address = request.build_absolute_uri(f"/api/v1/models/{model.slug}/predict/")
    # As Python writes it: its True and None are not those of JSON.
    context |= {
        "address": address,
        "curl": answers.curl(address, example),
        "python": repr({"inputs": example}),
    }
    return render(request, "registry/model_api.html", context)
