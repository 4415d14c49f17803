"""The admin site: for approvers and administrators, behind the portal's own sign-in."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as lazy

from registry import permissions


class PortalAdminSite(admin.AdminSite):
    site_title = lazy("Modelgate administration")
    site_header = lazy("Modelgate administration")
    index_title = lazy("The record")
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Being staff or a superuser opens nothing: the roles do."""
        return permissions.can_enter_admin(request.user)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Only the portal's door, with its rate limits; whoever is inside and may not enter gets a 403."""
        return secure_admin_login(super().login)(request, extra_context=extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_change_password")
