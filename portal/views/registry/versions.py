"""Versions: upload, schema, checks, and the page that says what each one is."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.forms.registry import (
    AdmissionForm,
    PapersForm,
    ReasonForm,
    RequestForm,
    SchemaFormSet,
    TargetForm,
    UploadForm,
    edited_schema,
    papers_initial,
    schema_initial,
    target_initial,
)
from portal.views.acts import attempt, on_the_record, problems, require_role
from portal.views.gates import get_model, get_version, person
from portal.views.model_page import model_page
from portal.views.registry import states
from portal.views.registry.models import keep_data
from portal.views.registry.reviews import decide, review_of, say_decided
from registry import artifacts, audit, permissions
from registry.actions import approvals, catalog, endings
from registry.audit import Action
from registry.models import AuditEvent, Dataset, ModelVersion, RegisteredModel, Release, Role

PER_PAGE = 50


def version_index(request: HttpRequest) -> HttpResponse:
    """Every version that this person may see, newest first."""
    versions = (
        ModelVersion.objects.visible_to(request.user)
        .listed()
        .select_related("model", "uploaded_by")
        .order_by("-uploaded_at")
    )
    page = Paginator(versions, PER_PAGE).get_page(request.GET.get("page"))
    words = states.words_of(page.object_list)
    rows = [(version, words[version.pk]) for version in page.object_list]
    context = {"page": page, "rows": rows, "can_upload": permissions.has_role(request.user, Role.AUTHOR)}
    return render(request, "registry/version_index.html", context)


def version_upload_index(request: HttpRequest) -> HttpResponse:
    """Which model is the new version for?"""
    permissions.require_role(permissions.has_role(request.user, Role.AUTHOR), Role.AUTHOR)
    models = RegisteredModel.objects.visible_to(request.user)
    return render(request, "registry/version_upload_index.html", {"models": models})


def version_list(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    context = model_page(request, model, "versions")
    found = model.versions.select_related("uploaded_by").prefetch_related("checks")
    shows_archived = request.GET.get("archived") == "1"
    versions = list(found if shows_archived else found.listed())
    words = states.words_of(versions)
    current = context["serving"].version if context["serving"] else None
    context |= {
        "rows": [(version, words[version.pk], _checks_line(version)) for version in versions],
        "main_metric": _main_metric(model, versions),
        "current": current,
        "shows_archived": shows_archived,
        "archived": found.exclude(archived_at=None).count(),
    }
    return render(request, "registry/version_list.html", context)


def _checks_line(version: ModelVersion) -> str:
    checks = list(version.checks.all())
    passed = sum(check.status == "passed" for check in checks)
    return f"{passed}/{len(checks)}" if checks else ""


#: What a person looks at first, in this order.
_FIRST_METRICS = ("accuracy", "roc_auc", "auc", "f1", "r2", "rmse", "mae")


def _main_metric(model: RegisteredModel, versions: list[ModelVersion]) -> str:
    names = {name for version in versions for name in version.figures}
    return next((name for name in _FIRST_METRICS if name in names), min(names, default=""))


def version_detail(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    version = get_version(request, slug, number)
    return render(request, "registry/version_detail.html", _version_context(request, version))


def version_checks(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The live part of the version page; it asks for itself until the checks have ended."""
    version = get_version(request, slug, number)
    response = render(request, "registry/_version_live.html", _version_context(request, version))
    if version.state != ModelVersion.State.CHECKING:
        response["HX-Refresh"] = "true"  # the rest of the page has changed too
    return response


def _version_context(
    request: HttpRequest, version: ModelVersion, form: AdmissionForm | None = None
) -> dict[str, Any]:
    user = person(request)
    word = states.word_of(version)
    names = sorted({*version.declared_metrics, *version.figures})
    current = Release.objects.current(version.model)
    other = current.version if current and current.version_id != version.pk else None
    return {
        "version": version,
        "model": version.model,
        "word": word,
        "step": states.next_step(version, word, user),
        "checks": version.checks.all(),
        "metrics": [
            (
                name,
                version.declared_metrics.get(name),
                version.measured_metrics.get(name),
                other.figures.get(name) if other else None,
                version.figures.get(name),
            )
            for name in names
        ],
        "other": other,
        "fields": version.schema.get("fields", []),
        "target": version.schema.get("target", {}),
        "packages": (version.environment or {}).get("packages", {}),
        "requests": version.requests.select_related("environment", "requested_by"),
        "releases": version.releases.select_related("environment", "released_by").order_by("-created_at"),
        "history": history_of(version),
        "can_retire": permissions.can_retire(user, version) and word not in ("serving", "serving_elsewhere"),
        "can_archive": permissions.can_retire(user, version)
        and (version.archived_at is not None or (version.state in endings.ENDED and word != "serving")),
        "can_download": permissions.can_download(user, version),
        "can_upload": permissions.can_upload(user, version.model),
        "review": review_of(version, user, form),
        "can_edit": version.is_editable and permissions.can_edit_draft(user, version),
        "reason_form": ReasonForm(),
    }


