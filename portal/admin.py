"""The pages of the admin site where something is decided: the same panels and verbs as in the portal.

The windows on the rest of the record are in `registry.admin`; the site itself is in `portal.admin_site`.
"""

from typing import Any

from allauth.account.models import EmailAddress
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
from portal.forms.registry import DecisionForm
from portal.views.accounts import membership, save_roles, state_of
from portal.views.gates import person
from portal.views.registry.approvals import decide, panel
from registry import permissions
from registry.actions import approvals
from registry.admin import ReadOnlyAdmin
from registry.models import ReleaseRequest, User

# Teams are kept on the portal's own page, on the record; an address is the person and never edited.
admin.site.unregister([Group, EmailAddress])


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
