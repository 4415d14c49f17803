"""Which rows become a version's golden ones; also for versions that were checked before there were any."""

import pyarrow as pa
import structlog
from django.utils.translation import gettext as _

from inference import dispatch, golden, runners, sampling
from inference.checks import rows
from inference.golden.replays import record_agreement
from inference.models import GoldenSet
from inference.runners import Answer, ModelError
from inference.validation import validate_columns
from registry import tables
from registry.models import ModelVersion

logger = structlog.get_logger(__name__)

TASK = "inference.checks.tasks.freeze_golden_rows"
SECONDS = 60.0
PER_TICK = 20


def rows_of(version: ModelVersion) -> tuple[pa.Table, str]:
    """The rows to freeze, and where their answers come from.

    Expected answers belong to the first rows of the reference data. Else rows from all over it are taken, or, where
    there is none, made up from the schema.
    """
    schema = version.schema_object
    if version.reference is None:
        return rows.made_up(schema), GoldenSet.Origin.HERE
    reference = tables.read_dataset(version.reference)
    if version.expected:
        count = min(len(version.expected), golden.COUNT, reference.num_rows)
        return validate_columns(schema, reference.slice(0, count)).table, GoldenSet.Origin.TRAINING
    return sampling.spread(rows.valid(reference, schema), golden.COUNT), GoldenSet.Origin.HERE


def keep(version: ModelVersion, inputs: pa.Table, answer: Answer, origin: str) -> str:
    """Freeze the answers of a version that is being checked; what an unfinished check froze before is replaced."""
    GoldenSet.objects.filter(version=version).delete()
    kept = golden.freeze(version, inputs, answer, origin)
    record_agreement(kept, version)
    return f"{_('%(count)d golden rows are kept.') % {'count': kept.rows}} {kept.proves}"


def requeue_unfrozen() -> int:
    """Hand on the versions that were released before golden rows were kept; the periodic tick calls this."""
    due = ModelVersion.objects.filter(
        state=ModelVersion.State.CHECKED, releases__isnull=False, golden=None
    ).distinct()[:PER_TICK]
    for version in due:
        dispatch.enqueue(TASK, version.pk)
    return len(due)


def freeze_late(version_id: int) -> None:
    """Freeze the answers that a released version gives now: all that can be proven of it is from now on."""
    found = ModelVersion.objects.filter(pk=version_id, state=ModelVersion.State.CHECKED, golden=None)
    version = found.select_related("model", "reference").first()
    if version is None:
        return
    inputs, _origin = rows_of(version)
    try:
        answer = runners.predict(version, inputs, SECONDS)
    except ModelError as error:  # the next tick tries again
        logger.warning("freezing_waits", version=str(version), reason=error.code)
        return
    record_agreement(golden.freeze(version, inputs, answer, GoldenSet.Origin.HERE), version)
