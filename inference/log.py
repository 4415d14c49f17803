"""The durable prediction log: the record is on its way to the disk before the answer leaves.

`record` appends one frame a call to this process's segment. `ingest` reads every segment of this machine into the
database, exactly once: the rows, what the sinks count, and the offset are one transaction. The tick calls it, and so
does whoever looks for a prediction that is not there yet.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import logged, ports, segments
from inference.logged import Logged
from inference.models import Call, Erasure, LogSegment, Prediction
from inference.pace import Pace
from inference.ports import CallBatch, Label
from inference.validation import trusted_table
from registry.errors import Unavailable
from registry.models import ApiKey, ModelVersion, Release, User
from registry.schema import Schema

logger = structlog.get_logger(__name__)

KEEP_FINISHED = timedelta(days=7)
INSERT_ROWS = 500
#: Answers and refusals that count as service figures of the model; other refusals say nothing about it.
SERVICE = frozenset({200, 422, 503, 504})


@dataclass(frozen=True, kw_only=True)
class LoggedCall:
    """One call as the log keeps it; a refused one has a status and a count, but nobody's inputs."""

    request_id: str
    at: datetime
    model_id: int | None
    version_id: int | None
    release_id: int | None
    release_number: int | None
    environment: str
    channel: str
    user_id: int | None
    user_name: str
    key_id: int | None
    key_name: str
    status: int
    code: str = ""
    latency_ms: float | None
    asked: int
    rows: Logged = ()

    def to_bytes(self) -> bytes:
        body = {
            "request_id": self.request_id,
            "at": self.at.timestamp(),
            "model": self.model_id,
            "version": self.version_id,
            "release": self.release_id,
            "release_number": self.release_number,
            "environment": self.environment,
            "channel": self.channel,
            "user": self.user_id,
            "user_name": self.user_name,
            "key": self.key_id,
            "key_name": self.key_name,
            "status": self.status,
            **({"code": self.code} if self.code else {}),
            "ms": self.latency_ms,
            "asked": self.asked,
            **logged.named(self.rows),
        }
        return orjson.dumps(body)


def folder() -> Path:
    return _folder(str(settings.DATA_DIR))


@lru_cache(maxsize=4)
def _folder(data_dir: str) -> Path:
    return Path(data_dir) / "log" / "predictions"


@lru_cache(maxsize=4)
def _writer(place: Path, fsync: bool) -> segments.Writer:
    return segments.Writer(place, fsync=fsync)


def record(call: LoggedCall) -> None:
    """Write the call down, or refuse it: an answer without its record must not leave."""
    try:
        _writer(folder(), settings.MODELGATE_LOG_FSYNC).append(call.to_bytes())
    except OSError as error:
        logger.exception("prediction_log_failed", request_id=call.request_id)
        raise Unavailable(
            _("The prediction could not be recorded, so it is not given."),
            code="log_unavailable",
            fix=_("Try again; if it stays so, tell an administrator that the data disk may be full."),
            retry_after=5,
        ) from error


def waiting_bytes() -> int:
    """How much of this machine's log is not in the database yet."""
    place = folder()
    paths = segments.segments(place) if place.is_dir() else []
    read = dict(
        LogSegment.objects.filter(name__in=[path.name for path in paths]).values_list("name", "offset")
    )
    waiting = 0
    for path in paths:
        with suppress(FileNotFoundError):  # read to its end, and gone, while we looked
            waiting += max(0, path.stat().st_size - read.get(path.name, 0))
    return waiting


# --- from the segments into the database ---


def ingest(*, wait: bool = False) -> int:
    """Read what is new in every segment of this machine; how many calls were taken in.

    With `wait`, whoever calls needs a prediction now. Without, nothing is done while another process is at it, other
    writers are let in between, and what would take too long is left to the next tick.
    """
    place = folder()
    if not place.is_dir():
        return 0
    pace = Pace.of_this_database(is_waited_for=wait)
    taken, failures = 0, []
    for path in segments.segments(place):
        try:
            for calls in _ingest_segment(path, pace):
                taken += calls
        except _NotOurTurn:
            break
        except FileNotFoundError:
            continue  # another reader was faster, and it is gone
        except Exception as error:
            # One that cannot be stored must not keep all later predictions out of the database.
            logger.exception("prediction_log_segment_failed", segment=path.name)
            failures.append(error)
    if failures:
        raise failures[0]
    LogSegment.objects.filter(finished=True, seen_at__lt=timezone.now() - KEEP_FINISHED).delete()
    return taken


