"""Pages where one question is asked and its answer is read: the form, the result, the person's own history."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from inference import log, records
from inference.feedback import give_feedback
from inference.models import Feedback, Prediction, ProblemReport
from inference.ports import PredictionRecord
from inference.predictions import predict
from inference.reports import report_problem
from inference.validation import validate_rows
from portal import answers
from portal.answers import Shown
from portal.forms.inference import OutcomeForm, PredictForm, ReportForm, new_token
from portal.views.acts import attempt
from portal.views.gates import get_model, person
from registry import audit, gate, permissions
from registry.errors import Forbidden, NotFound, Refused
from registry.models import PRODUCTION, ModelVersion, RegisteredModel, Release
from registry.schema import Schema

PER_PAGE = 50
REMEMBER_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Asked:
    """What came of one submit: an answer, or a status that says why not."""

    shown: Shown | None
    status: int = 200


@require_http_methods(["GET", "POST"])
def predict_form(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask one question. The page stays: change a value and ask again, and both answers stand beside each other."""
    model = get_model(request, slug)
    user = person(request)
    permissions.require(
        permissions.can_predict(user, model),
        _("Your roles let you read about “%(model)s”, but not predict with it.") % {"model": model},
        code="needs_business",
    )
    environment = request.POST.get("environment") or request.GET.get("environment") or PRODUCTION
    release, why_not = _release(model, environment)
    if release is None:
        context = {
            "model": model,
            "why_not": why_not,
            "owners": model.owners.all(),
            "environment": environment,
        }
        return render(request, "inference/predict_unavailable.html", context)
    schema = release.version.schema_object
    if request.method == "POST":
        return _ask(request, model, release, schema)
    inputs, example = _prefill(request, model, schema)
    form = PredictForm(schema, user.pk, inputs=inputs)
    return _page(request, model, release, schema, form, Asked(None), example=example)


def _release(model: RegisteredModel, environment: str) -> tuple[Release | None, str]:
    try:
        return gate.answering_release(model, environment), ""
    except Refused as error:
        return None, str(error)


def _prefill(
    request: HttpRequest, model: RegisteredModel, schema: Schema
) -> tuple[Mapping[str, Any], int | None]:
    """An example's values, or those of an earlier prediction that this person may see."""
    chosen = request.GET.get("example", "")
    for position, one in enumerate(schema.examples):
        if chosen == str(position):
            return one.inputs, position
    if earlier := request.GET.get("from"):
        try:
            record = records.read(earlier, actor=request.user)
        except NotFound:
            return {}, None
        return (record.inputs if record.model_id == model.pk else {}), None
    return {}, None


def _ask(request: HttpRequest, model: RegisteredModel, release: Release, schema: Schema) -> HttpResponse:
    form = PredictForm(schema, person(request).pk, request.POST)
    asked = _answer(request, model, release, schema, form)
    return _page(request, model, release, schema, form, asked)


def _answer(
    request: HttpRequest, model: RegisteredModel, release: Release, schema: Schema, form: PredictForm
) -> Asked:
    public_id = form.prediction_id(release)
    if _is_repeated(public_id) and (before := records.find(public_id)) is not None:
        return Asked(answers.show_record(before, schema, release.version.number))
    try:
        answer = predict(
            model,
            [form.inputs()],
            actor=request.user,
            channel="page",
            environment=release.environment.slug,
            request_id=audit.current_context().request_id,
            as_text=True,
            ids=[public_id],
            explain=True,
        )
    except Forbidden:
        raise
    except Refused as error:
        form.show(error)
        return Asked(None, error.status)
    return Asked(answers.show_answer(answer, schema))


def _is_repeated(public_id: str) -> bool:
    """Was this form sent before? Asked of the cache, so that the first time costs no look into the log.

    A cache that forgets does no harm: one id means the same values and release, and is taken in once.
    """
    return not cache.add(f"predict-form:{public_id}", True, REMEMBER_SECONDS)


def _page(
    request: HttpRequest,
    model: RegisteredModel,
    release: Release,
    schema: Schema,
    form: PredictForm,
    asked: Asked,
    *,
    example: int | None = None,
) -> HttpResponse:
    shown = asked.shown
    previous = _previous(request, model) if shown else None
    context = {
        "model": model,
        "release": release,
        "schema": schema,
        "form": form,
        "shown": shown,
        "previous": previous,
        "changes": _changes(shown, previous),
        "example": example,
        "examples": list(enumerate(schema.examples)),
        "token": new_token(person(request).pk),
        "question": schema.target.question_text or model.question,
        "curl": _curl(request, model, schema, form) if shown else "",
        "environment": release.environment.slug,
    }
    return render(request, "inference/predict.html", context, status=asked.status)


def _previous(request: HttpRequest, model: RegisteredModel) -> Shown | None:
    """The answer that stood on the page when the button was pressed."""
    public_id = request.POST.get("previous", "")
    if not public_id:
        return None
    try:
        record = records.read(public_id, actor=request.user)
    except NotFound:
        return None
    if record.model_id != model.pk:
        return None
    version = ModelVersion.objects.get(pk=record.version_id)
    return answers.show_record(record, version.schema_object, version.number)


def _changes(shown: Shown | None, previous: Shown | None) -> list[answers.InputLine]:
    """The inputs that differ, each with its value before."""
    if shown is None or previous is None:
        return []
    before = {line.name: line.value for line in previous.inputs}
    return [
        answers.InputLine(line.label, line.value, line.name, line.unit, before.get(line.name, "–"))
        for line in shown.inputs
        if line.value != before.get(line.name, "–")
    ]


