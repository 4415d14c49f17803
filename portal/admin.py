"""The pages of the admin site where something is decided: the same panels and verbs as in the portal.

The windows on the rest of the record are in `registry.admin`; the site itself is in `portal.admin_site`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.forms.accounts import RolesForm
from portal.forms.registry import AdmissionForm, DecisionForm, ReasonForm
from portal.views.accounts import membership, save_roles, state_of
from portal.views.acts import attempt, problems
from portal.views.gates import person
from portal.views.registry import reviews
from portal.views.registry.approvals import decide, panel
from registry import permissions
from registry.actions import approvals, catalog, endings
from registry.admin import ReadOnlyAdmin
from registry.audit import Action
from registry.models import ModelVersion, RegisteredModel, ReleaseRequest, User

# Teams are kept on the portal's own page, on the record; an address is the person and never edited; a second
# factor is its owner's, and an administrator takes it away through the verb.
admin.site.unregister([Group, EmailAddress, Authenticator])


class Act(NamedTuple):
    """A verb that takes a row and a reason."""

    name: str
    label: str
    action: Action
    verb: Callable[..., Any]


class PanelAdmin(ReadOnlyAdmin):
    """A list as the admin makes it, and a page of our own for each row."""

    change_form_template = ""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return self.page(request, found)

    def page(self, request: HttpRequest, found: Any) -> HttpResponse:
        raise NotImplementedError

    def frame(
        self, request: HttpRequest, found: Any, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        shown = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": found,
            "title": str(found),
            **context,
        }
        return TemplateResponse(request, self.change_form_template, shown, status=status)

    def here(self, found: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[found.pk])


@admin.register(ReleaseRequest)
class ReleaseRequestAdmin(PanelAdmin):
    """Decide on a request. No bulk actions: each one is looked at."""

    list_display = ["__str__", "state", "requested_by", "requested_at", "expires_at"]
    list_filter = ["state", "environment", "version__model"]
    search_fields = ["version__model__name", "version__model__slug", "reason", "public_id"]
    list_select_related = ["version__model", "environment", "requested_by"]
    ordering = ["-requested_at"]
    change_form_template = "admin/release_request.html"

    def page(self, request: HttpRequest, found: ReleaseRequest) -> HttpResponse:
        form = DecisionForm(request.POST or None)
        if request.method == "POST" and decide(request, found, form):
            messages.success(request, _("Your decision on %(request)s is recorded.") % {"request": found})
            return redirect(self.here(found))
        approvals.settle(found)
        context = panel(found, person(request)) | {"form": form}
        return self.frame(request, found, context, status=422 if form.errors else 200)


class ActsAdmin(PanelAdmin):
    """What the record says of one row, and the acts that this person may do to it: one reason, one button each."""

    change_form_template = "admin/record.html"

    def acts(self, request: HttpRequest, found: Any) -> list[Act]:
        """Those that apply to the row and that this person may do."""
        raise NotImplementedError

    def known(self) -> list[Act]:
        """All that there are: what is not offered the verb itself refuses, and that is written down."""
        raise NotImplementedError

    def facts(self, found: Any) -> list[tuple[str, Any]]:
        return [
            (
                str(field.verbose_name),
                getattr(found, f"get_{field.name}_display", lambda f=field: f.value_from_object(found))(),
            )
            for field in self.opts.concrete_fields
            if not field.is_relation and field.name not in self.left_out
        ]

    #: Large or of no use to a person.
    left_out = frozenset(
        {"id", "schema", "globals", "expected", "policy", "card", "requirements", "environment"}
    )

    def page(self, request: HttpRequest, found: Any) -> HttpResponse:
        acts = self.acts(request, found)
        form = ReasonForm(request.POST or None)
        if request.method == "POST":
            chosen = next((act for act in self.known() if act.name == request.POST.get("act")), None)
            if chosen is None:
                raise PermissionDenied
            if form.is_valid() and self._do(request, found, chosen, form):
                messages.success(request, _("Done: %(act)s.") % {"act": chosen.label})
                return redirect(self.here(found))
        context = {"facts": self.facts(found), "acts": acts, "form": form}
        return self.frame(request, found, context, status=422 if form.errors else 200)

    def _do(self, request: HttpRequest, found: Any, act: Act, form: ReasonForm) -> bool:
        reason = form.cleaned_data["reason"]
        return attempt(request, form, act.action, found, act.verb, found, reason=reason) is not None


@admin.register(ModelVersion)
class VersionAdmin(ActsAdmin):
    """Admit or refuse what its file would import, retire and archive, as on the version's page."""

    change_form_template = "admin/version.html"

    list_display = ["__str__", "state", "format", "uploaded_by", "uploaded_at", "archived_at"]
    list_filter = ["state", "format", "model"]
    search_fields = ["model__name", "model__slug", "sha256"]
    list_select_related = ["model", "uploaded_by"]

    def page(self, request: HttpRequest, found: ModelVersion) -> HttpResponse:
        if not {"admit", "refuse"} & request.POST.keys():
            return super().page(request, found)
        form = AdmissionForm(request.POST)
        if reviews.decide(request, found, form):
            reviews.say_decided(request, found)
            return redirect(self.here(found))
        found.refresh_from_db()
        if found.state != ModelVersion.State.NEEDS_REVIEW:  # somebody else was faster
            messages.error(request, problems(form))
            return redirect(self.here(found))
        acts = {"facts": self.facts(found), "acts": self.acts(request, found), "form": ReasonForm()}
        return self.frame(request, found, acts, status=422, review_form=form)

    def frame(
        self,
        request: HttpRequest,
        found: ModelVersion,
        context: dict[str, Any],
        status: int = 200,
        review_form: AdmissionForm | None = None,
    ) -> HttpResponse:
        review = reviews.review_of(found, person(request), review_form)
        if review:
            review["address"] = self.here(found)
        return super().frame(request, found, context | {"version": found, "review": review}, status)

    def acts(self, request: HttpRequest, found: ModelVersion) -> list[Act]:
        if not permissions.can_retire(request.user, found):
            return []
        unarchive, retire, archive = self.known()
        if found.archived_at:
            return [unarchive]
        acts = [] if found.state == ModelVersion.State.RETIRED else [retire]
        return [*acts, archive] if found.state in endings.ENDED else acts

    def known(self) -> list[Act]:
        return [
            Act("unarchive", _("Show in lists again"), Action.VERSION_UNARCHIVED, endings.unarchive),
            Act("retire", _("Retire"), Action.VERSION_RETIRED, catalog.retire),
            Act("archive", _("Archive"), Action.VERSION_ARCHIVED, endings.archive),
        ]