class _NotOurTurn(Exception):
    """Somebody else reads the log, or we have done so for long enough."""


def _ingest_segment(path: Path, pace: Pace) -> Iterator[int]:
    """Up to where it ends now: what a busy process writes meanwhile is for the next time."""
    with segments.owned_if_orphan(path) as is_orphan:
        end = path.stat().st_size
        while (calls := _ingest_block(path, end, pace)) is not None:
            yield calls
            pace.make_way()
        if is_orphan:
            with _turn(pace):
                _finish(path)


@contextmanager
def _turn(pace: Pace) -> Iterator[None]:
    with segments.turn(folder() / "ingest.lock", wait=pace.is_waited_for) as is_ours:
        if not is_ours or pace.is_over():
            raise _NotOurTurn
        yield


def _ingest_block(path: Path, end: int, pace: Pace) -> int | None:
    """One transaction; how many calls it took in, or None when there is nothing left."""
    name = path.name
    with _turn(pace):
        offset = LogSegment.objects.get_or_create(name=name)[0].offset
        if offset >= end:
            return None
        frames = segments.read(path, offset, limit=pace.bytes)
        if not frames.payloads and end - offset > pace.bytes:
            frames = segments.read(path, offset, limit=end - offset)  # damage longer than one block
        if not frames.payloads:
            return None
        with pace.timed():
            is_stored = _store(name, offset, frames)
    return len(frames.payloads) if is_stored else None


def _finish(path: Path) -> None:
    """The writer is gone and all that is whole has been read: what remains can only be a torn tail."""
    segment = LogSegment.objects.get(name=path.name)
    torn = path.stat().st_size - segment.offset
    if torn:
        # The call behind it was never answered: the answer leaves after the frame is whole.
        logger.warning("prediction_log_torn_tail", segment=path.name, bytes=torn)
    path.unlink()
    segment.finished, segment.lost = True, segment.lost + torn
    segment.save(update_fields=["finished", "lost"])


def _store(name: str, start: int, frames: segments.Frames) -> bool:
    """Rows, counts and the new offset in one transaction; False when another reader was faster."""
    if frames.lost:
        logger.error("prediction_log_damaged", segment=name, offset=start, bytes=frames.lost)
    calls = list(_parse(name, frames.payloads))
    with transaction.atomic():
        moved = LogSegment.objects.filter(name=name, offset=start, finished=False).update(
            offset=frames.end, seen_at=timezone.now()
        )
        if not moved:
            return False
        if frames.lost:
            LogSegment.objects.filter(name=name).update(lost=F("lost") + frames.lost)
        _drop_known_rows(calls)
        rows = [_prediction(call, row) for call in calls for row in call["rows"]]
        Prediction.objects.bulk_create(rows, batch_size=INSERT_ROWS, ignore_conflicts=True)
        Call.objects.bulk_create([_call(call) for call in calls], batch_size=INSERT_ROWS)
        about_models = [call for call in calls if _is_about_its_model(call)]
        for batch in _batches(f"log:{name}:{start}", about_models):
            ports.publish(batch)
    return True


