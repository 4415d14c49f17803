"""Pages where files are scored: start one, watch it, stop it, take the result away."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from inference import batches
from inference.batches import downloads, problems, results
from inference.batches.downloads import Download
from inference.models import BatchJob
from portal.forms.batches import BatchForm
from portal.views.acts import attempt, on_the_record
from portal.views.gates import get_model, person
from registry import gate, permissions
from registry.audit import Action
from registry.errors import Forbidden, Refused
from registry.models import PRODUCTION, RegisteredModel, Release

PER_PAGE = 50
STEP = 25  # per cent: how often progress is told to a screen reader

State = BatchJob.State


@require_GET
def batch_list(request: HttpRequest) -> HttpResponse:
    """Jobs that this person may know of, newest first; the address is the filter."""
    jobs = BatchJob.objects.visible_to(request.user).select_related("model", "version", "created_by")
    models = RegisteredModel.objects.filter(pk__in=jobs.values("model")).order_by("name")
    state, slug = request.GET.get("state", ""), request.GET.get("model", "")
    if state in State.values:
        jobs = jobs.filter(state=state)
    if slug:
        jobs = jobs.filter(model__slug=slug)
    context = {
        "page": Paginator(jobs, PER_PAGE).get_page(request.GET.get("page")),
        "states": State.choices,
        "models": models,
        "chosen": {"state": state, "model": slug},
        "is_filtered": bool(state or slug),
    }
    return render(request, "inference/batch_list.html", context)


@require_http_methods(["GET", "POST"])
def batch_new(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose a file; it is kept, checked and scored in the background."""
    model = get_model(request, slug)
    _require_predict(request, model)
    release, why_not = _release(model)
    form = BatchForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and release is not None and form.is_valid():
        file = form.cleaned_data["file"]
        job = attempt(
            request,
            form,
            Action.BATCH_STARTED,
            model,
            batches.start_batch,
            model,
            file,
            file.name,
            options=form.options(),
        )
        if job is not None:
            return redirect(job)
    context = {
        "model": model,
        "release": release,
        "why_not": why_not,
        "form": form,
        "schema": release.version.schema_object if release else None,
        "max_rows": settings.MODELGATE_MAX_BATCH_ROWS,
        "days": settings.MODELGATE_BATCH_DAYS,
        "recent": _recent(request, model),
    }
    return render(request, "inference/batch_new.html", context, status=422 if form.errors else 200)


def _require_predict(request: HttpRequest, model: RegisteredModel) -> None:
    permissions.require(
        permissions.can_predict(request.user, model),
        _("Your roles let you read about “%(model)s”, but not predict with it.") % {"model": model},
        code="needs_business",
    )


def _release(model: RegisteredModel) -> tuple[Release | None, str]:
    try:
        return gate.answering_release(model, PRODUCTION), ""
    except Refused as error:
        return None, str(error)


def _recent(request: HttpRequest, model: RegisteredModel) -> list[BatchJob]:
    return list(
        BatchJob.objects.filter(model=model, created_by=person(request)).select_related("version")[:5]
    )


@require_GET
def batch_template(request: HttpRequest, slug: str) -> HttpResponse:
    """The columns that the serving version reads, as an empty file or with ten rows to look at."""
    model = get_model(request, slug)
    _require_predict(request, model)
    version = gate.answering_release(model, PRODUCTION).version
    with_rows = request.GET.get("rows") == "10"
    response = HttpResponse(
        downloads.template(version, 10 if with_rows else 0), content_type="text/csv; charset=utf-8"
    )
    ending = "example" if with_rows else "template"
    response["Content-Disposition"] = f'attachment; filename="{model.slug}-{ending}.csv"'
    return response


@require_GET
def batch_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    job = _get_job(request, public_id)
    return render(request, "inference/batch_detail.html", _job_context(request, job))


