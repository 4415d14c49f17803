"""Signal in, work out: what the registry says has changed is measured again."""

from typing import Any

from django.dispatch import receiver

from inference import comparing, dispatch
from inference.checks import gates
from registry.models import Dataset, Release, ReleaseRequest
from registry.signals import dataset_added, policy_changed, request_made, serving_changed


@receiver(dataset_added)
def take_in_outcomes(sender: Any, dataset_id: int, **kwargs: Any) -> None:
    if Dataset.objects.filter(pk=dataset_id, role=Dataset.Kind.FEEDBACK).exists():
        dispatch.enqueue("inference.tasks.take_in_outcomes", dataset_id)


@receiver(request_made)
def compare_with_what_it_would_replace(sender: Any, request_id: int, **kwargs: Any) -> None:
    """So that it is there when an approver looks."""
    request = ReleaseRequest.objects.select_related("version__model", "environment").get(pk=request_id)
    serving = gates.serving_in(request.version.model, request.environment.slug)
    if serving is not None and serving.pk != request.version_id:
        comparing.start(serving, request.version)


@receiver(policy_changed)
def judge_under_the_new_policy(sender: Any, model_id: int, **kwargs: Any) -> None:
    gates.start(model_id)


@receiver(serving_changed)
def judge_against_what_serves_now(sender: Any, release_id: int, **kwargs: Any) -> None:
    gates.start(Release.objects.values_list("model_id", flat=True).get(pk=release_id))
