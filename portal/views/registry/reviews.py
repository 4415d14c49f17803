"""Versions whose file needs names that nobody has reviewed: who may let them in, and the act behind the buttons."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.forms.registry import AdmissionForm
from portal.views.acts import attempt, require_role
from registry import permissions
from registry.actions import admissions
from registry.audit import Action
from registry.models import ModelVersion, Role, User


def waiting_for_review(user: User) -> list[ModelVersion]:
    """Oldest first."""
    held = ModelVersion.objects.visible_to(user).awaiting_review().select_related("model", "uploaded_by")
    return list(held.order_by("uploaded_at"))


def review_of(version: ModelVersion, user: User, form: AdmissionForm | None = None) -> dict[str, Any] | None:
    """What `registry/_review.html` shows; None where there is nothing to decide."""
    if version.state != ModelVersion.State.NEEDS_REVIEW:
        return None
    approvers = User.objects.filter(grants__role=Role.APPROVER, is_active=True, is_service=False)
    return {
        "names": version.names_to_review,
        "is_of_packages": not version.unknown_names,
        "may": permissions.can_admit(user, version),
        "is_own": version.uploaded_by_id == user.pk,
        "approvers": approvers.exclude(pk=version.uploaded_by_id).distinct(),
        "form": form or AdmissionForm(),
        "address": reverse("version-review", args=[version.model.slug, version.number]),
    }


def decide(request: HttpRequest, version: ModelVersion, form: AdmissionForm) -> ModelVersion | None:
    """Admit or refuse, as the button says; None when that was refused, and then the form says why."""
    action = Action.VERSION_NOT_ADMITTED if "refuse" in request.POST else Action.VERSION_ADMITTED
    is_approver = permissions.has_role(request.user, Role.APPROVER)
    require_role(request, action, version, is_approver, Role.APPROVER)
    if not form.is_valid():
        return None
    comment = form.cleaned_data["comment"]
    if action == Action.VERSION_NOT_ADMITTED:
        return attempt(request, form, action, version, admissions.refuse, version, comment=comment)
    names = request.POST.getlist("names")  # what this person saw
    return attempt(request, form, action, version, admissions.admit, version, names=names, comment=comment)


def say_decided(request: HttpRequest, version: ModelVersion) -> None:
    """What became of it, in a sentence above the next page."""
    if "refuse" in request.POST:
        said = _("%(version)s is refused; nothing of it was loaded.")
    else:
        said = _("Admitted for %(version)s. Its checks have started.")
    messages.success(request, said % {"version": version})
