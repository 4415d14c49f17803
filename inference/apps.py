"""Answering with released versions."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"

    def ready(self) -> None:
        from inference import checks, keeping
        from inference.batches import rows
        from inference.checks import tasks  # noqa: F401 - so that every worker knows the task
        from registry import ports, signals

        ports.checks.fill(checks.start)
        rows.register()
        signals.serving_changed.connect(keeping.warm_up, dispatch_uid="inference.keeping.warm_up")
