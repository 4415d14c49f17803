"""What happened after the release."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from inference import ports
        from monitoring import receivers  # noqa: F401 - connects itself
        from monitoring.counting import count_calls

        if count_calls not in ports.sinks:
            ports.sinks.append(count_calls)
