"""What the tick does: whole days that are over move from the look-up table into files; files without rows go.

The file is on disk before any row points to it; rows point to it, and are emptied, in one transaction, and only if
each of them is still as it was read. Two workers, or a kill anywhere, lose nothing and double nothing.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from inference import leftovers
from inference.cold import columns, writing
from inference.leftovers import Overtaken
from inference.models import ColdFile, Prediction
from inference.models.predictions import PredictionQuerySet
from registry.models import ModelVersion

logger = structlog.get_logger(__name__)

MOST_ROWS = 20_000  # of one file: it is read whole to prove it
PIECE_ROWS = 2_000
SECONDS = 10.0  # of one tick; the rest waits for the next
DAY = timedelta(days=1)


class Row(NamedTuple):
    public_id: str
    pk: int


def due(now: datetime | None = None) -> PredictionQuerySet:
    """Rows whose day (UTC) is over for long enough."""
    last = (now or timezone.now()) - timedelta(hours=settings.MODELGATE_LOG_HOT_HOURS)
    midnight = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Prediction.objects.hot().filter(at__lt=midnight)


def move_old(seconds: float = SECONDS) -> int:
    """Move what is due, for about so many seconds; how many rows. One version that fails does not hold up others."""
    until, moved, failures = time.monotonic() + seconds, 0, []
    waiting = ModelVersion.objects.filter(Exists(due().filter(version=OuterRef("pk"))))
    for version in waiting.order_by("pk"):
        try:
            while time.monotonic() < until and (count := _move_some(version)):
                moved += count
        except Overtaken:
            continue  # by another worker, who is at it, or by an erasure: the next tick sees what is left
        except Exception as error:
            logger.exception("predictions_not_moved", version=str(version))
            failures.append(error)
    if moved:
        logger.info("predictions_moved", rows=moved)
    if failures:
        raise failures[0]
    return moved


def drop_unneeded() -> int:
    """Delete the files whose rows were all erased or emptied by policy; how many."""
    pointing = Prediction.objects.filter(cold_file=OuterRef("pk"))
    unneeded = list(ColdFile.objects.filter(~Exists(pointing)).values_list("pk", "key"))
    for pk, key in unneeded:
        with transaction.atomic():
            if ColdFile.objects.filter(pk=pk, key=key).delete()[0]:
                leftovers.discard(key)
    return len(unneeded)


def _move_some(version: ModelVersion) -> int:
    """One file of the version's oldest day that is due; how many rows, none when there are none."""
    mine = due().filter(version=version)
    first = mine.order_by("at").values_list("at", flat=True).first()
    if first is None:
        return 0
    day = first.astimezone(UTC).date()
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    of_day = mine.filter(at__gte=begin, at__lt=begin + DAY).order_by("at")
    rows = sorted(Row(*each) for each in of_day.values_list("public_id", "pk")[:MOST_ROWS])
    number = ColdFile.objects.filter(version=version, day=day).count() + 1
    file = writing.announced(ColdFile(version=version, day=day, number=number))
    try:
        writing.store(file, _pieces(version, rows))
        _point(rows, file)
    except BaseException:
        leftovers.drop(file.key)
        raise
    return len(rows)


def _pieces(version: ModelVersion, rows: Sequence[Row]) -> Iterator[pa.Table]:
    schema = version.schema_object
    for some in _in_pieces(rows):
        found = Prediction.objects.filter(pk__in=[row.pk for row in some]).order_by("public_id")
        yield columns.table_of(schema, list(found.values("public_id", *columns.FACTS, *columns.JSON)))


def _in_pieces(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), PIECE_ROWS):
        yield rows[begin : begin + PIECE_ROWS]


@transaction.atomic
def _point(rows: Sequence[Row], file: ColdFile) -> None:
    leftovers.settle(file.key)
    file.save(force_insert=True)
    emptied = 0
    for some in _in_pieces(rows):
        still = Prediction.objects.hot().filter(pk__in=[row.pk for row in some])
        list(still.select_for_update().order_by("public_id").values_list("pk"))  # in the order of an erasure
        emptied += still.update(cold_file=file, inputs={}, why=None)
    if emptied != len(rows):
        raise Overtaken(file.key)
