"""The two environments that every installation has, and the triggers that make the record append-only."""

from django.db import migrations

from registry import triggers


def add_environments(apps, schema_editor):
    environment = apps.get_model("registry", "Environment")
    environment.objects.create(slug="staging", name="Staging", position=1)
    environment.objects.create(slug="production", name="Production", position=2)


def add_head(apps, schema_editor):
    apps.get_model("registry", "AuditHead").objects.create(pk=1)


def add_triggers(apps, schema_editor):
    triggers.install(schema_editor.connection)


def remove_triggers(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [
        migrations.RunPython(add_environments, migrations.RunPython.noop),
        migrations.RunPython(add_head, migrations.RunPython.noop),
        migrations.RunPython(add_triggers, remove_triggers),
    ]
