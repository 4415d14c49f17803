"""Signal in, work out: what the registry says has changed is measured again."""

from typing import Any

from django.dispatch import receiver

from inference.checks import gates
from registry.models import Release
from registry.signals import policy_changed, serving_changed


@receiver(policy_changed)
def judge_under_the_new_policy(sender: Any, model_id: int, **kwargs: Any) -> None:
    gates.start(model_id)


@receiver(serving_changed)
def judge_against_what_serves_now(sender: Any, release_id: int, **kwargs: Any) -> None:
    gates.start(Release.objects.values_list("model_id", flat=True).get(pk=release_id))
