"""What came true of a model's predictions: a file of it, one at a time, corrected; and predictions to be erased."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from inference import erasing, outcome_files
from inference.feedback import Receipt, give_feedback
from inference.models import Feedback
from portal.forms.outcomes import EraseForm, OneOutcomeForm, OutcomeFileForm
from portal.views.acts import attempt, on_the_record
from portal.views.gates import get_model, person
from portal.views.model_page import model_page
from registry import permissions
from registry.audit import Action
from registry.models import RegisteredModel

RECENT = 20
SHOWN = 5


@require_http_methods(["GET", "POST"])
def model_outcomes(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    shown: dict[str, forms.Form] = {
        "upload": OutcomeFileForm(),
        "one": OneOutcomeForm(initial={"prediction": request.GET.get("prediction", "")[:64]}),
        "erase": EraseForm(),
    }
    is_wrong = False
    if request.method == "POST":
        act = request.POST.get("act", "")
        name = act if act in shown else "upload"
        form, is_done = ACTS[name](request, model)
        if is_done:
            return redirect("model-outcomes", model.slug)
        shown[name], is_wrong = form, True
    user = person(request)
    context = model_page(request, model, "outcomes")
    context |= {
        "forms": shown,
        "may_tell": permissions.can_give_feedback(user, model),
        "may_erase": permissions.can_erase(user, model),
        "recent": Feedback.objects.filter(model=model, recorded_by=user).order_by("-pk")[:RECENT],
    }
    return render(request, "inference/outcomes.html", context, status=422 if is_wrong else 200)


def _upload(request: HttpRequest, model: RegisteredModel) -> tuple[forms.Form, bool]:
    form = OutcomeFileForm(request.POST, request.FILES)
    _require_may_tell(request, model)
    if not form.is_valid():
        return form, False
    file = form.cleaned_data["file"]
    receipt = attempt(
        request, form, Action.FEEDBACK_GIVEN, model, outcome_files.record_file, file, model=model
    )
    return form, _tell(request, receipt)


def _one(request: HttpRequest, model: RegisteredModel) -> tuple[forms.Form, bool]:
    form = OneOutcomeForm(request.POST)
    _require_may_tell(request, model)
    if not form.is_valid():
        return form, False
    only = RegisteredModel.objects.visible_to(request.user).filter(pk=model.pk)
    receipt = attempt(
        request,
        form,
        Action.FEEDBACK_GIVEN,
        model,
        give_feedback,
        [form.item()],
        among=only,
        as_text=True,
    )
    if receipt is not None and receipt.unknown:
        form.add_error("prediction", _("No prediction of this model has this id."))
        return form, False
    return form, _tell(request, receipt)


def _erase(request: HttpRequest, model: RegisteredModel) -> tuple[forms.Form, bool]:
    form = EraseForm(request.POST)
    with on_the_record(request, Action.PREDICTION_ERASED, model):
        permissions.require(
            permissions.can_erase(person(request), model),
            _("Only an owner or an administrator may erase predictions of this model."),
            code="not_owner",
        )
    if not form.is_valid():
        return form, False
    only = RegisteredModel.objects.visible_to(request.user).filter(pk=model.pk)
    reason = form.cleaned_data["reason"]
    erased = attempt(
        request, form, Action.PREDICTION_ERASED, model, erasing.erase, form.ids(), reason=reason, among=only
    )
    if erased is None:
        return form, False
    text = ngettext("%d prediction is erased.", "%d predictions are erased.", erased.predictions)
    messages.success(request, text % erased.predictions)
    _tell_unknown(request, erased.unknown)
    return form, True


ACTS: dict[str, Callable[[HttpRequest, RegisteredModel], tuple[forms.Form, bool]]] = {
    "upload": _upload,
    "one": _one,
    "erase": _erase,
}


def _require_may_tell(request: HttpRequest, model: RegisteredModel) -> None:
    with on_the_record(request, Action.FEEDBACK_GIVEN, model):
        permissions.require(
            permissions.can_give_feedback(person(request), model),
            _("Your roles let you read about “%(model)s”, but not say what came true.") % {"model": model},
            code="needs_business",
        )


def _tell(request: HttpRequest, receipt: Receipt | None) -> bool:
    if receipt is None:
        return False
    said = ngettext("%d outcome is recorded", "%d outcomes are recorded", receipt.accepted) % receipt.accepted
    if receipt.corrected:
        corrected: Any = ngettext("%d is corrected", "%d are corrected", receipt.corrected)
        said = f"{said}, {corrected % receipt.corrected}"
    messages.success(request, f"{said}.")
    _tell_unknown(request, receipt.unknown)
    return True


def _tell_unknown(request: HttpRequest, unknown: list[str]) -> None:
    if unknown:
        text = ngettext(
            "%(count)d id is not known here: %(ids)s",
            "%(count)d ids are not known here: %(ids)s",
            len(unknown),
        )
        ids = ", ".join(each[:64] for each in unknown[:SHOWN]) + (" …" if len(unknown) > SHOWN else "")
        messages.warning(request, text % {"count": len(unknown), "ids": ids})
