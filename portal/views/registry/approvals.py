"""Approvals: what waits, and the page where somebody else decides."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from inference import golden
from portal.forms.registry import DecisionForm
from portal.views.acts import Verb, attempt, problems
from portal.views.gates import get_request, person
from portal.views.registry.bound import bound_lines
from portal.views.registry.comparing import compared
from portal.views.registry.reviews import waiting_for_review
from registry import permissions
from registry.actions import approvals
from registry.audit import Action
from registry.models import AuditEvent, Release, ReleaseRequest, Role, User

VERBS: dict[str, tuple[Verb, Action]] = {
    "approve": (approvals.approve, Action.REQUEST_APPROVED),
    "reject": (approvals.reject, Action.REQUEST_REJECTED),
    "ask_changes": (approvals.ask_changes, Action.REQUEST_CHANGES_ASKED),
}
_DECIDED_SHOWN = 30


def approval_list(request: HttpRequest) -> HttpResponse:
    """Waiting for me first, oldest on top; then mine; then what was decided."""
    user = person(request)
    visible = ReleaseRequest.objects.visible_to(user).with_context()
    waiting = list(visible.waiting().order_by("requested_at"))
    for_me = [one for one in waiting if permissions.can_decide(user, one)]
    reviews = waiting_for_review(user)
    context = {
        "reviews_for_me": [version for version in reviews if permissions.can_admit(user, version)],
        "other_reviews": [version for version in reviews if not permissions.can_admit(user, version)],
        "for_me": for_me,
        "others": [one for one in waiting if one not in for_me],
        "decided": visible.exclude(state=ReleaseRequest.State.WAITING).order_by(
            "-decided_at", "-requested_at"
        )[:_DECIDED_SHOWN],
        "is_approver": permissions.has_role(user, Role.APPROVER),
    }
    return render(request, "registry/approval_list.html", context)


def approval_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    one = get_request(request, public_id)
    form = DecisionForm(request.POST or None)
    if request.method == "POST" and decide(request, one, form):
        messages.success(request, _("Your decision on %(request)s is recorded.") % {"request": one})
        return redirect(one)
    # Opening it is enough to find out that it is about something that has changed.
    approvals.settle(one)
    if one.state == ReleaseRequest.State.WAITING:
        golden.prepare(one.version)
    context = panel(one, person(request)) | {"form": form}
    return render(request, "registry/approval_detail.html", context, status=422 if form.errors else 200)


def decide(request: HttpRequest, one: ReleaseRequest, form: DecisionForm) -> bool:
    """The one act behind the buttons of the portal page and of the admin page."""
    if not form.is_valid():
        return False
    verb, action = VERBS[form.cleaned_data["verdict"]]
    comment = form.cleaned_data["comment"]
    return attempt(request, form, action, one, verb, one, comment=comment) is not None


@require_POST
def approval_withdraw(request: HttpRequest, public_id: str) -> HttpResponse:
    one = get_request(request, public_id)
    form = DecisionForm(request.POST)
    if attempt(request, form, Action.REQUEST_WITHDRAWN, one, approvals.withdraw, one):
        messages.success(request, _("Withdrawn."))
    else:
        messages.error(request, problems(form))
    return redirect(one)


def panel(one: ReleaseRequest, user: User) -> dict[str, Any]:
    """Everything that `registry/_request_panel.html` shows, here and in the admin site."""
    version = one.version
    current = Release.objects.current(version.model, one.environment.slug)
    serving = current.version if current else None
    decisions = list(one.decisions.select_related("decided_by"))
    waiting = one.state == ReleaseRequest.State.WAITING
    return {
        "one": one,
        "version": version,
        "model": version.model,
        "serving": serving,
        "serving_release": current,
        **compared(serving, version, user),
        "gates": one.gates,
        "bound": bound_lines(one),
        "rules": version.model.rules,
        "checks": version.checks.all(),
        "decisions": decisions,
        "events": AuditEvent.objects.filter(
            target_type=ReleaseRequest._meta.label_lower, target_id=one.public_id, result="done"
        ).order_by("seq"),
        "is_waiting": waiting,
        "is_own": permissions.is_own_request(user, one),
        "is_approver": permissions.has_role(user, Role.APPROVER),
        "has_decided": any(decision.decided_by_id == user.pk for decision in decisions),
        "can_decide": waiting and permissions.can_decide(user, one),
        "can_withdraw": waiting and permissions.can_withdraw(user, one),
        "can_release": one.state == ReleaseRequest.State.APPROVED
        and permissions.can_release(user, version.model),
        "is_released": one.releases.exists(),
    }