def _parse(name: str, payloads: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The calls of known versions; one that cannot be placed is named in the log and does not stop the others."""
    calls = [orjson.loads(payload) for payload in payloads]
    known = set(
        ModelVersion.objects.filter(
            pk__in={call["version"] for call in calls if call["version"]}
        ).values_list("pk", "model_id")
    )
    _forget_the_deleted(calls)
    for call in calls:
        if call["version"] is None or (call["version"], call["model"]) in known:
            call["at"] = datetime.fromtimestamp(call["at"], UTC)
            call["rows"] = logged.rows_of(call)
            yield call
        else:
            logger.error("prediction_log_unknown_version", segment=name, request_id=call["request_id"])


def _forget_the_deleted(calls: Sequence[dict[str, Any]]) -> None:
    """People, keys and releases that are gone since leave their copied names and numbers."""
    for field_name, model in (("user", User), ("key", ApiKey), ("release", Release)):
        named = {call[field_name] for call in calls} - {None}
        gone = named - set(model._base_manager.filter(pk__in=named).values_list("pk", flat=True))
        for call in calls:
            if call[field_name] in gone:
                call[field_name] = None


def _drop_known_rows(calls: list[dict[str, Any]]) -> None:
    """A form that was sent twice is one prediction: rows that are there already are not counted again."""
    ids = [row["id"] for call in calls for row in call["rows"]]
    seen: set[str] = set()
    for begin in range(0, len(ids), INSERT_ROWS):
        some = ids[begin : begin + INSERT_ROWS]
        for known in (Prediction, Erasure):
            seen.update(known._base_manager.filter(public_id__in=some).values_list("public_id", flat=True))
    for call in calls:
        fresh = []
        for row in call["rows"]:
            if row["id"] not in seen:
                seen.add(row["id"])
                fresh.append(row)
        call["rows"] = fresh


def _is_about_its_model(call: Mapping[str, Any]) -> bool:
    return call["status"] in SERVICE and call.get("code") != "unknown_environment"


def _call(call: Mapping[str, Any]) -> Call:
    return Call(
        at=call["at"],
        request_id=call["request_id"],
        model_id=call["model"],
        version_id=call["version"],
        environment=call["environment"],
        channel=call["channel"],
        user_id=call["user"],
        user_name=call["user_name"],
        key_id=call["key"],
        key_name=call["key_name"],
        status=call["status"],
        code=call.get("code", ""),
        rows=call["asked"],
        latency_ms=call["ms"],
    )


def _prediction(call: Mapping[str, Any], row: Mapping[str, Any]) -> Prediction:
    return Prediction(
        public_id=row["id"],
        model_id=call["model"],
        version_id=call["version"],
        release_id=call["release"],
        release_number=call["release_number"],
        environment=call["environment"],
        channel=call["channel"],
        user_id=call["user"],
        user_name=call["user_name"],
        key_id=call["key"],
        key_name=call["key_name"],
        at=call["at"],
        inputs=row["inputs"],
        label=row["label"],
        value=row["value"],
        probabilities=row["probabilities"],
        warnings=row["warnings"],
        why=row.get("why"),
        latency_ms=call["ms"],
        request_id=call["request_id"],
    )


def _batches(source: str, calls: Iterable[dict[str, Any]]) -> Iterator[CallBatch]:
    groups: dict[tuple[int, int | None, str, str], list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        groups[call["model"], call["version"], call["environment"], call["channel"]].append(call)
    schemas = _schemas(version_id for _model, version_id, _environment, _channel in groups)
    for position, ((model_id, version_id, environment, channel), group) in enumerate(groups.items()):
        schema = schemas.get(version_id)
        rows = [row for call in group for row in call["rows"]]
        classes = schema.target.classes if schema else ()
        yield CallBatch(
            source=f"{source}:{position}",
            model_id=model_id,
            version_id=version_id,
            environment=environment,
            channel=channel,
            columns=_columns(schema, rows),
            at=[call["at"] for call in group for _row in call["rows"]],
            labels=[row["label"] for row in rows],
            values=[row["value"] for row in rows],
            probabilities=[_in_order(row["probabilities"], classes) for row in rows] if classes else (),
            classes=classes,
            call_at=[call["at"] for call in group],
            call_statuses=[call["status"] for call in group],
            call_latencies=[call["ms"] for call in group],
            call_rows=[call["asked"] for call in group],
        )


def _columns(schema: Schema | None, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    if schema is None:
        return pa.table({})
    return trusted_table(schema, [row["inputs"] for row in rows])


def _in_order(probabilities: Mapping[str, float] | None, classes: Sequence[Label]) -> list[float]:
    return [probabilities[str(each)] for each in classes] if probabilities else []


def _schemas(version_ids: Iterable[int | None]) -> dict[int | None, Schema]:
    versions = ModelVersion.objects.only("schema").in_bulk([each for each in version_ids if each])
    return {pk: version.schema_object for pk, version in versions.items()}
