"""Answering with released versions."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"

    def ready(self) -> None:
        from inference import checks
        from inference.batches import rows
        from inference.checks import tasks  # noqa: F401 - so that every worker knows the task
        from registry import ports

        ports.checks.fill(checks.start)
        rows.register()
