"""Signal in, task or incident out."""

from typing import Any

from django.dispatch import receiver
from django.utils.translation import gettext as _

from inference.dispatch import enqueue
from inference.signals import model_crashing
from monitoring import incidents
from monitoring.models import Incident
from registry.models import ModelVersion
from registry.signals import quarantine_lifted, version_checked, version_quarantined


@receiver(version_checked)
def profile_the_reference(sender: Any, version_id: int, passed: bool = True, **kwargs: Any) -> None:
    if passed:
        enqueue("monitoring.tasks.build_reference", version_id)


@receiver(model_crashing)
def open_a_crash_incident(sender: Any, version_id: int, **kwargs: Any) -> None:
    version = ModelVersion.objects.select_related("model").get(pk=version_id)
    sentence = _(
        "%(version)s crashed five times within a minute. It rests for a minute, answers 503 meanwhile, and tries again."
    )
    incidents.open_or_update(
        version.model,
        Incident.Kind.CRASH_LOOP,
        sentence % {"version": version.label},
        severity=Incident.Severity.CRITICAL,
        version=version,
    )


@receiver(version_quarantined)
def open_an_incident(sender: Any, version_id: int, reason: str = "", **kwargs: Any) -> None:
    version = ModelVersion.objects.select_related("model").get(pk=version_id)
    incidents.quarantined(version, reason)


@receiver(quarantine_lifted)
def resolve_the_incident(sender: Any, version_id: int, **kwargs: Any) -> None:
    version = ModelVersion.objects.select_related("model").get(pk=version_id)
    if not version.model.versions.filter(state=ModelVersion.State.QUARANTINED).exists():
        incidents.resolve_by_itself(
            version.model,
            Incident.Kind.QUARANTINE,
            _("The quarantine was lifted: its answers are right again."),
        )
