"""Signal in, task out."""

from typing import Any

from django.dispatch import receiver

from inference.dispatch import enqueue
from registry.signals import version_checked


@receiver(version_checked)
def profile_the_reference(sender: Any, version_id: int, passed: bool = True, **kwargs: Any) -> None:
    if passed:
        enqueue("monitoring.tasks.build_reference", version_id)