@admin.register(RegisteredModel)
class ModelAdmin(ActsAdmin):
    """Delete a model, as on its own page: what stays is its tombstone."""

    list_display = ["name", "slug", "task", "risk", "created_by", "created_at", "deleted_at"]
    list_filter = ["task", "risk"]
    search_fields = ["name", "slug", "question"]
    list_select_related = ["created_by"]

    def acts(self, request: HttpRequest, found: RegisteredModel) -> list[Act]:
        if found.deleted_at or not permissions.can_delete_model(request.user, found):
            return []
        return self.known()

    def known(self) -> list[Act]:
        return [Act("delete", _("Delete"), Action.MODEL_DELETED, endings.delete_model)]


@admin.register(User)
class UserAdmin(PanelAdmin):
    """Who is here; roles change through the verb that the portal calls."""

    list_display = ["email", "name", "is_active", "is_service", "last_login"]
    list_filter = ["is_active", "is_service", "grants__role"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    change_form_template = "admin/user.html"

    def may_look(self, user: Any) -> bool:
        return permissions.can_manage_people(user)

    def page(self, request: HttpRequest, found: User) -> HttpResponse:
        form = RolesForm(request.POST if request.method == "POST" else None, initial=membership(found))
        if request.method == "POST" and save_roles(request, found, form):
            messages.success(request, _("Roles and teams of %(user)s are saved.") % {"user": found})
            return redirect(self.here(found))
        context = {
            "someone": found,
            "state": state_of(found),
            "form": form,
            "grants": found.grants.select_related("granted_by"),
            "can_manage": permissions.can_manage_people(request.user),
        }
        return self.frame(request, found, context, status=422 if form.errors else 200)