def _curl(request: HttpRequest, model: RegisteredModel, schema: Schema, form: PredictForm) -> str:
    [inputs] = validate_rows(schema, [form.inputs()], as_text=True).rows()
    given = {name: value for name, value in inputs.items() if value is not None}
    return answers.curl(request.build_absolute_uri(f"/api/v1/models/{model.slug}/predict/"), given)


@require_GET
def prediction_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    """One prediction as it was answered; a stranger gets the same 404 as for one that never was."""
    record = _get_record(request, public_id)
    return _result_page(request, record, None)


@require_POST
def record_outcome(request: HttpRequest, public_id: str) -> HttpResponse:
    """Say what came true of a prediction."""
    record = _get_record(request, public_id)
    version = ModelVersion.objects.select_related("model").get(pk=record.version_id)
    form = OutcomeForm(version.schema_object.target, request.POST)
    if form.is_valid():
        item = {"prediction": record.public_id, "actual": form.cleaned_data["actual"]}
        receipt = attempt(request, form, audit.Action.FEEDBACK_GIVEN, version.model, give_feedback, [item])
        if receipt is not None:
            said = _("The outcome is corrected.") if receipt.corrected else _("The outcome is recorded.")
            messages.success(request, said)
            return redirect("prediction", record.public_id)
    return _result_page(request, record, form)


@require_POST
def report(request: HttpRequest, public_id: str) -> HttpResponse:
    """Say that a prediction is wrong, surprising or unfair."""
    record = _get_record(request, public_id)
    form = ReportForm(request.POST)
    if form.is_valid():
        model = RegisteredModel.objects.get(pk=record.model_id)
        acted = attempt(
            request,
            form,
            audit.Action.PREDICTION_REPORTED,
            model,
            report_problem,
            record.public_id,
            **form.cleaned_data,
        )
        if acted is not None:
            messages.success(request, _("Reported. Whoever looks after this model is told."))
            return redirect("prediction", record.public_id)
    return _result_page(request, record, None, reporting=form)


def _get_record(request: HttpRequest, public_id: str) -> PredictionRecord:
    try:
        return records.read(public_id, actor=request.user)
    except NotFound as error:
        raise Http404(str(error)) from error


def _result_page(
    request: HttpRequest,
    record: PredictionRecord,
    form: OutcomeForm | None,
    *,
    reporting: ReportForm | None = None,
) -> HttpResponse:
    version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=record.version_id)
    target = version.schema_object.target
    outcomes = list(Feedback.objects.filter(prediction_id=record.public_id).order_by("-pk"))
    latest = str(outcomes[0].actual) if outcomes else None
    may_say = permissions.can_give_feedback(person(request), version.model)
    context = {
        "model": version.model,
        "version": version,
        "record": record,
        "shown": answers.show_record(record, version.schema_object, version.number),
        "question": target.question_text or version.model.question,
        "outcomes": [(each, answers.short_answer(target, *_told(each.actual))) for each in outcomes],
        "form": form or (OutcomeForm(target, initial={"actual": latest}) if may_say else None),
        "reporting": reporting or ReportForm(),
        "reports": ProblemReport.objects.filter(prediction_id=record.public_id, reported_by=person(request)),
        "may_predict": permissions.can_predict(person(request), version.model),
        "is_own": record.user_id == person(request).pk,
    }
    return render(request, "inference/prediction.html", context, status=422 if form or reporting else 200)


def _told(actual: Any) -> tuple[Any, float | None]:
    """A class as a label, a regression's outcome as a value."""
    return (None, actual) if isinstance(actual, float) else (actual, None)


@require_GET
def history(request: HttpRequest) -> HttpResponse:
    """What this person asked, newest first. Rows of batches are on the pages of their batches."""
    log.ingest(wait=True)
    found = Prediction.objects.of(person(request)).for_list()
    slug = request.GET.get("model", "")
    if slug:
        found = found.filter(model__slug=slug)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    asked = RegisteredModel.objects.filter(pk__in=Prediction.objects.of(person(request)).values("model"))
    context = {
        "page": page,
        "rows": _history_rows(page.object_list),
        "models": asked.order_by("name"),
        "chosen": slug,
        "url": reverse("history"),
    }
    return render(request, "inference/history.html", context)


def _history_rows(predictions: Any) -> list[dict[str, Any]]:
    """Answers in the business's words, with the outcome where one is known. One query for each kind of thing."""
    rows = list(predictions)
    versions = ModelVersion.objects.in_bulk({each.version_id for each in rows})
    targets = {pk: version.schema_object.target for pk, version in versions.items()}
    told = Feedback.objects.filter(prediction_id__in=[each.public_id for each in rows]).current()
    outcomes = {each.prediction_id: each.actual for each in told}
    return [
        {
            "prediction": each,
            "answer": answers.short_answer(targets[each.version_id], each.label, each.value),
            "chance": answers.chance(targets[each.version_id], each.label, each.probabilities),
            "warnings": len(each.warnings),
            "outcome": _outcome_text(targets[each.version_id], outcomes.get(each.public_id)),
        }
        for each in rows
    ]


def _outcome_text(target: Any, actual: Any) -> str:
    return "" if actual is None else answers.short_answer(target, *_told(actual))