@require_GET
def batch_progress(request: HttpRequest, public_id: str) -> HttpResponse:
    """The part of the job page that changes; the page asks for it while the job runs."""
    job = _get_job(request, public_id)
    context = _job_context(request, job)
    told = request.GET.get("told", "")
    context["announce"] = told.isdecimal() and told != str(context["step"])
    return render(request, "inference/_batch_progress.html", context)


def _get_job(request: HttpRequest, public_id: str) -> BatchJob:
    """A job this person may know of; a hidden one is a 404."""
    jobs = BatchJob.objects.visible_to(request.user).select_related(
        "model", "version", "release", "created_by"
    )
    job: BatchJob = get_object_or_404(jobs, public_id=public_id)
    return job


def _job_context(request: HttpRequest, job: BatchJob) -> dict[str, Any]:
    user = person(request)
    can_change, can_read = batches.can_change(user, job), batches.can_read_rows(user, job)
    now_serving = Release.objects.current(job.model, job.environment)
    target = job.version.schema_object.target
    return {
        "job": job,
        "file": job.reading.get("file", {}),
        "renamed": results.renamed(job) if job.has_result else {},
        "problem_groups": [
            {**group, "title": problems.title(group)} for group in batches.problems_for(user, job)
        ],
        "bars": _bars(job, target) if can_read else [],
        "can_cancel": can_change and job.can_be_cancelled,
        "can_retry": can_change and job.can_be_retried,
        "can_run": can_change and job.state == State.READY,
        "can_delete": can_change and job.is_finished and job.state != State.EXPIRED,
        "can_read": can_read,
        "first_id": batches.prediction_id(job, 0),
        "serving": now_serving if now_serving and now_serving.version_id != job.version_id else None,
        "step": 100 if job.is_finished else min(75, job.percent // STEP * STEP),  # the last word is the state
        "announce": False,
    }


def _bars(job: BatchJob, target: Any) -> list[dict[str, Any]]:
    """Answers counted by class, as bars; most frequent first."""
    counts = job.summary.get("classes", {})
    words = {str(label): target.word(label) for label in target.classes}
    return [
        {"label": words.get(label, label), "count": count, "share": count / max(job.scored, 1)}
        for label, count in list(counts.items())[:20]
    ]


@require_POST
def batch_cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    return _act(request, public_id, Action.BATCH_CANCELLED, batches.cancel, _("The job is being stopped."))


@require_POST
def batch_retry(request: HttpRequest, public_id: str) -> HttpResponse:
    return _act(
        request, public_id, Action.BATCH_RETRIED, batches.retry, _("The unscored rows are being scored.")
    )


@require_POST
def batch_run(request: HttpRequest, public_id: str) -> HttpResponse:
    return _act(request, public_id, Action.BATCH_STARTED, batches.run, _("The job is running."))


@require_POST
def batch_delete(request: HttpRequest, public_id: str) -> HttpResponse:
    said = _("The rows of this job are deleted; its numbers stay.")
    return _act(request, public_id, Action.BATCH_DELETED, batches.delete_now, said)


def _act(request: HttpRequest, public_id: str, action: Action, verb: Any, said: str) -> HttpResponse:
    """Call a verb on a job and go back to its page, which says what came of it."""
    job = _get_job(request, public_id)
    try:
        with on_the_record(request, action, job):
            verb(job, actor=request.user)
    except Forbidden:
        raise
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    return redirect(job)


@require_GET
def batch_result(request: HttpRequest, public_id: str) -> FileResponse:
    job = _get_job(request, public_id)
    return _send(downloads.open_result(job, actor=request.user, form=request.GET.get("as", downloads.CSV)))


@require_GET
def batch_problems(request: HttpRequest, public_id: str) -> FileResponse:
    return _send(downloads.open_problems(_get_job(request, public_id), actor=request.user))


def _send(download: Download) -> FileResponse:
    """As an attachment, streamed; Django quotes the name so that no browser can be led astray by it."""
    return FileResponse(
        download.file, as_attachment=True, filename=download.name, content_type=download.content_type
    )
