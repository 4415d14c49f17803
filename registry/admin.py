"""Read-only windows on the record. The record changes through the verbs, never through the admin site."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from registry import permissions
from registry.models import (
    AuditEvent,
    Dataset,
    Release,
)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Look, and nothing else: no add, change or delete for anybody, superuser or not; no bulk actions."""

    actions = None

    def may_look(self, user: Any) -> bool:
        return permissions.can_enter_admin(user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_look(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_look(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ["name", "model", "role", "rows", "created_by", "created_at"]
    list_filter = ["role", "model"]
    search_fields = ["name", "sha256"]
    list_select_related = ["model", "created_by"]


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "environment", "kind", "released_by", "created_at"]
    list_filter = ["kind", "environment", "model"]
    search_fields = ["model__name", "model__slug", "reason"]
    list_select_related = ["model", "version__model", "environment", "released_by"]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["seq", "at", "actor_name", "action", "target_name", "result", "channel"]
    list_filter = ["result", "channel", "action"]
    search_fields = ["actor_name", "target_name", "reason", "request_id"]
    ordering = ["-seq"]
    show_full_result_count = False

    def may_look(self, user: Any) -> bool:
        return permissions.can_enter_admin(user) and permissions.can_see_audit(user)
