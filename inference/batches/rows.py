"""Answers for one row of a batch, by its id: `b_<job>_<row>`, row 0-based. The rows live in the parts of the job."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inference import csvfile, ports
from inference.batches import parts, results, scoring
from inference.csvfile import Reading
from inference.models.batches import BatchChunk, BatchJob
from inference.ports import PredictionRecord

PREFIX = "b"


def prediction_id(job: BatchJob, row: int) -> str:
    return f"{PREFIX}_{job.public_id}_{row}"


def by_job(ids: Iterable[str]) -> dict[str, set[int]]:
    """The rows that ids of this kind name, by the id of their job."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for each in ids:
        prefix, _underscore, rest = each.partition("_")
        job_id, _underscore, row = rest.rpartition("_")
        if prefix == PREFIX and row.isascii() and row.isdecimal() and len(row) < 12:
            wanted[job_id].add(int(row))
    return wanted


def find(ids: Sequence[str]) -> Mapping[str, PredictionRecord]:
    """The records behind those ids that name a scored row which still exists."""
    wanted = by_job(ids)
    found: dict[str, PredictionRecord] = {}
    jobs = BatchJob.objects.filter(public_id__in=wanted).exclude(state=BatchJob.State.EXPIRED)
    for job in jobs.select_related("version", "release", "created_by"):
        found.update(_of_job(job, wanted[job.public_id]))
    return found


def _of_job(job: BatchJob, rows: set[int]) -> dict[str, PredictionRecord]:
    found: dict[str, PredictionRecord] = {}
    for chunk in results.done_chunks(job):
        here = [row for row in rows if chunk.first_row <= row < chunk.first_row + chunk.rows]
        if here:
            found.update(_of_chunk(job, chunk, here))
    return found


def _of_chunk(job: BatchJob, chunk: BatchChunk, rows: list[int]) -> dict[str, PredictionRecord]:
    table = results.open_part(chunk)
    wanted = pc.and_(
        pc.is_in(table[csvfile.ROW], pa.array(rows, pa.int64())), pc.equal(table[parts.STATUS], parts.SCORED)
    )
    table = table.filter(wanted)
    source = table.append_column(csvfile.PROBLEM, pa.nulls(len(table), pa.string()))
    reading = Reading.from_json(job.reading["file"])
    schema = job.version.schema_object
    inputs = scoring.judge(source, schema, job.reading["columns"], reading).inputs.to_pylist()
    classes = chunk.summary.get("answers", {}).get("classes", [])
    return {
        prediction_id(job, row["row"]): _record(job, chunk, row, given, classes)
        for row, given in zip(table.to_pylist(), inputs, strict=True)
    }


def _record(
    job: BatchJob, chunk: BatchChunk, row: dict[str, Any], inputs: dict[str, Any], classes: list[Any]
) -> PredictionRecord:
    names = [parts.probability_column(n) for n in range(len(classes))]
    chances = [row[name] for name in names if row.get(name) is not None]
    texts = {str(label): label for label in classes}
    return PredictionRecord(
        public_id=prediction_id(job, row[csvfile.ROW]),
        model_id=job.model_id,
        version_id=job.version_id,
        environment=job.environment,
        channel="batch",
        at=job.as_of or chunk.done_at or job.created_at,
        label=texts.get(row[parts.LABEL]),
        value=row[parts.VALUE],
        probabilities=dict(zip(texts, chances, strict=True)) if chances else None,
        inputs=inputs,
        warnings=json.loads(row[parts.WARNINGS] or "[]"),
        why=json.loads(row.get(parts.WHY) or "null"),
        release_number=job.release.number if job.release else None,
        user_id=job.created_by_id,
        user_name=str(job.created_by),
        request_id=job.request_id,
        extra={"batch": job.public_id, "row": row[csvfile.ROW], "filename": job.filename},
    )


def register() -> None:
    """Answer for batch rows wherever a prediction is asked for by its id."""
    ports.resolvers[PREFIX] = find
