"""The system of record."""

import uuid
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RegistryConfig(AppConfig):
    name = "registry"

    def ready(self) -> None:
        from registry import changes, signals

        post_migrate.connect(_install_marks, sender=self)
        signals.serving_changed.connect(changes.read_again)


def _install_marks(using: str, **kwargs: Any) -> None:
    """The triggers of the change mark, and the row that they write to."""
    from django.db import connections

    from registry import triggers
    from registry.models import ChangeMark

    connection = connections[using]
    if ChangeMark._meta.db_table not in connection.introspection.table_names():
        return  # migrated to a time before it
    triggers.install_marks(connection)
    ChangeMark.objects.using(using).get_or_create(pk=1, defaults={"mark": uuid.uuid4().hex})
