"""Answering with released versions."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"

    def ready(self) -> None:
        from inference import checks, clients, golden, keeping, receivers  # noqa: F401 - receivers connect themselves
        from inference.batches import rows
        from inference.checks import gates, tasks  # noqa: F401 - so that every worker knows the tasks
        from inference.golden import tasks as golden_tasks  # noqa: F401
        from registry import ports, signals

        ports.checks.fill(checks.start)
        ports.gates.fill(gates.results, gates.start)
        ports.replay.fill(
            require_unmoved=golden.require_unmoved, replay=golden.replay, prepare=golden.prepare
        )
        ports.senders.fill(clients.senders)
        rows.register()
        signals.version_checked.connect(
            golden.prepare_checked, dispatch_uid="inference.golden.prepare_checked"
        )
        signals.serving_changed.connect(keeping.warm_up, dispatch_uid="inference.keeping.warm_up")
