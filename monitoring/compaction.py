"""Parts arrive in pieces; once their hour is past they become one row for each hour. Sums lose nothing."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count

from monitoring import latency, profiles
from monitoring.models import CountedSource, ProfilePart, ServicePart
from monitoring.profiles import Counts
from monitoring.windows import hour_of

SETTLED = timedelta(
    hours=2
)  # rows of an hour that is past may still arrive: later ones wait for the next round
MINUTES_KEPT = timedelta(days=2)
SOURCES_KEPT = timedelta(days=60)
MOST_GROUPS = 200  # in one tick
MOST_PARTS = 200  # of a group in one transaction: on SQLite nobody else writes meanwhile


def compact(now: datetime) -> int:
    """Merge what is settled; returns how many groups were merged."""
    CountedSource.objects.filter(at__lt=now - SOURCES_KEPT).delete()
    return _compact_profiles(hour_of(now - SETTLED)) + _compact_service(hour_of(now - MINUTES_KEPT))


def _compact_profiles(before: datetime) -> int:
    keys = ("version_id", "environment", "segment", "hour")
    groups = _groups(ProfilePart, keys, before)
    for group in groups:
        with transaction.atomic():
            parts = list(ProfilePart.objects.select_for_update().filter(**group).order_by("pk")[:MOST_PARTS])
            if len(parts) > 1:
                _replace_parts(group, parts)
    return len(groups)


def _replace_parts(group: dict[str, Any], parts: list[ProfilePart]) -> None:
    outputs = [Counts.from_json(part.outputs) for part in parts if part.outputs]
    ProfilePart.objects.filter(pk__in=[part.pk for part in parts]).delete()
    ProfilePart.objects.create(
        **group,
        source=_merged(parts),
        rows=sum(part.rows for part in parts),
        inputs=profiles.merge(Counts.from_json(part.inputs) for part in parts).to_json(),
        outputs=profiles.merge(outputs).to_json() if outputs else None,
    )


def _merged(parts: Sequence[ProfilePart | ServicePart]) -> str:
    """A name that no other part of the hour has or had."""
    return f"hour:{parts[0].pk}"


def _compact_service(before: datetime) -> int:
    keys = ("model_id", "version_id", "environment", "channel", "hour")
    groups = _groups(ServicePart, keys, before)
    for group in groups:
        with transaction.atomic():
            parts = list(ServicePart.objects.select_for_update().filter(**group).order_by("pk")[:MOST_PARTS])
            if len(parts) > 1:
                _replace_service(group, parts)
    return len(groups)


def _replace_service(group: dict[str, Any], parts: list[ServicePart]) -> None:
    ServicePart.objects.filter(pk__in=[part.pk for part in parts]).delete()
    ServicePart.objects.create(
        **group,
        minute=group["hour"],
        source=_merged(parts),
        requests=sum(part.requests for part in parts),
        rows=sum(part.rows for part in parts),
        errors=latency.merge(part.errors for part in parts),
        latencies=latency.merge(part.latencies for part in parts),
    )


def _groups(model: Any, keys: Iterable[str], before: datetime) -> list[dict[str, Any]]:
    rows = model.objects.filter(hour__lt=before).order_by().values(*keys).annotate(parts=Count("pk"))
    found = rows.filter(parts__gt=1)[:MOST_GROUPS]
    return [{name: row[name] for name in keys} for row in found]