@require_POST
def version_review(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Admit the unknown names of a file, or refuse it."""
    version = get_version(request, slug, number)
    form = AdmissionForm(request.POST)
    done = decide(request, version, form)
    if done is None and version.state == ModelVersion.State.NEEDS_REVIEW:
        context = _version_context(request, version, form)
        return render(request, "registry/version_detail.html", context, status=422)
    if done is None:  # somebody else was faster
        messages.error(request, problems(form))
    else:
        say_decided(request, version)
    return redirect(version)


def history_of(version: ModelVersion) -> list[AuditEvent]:
    label = ModelVersion._meta.label_lower
    return list(AuditEvent.objects.filter(target_type=label, target_id=str(version.pk)).order_by("-seq")[:20])


def version_upload(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    may = permissions.can_upload(request.user, model)
    require_role(request, Action.VERSION_UPLOADED, model, may, Role.AUTHOR)
    form = UploadForm(request.POST or None, request.FILES or None, model=model)
    if request.method == "POST" and form.is_valid():
        version = _upload(request, model, form)
        if version and "check" in request.POST:
            return redirect(version)
        if version:
            return redirect("version-edit", model.slug, version.number)
    context = model_page(request, model, "versions") | {"form": form}
    return render(request, "registry/version_upload.html", context, status=422 if form.errors else 200)


def _upload(request: HttpRequest, model: RegisteredModel, form: UploadForm) -> ModelVersion | None:
    """Data first, then the version: a data set that was good stays even where the model file is refused."""
    given = form.cleaned_data
    data: dict[str, Dataset | None] = {}
    for name, role in (("reference", Dataset.Kind.REFERENCE), ("evaluation", Dataset.Kind.EVALUATION)):
        data[name] = given[name]
        file = given[f"{name}_file"]
        if file:
            kept = keep_data(request, form, model, file, role)
            if kept is None:
                return None
            data[name] = kept
    return attempt(
        request,
        form,
        Action.VERSION_UPLOADED,
        model,
        catalog.upload_version,
        model,
        file=given["file"],
        filename=given["file"].name,
        format=given["format"] or "auto",
        target=given["target"],
        metrics=given["metrics"],
        card=given["card"],
        requirements=given["requirements"],
        notes=given["notes"],
        draft="check" not in request.POST,
        **data,
    )


def version_edit(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The schema and the papers of a draft, or of a version whose checks failed; saving may start the checks."""
    version = get_version(request, slug, number)
    with on_the_record(request, Action.VERSION_EDITED, version):
        permissions.require(
            permissions.can_edit_draft(request.user, version), _("Only its uploader may edit this draft.")
        )
    if not version.is_editable and request.method == "POST":
        # The verb says why, and writes it down.
        form = PapersForm(request.POST, initial=papers_initial(version), prefix="papers")
        attempt(request, form, Action.VERSION_EDITED, version, catalog.edit_draft, version)
        messages.error(request, problems(form))
        return redirect(version)
    if not version.is_editable:
        messages.info(
            request,
            _("The checks of %(version)s have started; its schema stays as it is.") % {"version": version},
        )
        return redirect(version)
    schema = version.schema
    rows = SchemaFormSet(request.POST or None, initial=schema_initial(schema), prefix="field")
    target = TargetForm(
        request.POST or None,
        target=schema.get("target", {}),
        initial=target_initial(schema.get("target", {})),
        prefix="target",
    )
    papers = PapersForm(request.POST or None, initial=papers_initial(version), prefix="papers")
    if request.method == "POST" and rows.is_valid() and target.is_valid() and papers.is_valid():
        changes = papers.changes()
        changes["schema"] = edited_schema(schema, [row.cleaned_data for row in rows], target.cleaned_data)
        if attempt(request, target, Action.VERSION_EDITED, version, catalog.edit_draft, version, **changes):
            return _after_edit(request, version, target) or redirect(version)
    context = model_page(request, version.model, "versions")
    context |= {"version": version, "rows": rows, "target": target, "papers": papers}
    context["has_schema"] = bool(schema.get("fields"))
    return render(request, "registry/version_edit.html", context)


def _after_edit(request: HttpRequest, version: ModelVersion, form: TargetForm) -> HttpResponse | None:
    if "check" not in request.POST:
        messages.success(request, _("Saved as a draft."))
        return None
    attempt(request, form, Action.VERSION_CHECKING, version, catalog.start_checks, version)
    if form.errors:
        messages.error(request, problems(form))
    return None


@require_POST
def version_check(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    version = get_version(request, slug, number)
    form = ReasonForm({"reason": "-"})
    if not attempt(request, form, Action.VERSION_CHECKING, version, catalog.start_checks, version):
        messages.error(request, problems(form))
    return redirect(version)


@require_POST
def version_retire(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    version = get_version(request, slug, number)
    may = permissions.can_retire(request.user, version)
    require_role(request, Action.VERSION_RETIRED, version, may, Role.OPERATOR)
    form = ReasonForm(request.POST)
    done = None
    if form.is_valid():
        done = attempt(
            request,
            form,
            Action.VERSION_RETIRED,
            version,
            catalog.retire,
            version,
            reason=form.cleaned_data["reason"],
        )
    if done:
        messages.success(request, _("%(version)s is retired.") % {"version": version})
    if form.errors:
        messages.error(request, problems(form))
    return redirect(version)


@require_POST
def version_archive(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Leave it out of lists, or show it there again."""
    version = get_version(request, slug, number)
    is_away = version.archived_at is not None
    action = Action.VERSION_UNARCHIVED if is_away else Action.VERSION_ARCHIVED
    require_role(request, action, version, permissions.can_retire(request.user, version), Role.OPERATOR)
    form = ReasonForm(request.POST)
    if form.is_valid():
        verb = endings.unarchive if is_away else endings.archive
        done = attempt(request, form, action, version, verb, version, reason=form.cleaned_data["reason"])
        if done:
            told = _("%(version)s is in the lists again.") if is_away else _("%(version)s is archived.")
            messages.success(request, told % {"version": version})
    if form.errors:
        messages.error(request, problems(form))
    return redirect(version)


def version_request(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Ask that a version may answer."""
    version = get_version(request, slug, number)
    may = permissions.can_request(request.user, version)
    require_role(request, Action.REQUEST_MADE, version, may, Role.AUTHOR)
    form = RequestForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = attempt(
            request,
            form,
            Action.REQUEST_MADE,
            version,
            approvals.ask,
            version,
            environment=form.cleaned_data["environment"].slug,
            reason=form.cleaned_data["reason"],
        )
        if made:
            messages.success(request, _("Asked. The approvers see it on their start page."))
            return redirect(made)
    context = model_page(request, version.model, "versions")
    approvers = list(approvals.approvers_of(version, asked_by=person(request)))
    context |= {
        "version": version,
        "form": form,
        "approver_list": approvers,
        "missing": max(0, version.approvals_needed - len(approvers)),
        "rules": version.model.rules,
    }
    return render(request, "registry/version_request.html", context, status=422 if form.errors else 200)


def version_download(request: HttpRequest, slug: str, number: int) -> HttpResponse | FileResponse:
    """The artifact itself, as an attachment; it is written down who took it."""
    version = get_version(request, slug, number)
    with on_the_record(request, Action.VERSION_DOWNLOADED, version):
        permissions.require(
            permissions.can_download(request.user, version),
            _("Only authors, approvers and auditors may take the file."),
            code="needs_author",
        )
    with transaction.atomic():
        audit.record(Action.VERSION_DOWNLOADED, target=version, actor=request.user, sha256=version.sha256)
    name = f"{version.model.slug}-v{version.number}.{version.format}"
    response = FileResponse(artifacts.open_artifact(version.sha256), as_attachment=True, filename=name)
    response["Content-Type"] = "application/octet-stream"
    return response
