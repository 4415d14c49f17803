"""The admin site, for approvers and administrators only, behind the portal's own sign-in."""

from django.contrib import admin
from django.http import HttpRequest

from registry import permissions


class PortalAdminSite(admin.AdminSite):
    site_title = site_header = "Modelgate"

    def has_permission(self, request: HttpRequest) -> bool:
        return permissions.can_enter_admin(request.user)
