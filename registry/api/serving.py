"""What answers where, for a whole list of models at once."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import F, Max

from registry.models import Decision, Environment, RegisteredModel, Release

Serving = dict[int, dict[str, dict[str, Any] | None]]


def serving_of(models: Iterable[RegisteredModel]) -> Serving:
    """By model and environment: version, release number, since when, approved by whom; None where nothing answers."""
    ids = [model.pk for model in models]
    places = list(Environment.objects.values_list("slug", flat=True))
    found: Serving = {pk: dict.fromkeys(places) for pk in ids}
    current = _current(ids)
    approvers = _approvers(current)
    for release in current:
        origin = release.restores or release
        found[release.model_id][release.environment.slug] = {
            "version": release.version.number,
            "release": release.number,
            "since": release.created_at,
            "approved_by": approvers.get(origin.request_id or 0, []),
        }
    return found


def _current(model_ids: list[int]) -> list[Release]:
    latest = (
        Release.objects.filter(model__in=model_ids)
        .values("model", "environment")
        .annotate(last=Max("number"))
        .values_list("model", "environment", "last")
    )
    wanted = set(latest)
    releases = Release.objects.filter(model__in=model_ids, number__in={last for *_place, last in wanted})
    related = releases.select_related("version", "environment", "restores")
    return [one for one in related if (one.model_id, one.environment_id, one.number) in wanted]


def _approvers(releases: Iterable[Release]) -> dict[int, list[str]]:
    requests = {(release.restores or release).request_id for release in releases}
    rows = Decision.objects.filter(
        request__in=requests - {None}, verdict=Decision.Verdict.APPROVED
    ).values_list("request_id", F("decided_by__email"))
    found: dict[int, list[str]] = defaultdict(list)
    for request_id, address in rows:
        found[request_id].append(address)
    return found
