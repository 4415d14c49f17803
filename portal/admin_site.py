"""The admin site: for approvers and administrators, behind the portal's own sign-in."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar, cast

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from portal.views.acts import on_the_record
from registry import permissions
from registry.audit import Action

View = TypeVar("View", bound=Callable[..., Any])


class PortalAdminSite(admin.AdminSite):
    site_title = lazy("Modelgate administration")
    site_header = lazy("Modelgate administration")
    index_title = lazy("The record")
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Being staff or a superuser opens nothing: the roles do."""
        return permissions.can_enter_admin(request.user)

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """A form that is sent by somebody who may not enter is refused on the record, whatever it was about."""
        inner = super().admin_view(view, cacheable)

        def door(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            leaves = request.path == reverse("admin:logout", current_app=self.name)
            if request.method == "POST" and request.user.is_authenticated and not leaves:
                with on_the_record(request, Action.ADMIN_ENTERED, None):
                    may, why = self.has_permission(request), _("Only approvers and administrators may enter.")
                    permissions.require(may, why)
            return inner(request, *args, **kwargs)

        return cast(View, update_wrapper(door, inner))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Only the portal's door, with its rate limits; whoever is inside and may not enter gets a 403."""
        return secure_admin_login(super().login)(request, extra_context=extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_change_password")
