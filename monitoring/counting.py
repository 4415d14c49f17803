"""The sink: every answered call is counted, once, in the transaction that stores it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import structlog
from django.db import DatabaseError, transaction

from inference.ports import CallBatch
from monitoring import columns, latency, profiles, reference
from monitoring.models import CountedSource, ProfilePart, ServicePart
from registry.models import ModelVersion

logger = structlog.get_logger(__name__)


def count_calls(batch: CallBatch) -> None:
    """Add a batch of calls to the counts. The same source a second time changes nothing."""
    _, is_new = CountedSource.objects.get_or_create(source=batch.source)
    if not is_new:
        return
    _count_service(batch)
    if not len(batch) or batch.version_id is None:
        return
    version = ModelVersion.objects.select_related("model", "reference").get(pk=batch.version_id)
    try:
        with transaction.atomic():
            _count_rows(batch, version)
    except DatabaseError:
        raise
    except Exception:
        # Reference data that cannot be read any more must not keep predictions out of the database.
        logger.exception("rows_not_counted", version=version.pk, source=batch.source, rows=len(batch))


def _count_rows(batch: CallBatch, version: ModelVersion) -> None:
    known = reference.of(version)
    if known is None:
        logger.info("not_counted_without_reference", version=version.pk, rows=len(batch))
        return
    inputs = columns.of_table(batch.columns)
    answers = columns.of_answers(
        version.schema_object.target,
        labels=batch.labels,
        values=batch.values,
        probabilities=batch.probabilities,
        classes=batch.classes,
    )
    parts = []
    for hour, positions in _by_hour(batch.at):
        outputs = known.outputs and profiles.count(
            columns.rows_of(answers, positions), known.outputs, len(positions)
        )
        counts = profiles.count(columns.rows_of(inputs, positions), known.inputs, len(positions))
        parts.append(
            ProfilePart(
                version=version,
                environment=batch.environment,
                hour=hour,
                source=batch.source,
                rows=len(positions),
                inputs=counts.to_json(),
                outputs=outputs.to_json() if outputs else None,
            )
        )
    ProfilePart.objects.bulk_create(parts)


def _count_service(batch: CallBatch) -> None:
    minutes: dict[datetime, list[int]] = {}
    for position, at in enumerate(batch.call_at):
        minutes.setdefault(at.replace(second=0, microsecond=0), []).append(position)
    ServicePart.objects.bulk_create(
        ServicePart(
            model_id=batch.model_id,
            version_id=batch.version_id,
            environment=batch.environment,
            channel=batch.channel,
            hour=minute.replace(minute=0),
            minute=minute,
            source=batch.source,
            requests=len(positions),
            rows=sum(batch.call_rows[i] for i in positions),
            errors=Counter(str(batch.call_statuses[i]) for i in positions if batch.call_statuses[i] >= 400),
            latencies=latency.histogram(batch.call_latencies[i] for i in positions),
        )
        for minute, positions in minutes.items()
    )


def _by_hour(times: Sequence[datetime]) -> list[tuple[datetime, "np.typing.NDArray[np.int64]"]]:
    hours: dict[datetime, list[int]] = {}
    for position, at in enumerate(times):
        hours.setdefault(at.replace(minute=0, second=0, microsecond=0), []).append(position)
    return [(hour, np.array(positions, dtype=np.int64)) for hour, positions in hours.items()]
