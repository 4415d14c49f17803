"""What answers where and who approved it, for whole lists at once."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from registry.models import Decision, Environment, RegisteredModel, Release, User

Serving = dict[int, dict[str, dict[str, Any] | None]]
Approvers = dict[int, list[User]]


def serving_of(models: Iterable[RegisteredModel]) -> Serving:
    """By model and environment: version, release number, since when, approved by whom; None where nothing answers."""
    ids = [model.pk for model in models]
    places = list(Environment.objects.values_list("slug", flat=True))
    found: Serving = {pk: dict.fromkeys(places) for pk in ids}
    current = Release.objects.answering().filter(model__in=ids)
    releases = list(current.select_related("version", "environment", "restores"))
    approvers = approvers_of(releases)
    for release in releases:
        found[release.model_id][release.environment.slug] = {
            "version": release.version.number,
            "release": release.number,
            "since": release.created_at,
            "approved_by": [user.email for user in approvers[release.pk]],
        }
    return found


def approvers_of(releases: Iterable[Release]) -> Approvers:
    """By release: who approved what it, or the one that it restores, serves. One query, if `restores` is at hand."""
    origins = {release.pk: (release.restores or release).request_id for release in releases}
    approvals = Decision.objects.filter(
        request__in={pk for pk in origins.values() if pk}, verdict=Decision.Verdict.APPROVED
    )
    found: dict[int | None, list[User]] = defaultdict(list)
    for decision in approvals.select_related("decided_by"):
        found[decision.request_id].append(decision.decided_by)
    return {release: found[request] for release, request in origins.items()}
