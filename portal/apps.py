"""The project's own two app configurations."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PortalAdminConfig(AdminConfig):
    """Django's admin, behind our own door."""

    default_site = "portal.admin_site.PortalAdminSite"


class PortalConfig(AppConfig):
    """Pages, commands and the periodic tick; loading it makes our Celery application the one that tasks use."""

    name = "portal"

    def ready(self) -> None:
        from portal import celery, checks, receivers, telling  # noqa: F401 - they register themselves
        from portal.api import openapi  # noqa: F401 - so does the document's description of keys
