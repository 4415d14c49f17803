"""Which programs would be refused by another version, as far as their own calls of the last days tell.

Counted by key: no input is shown, and none leaves this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import Count
from django.utils import timezone

from inference import cold
from inference.models import Prediction
from inference.validation import examine
from registry.models import PRODUCTION, ModelVersion, Release
from registry.schema import Change, Schema

logger = structlog.get_logger(__name__)

DAYS = 30
#: The latest calls that are looked at.
MOST = 5_000


@dataclass
class Client:
    """One key, how many of its calls were looked at, and how many would be refused because of which fields."""

    name: str
    calls: int = 0
    refused: int = 0
    fields: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"client": self.name, "calls": self.calls, "refused": self.refused, "fields": self.fields}


def breaking(after: ModelVersion, changes: Sequence[Change], environment: str = PRODUCTION) -> dict[str, Any]:
    """The clients that would be refused were `after` to answer, the busiest first."""
    breaks = [
        change for change in changes if change.breaks and change.field != after.schema_object.target.name
    ]
    if not breaks:
        return {"days": DAYS, "calls": 0, "clients": []}
    schema, calls = after.schema_object, 0
    clients: dict[str, Client] = {}
    for call in _calls(after, environment, [change.field for change in breaks]):
        calls += 1
        client = clients.setdefault(call.key_name or call.user_name, Client(call.key_name or call.user_name))
        client.calls += 1
        wrong = [change.field for change in breaks if _is_refused(change, schema, call.inputs)]
        client.refused += bool(wrong)
        for name in wrong:
            client.fields[name] = client.fields.get(name, 0) + 1
    found = sorted((each for each in clients.values() if each.refused), key=lambda each: -each.refused)
    return {"days": DAYS, "calls": calls, "clients": [each.to_json() for each in found]}


def senders(release: Release, fields: Sequence[str]) -> list[tuple[str, int, int]]:
    """For each field: predictions of a day that sent it to this release, and by how many; nothing if nobody can say."""
    since = timezone.now() - timedelta(days=1)
    recent = Prediction.objects.filter(release=release, at__gte=since)
    found = []
    try:
        for name in fields:
            counted = recent.filter(inputs__has_key=name).aggregate(
                calls=Count("pk"), clients=Count("user_name", distinct=True)
            )
            found.append((name, counted["calls"], counted["clients"]))
    except DatabaseError:
        logger.exception("no_counts_of_fields")
    return found


def _calls(version: ModelVersion, environment: str, fields: Sequence[str]) -> list[Prediction]:
    """What programs sent to this model; people get another form and send nothing wrong."""
    latest = (
        Prediction.objects.filter(
            model_id=version.model_id,
            environment=environment,
            channel=Prediction.Channel.API,
            at__gte=timezone.now() - timedelta(days=DAYS),
            inputs_removed_at=None,  # what the policy has emptied tells nothing about the call
        )
        .order_by("-at")
        .only("public_id", "key_name", "user_name", "inputs", "cold_file")[:MOST]
    )
    return cold.recall_readable(list(latest), fields)


def _is_refused(change: Change, schema: Schema, inputs: dict[str, Any]) -> bool:
    """Would this call be refused for this field? A field that is gone must not be sent; the others are examined."""
    value = inputs.get(change.field)
    if change.kind == "removed":
        return value is not None
    return examine(schema.field(change.field), value).problem is not None
