"""A model's policy: what holds, for everybody who sees the model; a form for those who may change it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.forms.policy import PolicyForm
from portal.views.acts import attempt, on_the_record
from portal.views.gates import get_model, person
from portal.views.model_page import model_page
from registry import permissions
from registry.actions import policies
from registry.audit import Action
from registry.models import AuditEvent, RegisteredModel, ReleaseRequest, Role, User

HISTORY = 10


def model_policy(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    may = permissions.can_change_policy(person(request), model)
    form = PolicyForm(request.POST or None, model=model)
    if request.method == "POST":
        with on_the_record(request, Action.MODEL_POLICY_CHANGED, model):
            permissions.require(
                may, _("Only an owner or an administrator may change the policy of this model.")
            )
        if form.is_valid() and _save(request, model, form):
            return redirect("model-policy", model.slug)
    context = model_page(request, model, "policy")
    context |= {
        "form": form,
        "may_change": may,
        "rules": model.rules,
        "team_members": _approvers(model) if model.rules.approver_groups else None,
        "history": AuditEvent.objects.filter(
            action=Action.MODEL_POLICY_CHANGED, target_id=str(model.pk), result="done"
        ).order_by("-seq")[:HISTORY],
    }
    return render(request, "registry/model_policy.html", context, status=422 if form.errors else 200)


def _save(request: HttpRequest, model: RegisteredModel, form: PolicyForm) -> bool:
    before = _open_requests(model)
    changed = attempt(
        request, form, Action.MODEL_POLICY_CHANGED, model, policies.change_policy, model, form.policy
    )
    if changed:
        _say_what_it_means(request, before - _open_requests(model))
    return changed is not None


def _open_requests(model: RegisteredModel) -> int:
    return ReleaseRequest.objects.open().filter(version__model=model).count()


def _say_what_it_means(request: HttpRequest, closed: int) -> None:
    messages.success(request, _("Saved."))
    if closed:
        text = ngettext(
            "%d request was made under other rules and is stale now.",
            "%d requests were made under other rules and are stale now.",
            closed,
        )
        messages.warning(request, text % closed)


def _approvers(model: RegisteredModel) -> list[User]:
    found = User.objects.filter(grants__role=Role.APPROVER, is_active=True, is_service=False)
    return list(found.filter(groups__name__in=model.rules.approver_groups).distinct().order_by("email"))
