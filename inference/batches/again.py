"""The same file once more, on another version, or on trial without keeping anything."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from django.conf import settings
from django.utils.translation import gettext as _

from inference import csvfile, engines
from inference.batches import files, preparing, scoring, verbs
from inference.batches.answers import Answers
from inference.batches.problems import Problems
from inference.models.batches import BatchJob
from registry import artifacts, gate, permissions, storage
from registry.artifacts import Readable
from registry.errors import Gone
from registry.models import PRODUCTION, ModelVersion, RegisteredModel

#: Rows that are scored on trial.
FIRST_ROWS = 5


def rerun(job: BatchJob, *, version: int | None = None, actor: Any) -> BatchJob:
    """A new job with the same file and options, on another version or the one that answers now.

    Refused: who may not read the job's rows, a file that was deleted, a version that may not answer here.
    """
    verbs.require_rows(actor, job)
    if job.state == BatchJob.State.EXPIRED:
        raise Gone(
            _("The rows of this job were deleted; its numbers are kept."), fix=_("Upload the file again.")
        )
    if not storage.exists(files.upload_key(job)):
        raise Gone(
            _("The uploaded file was deleted when rows of this job were erased."),
            fix=_("Upload it again, without them."),
        )
    with storage.open_read(files.upload_key(job)) as file:
        return verbs.start_batch(
            job.model,
            file,
            job.filename,
            options=job.options,
            environment=job.environment,
            version=version,
            actor=actor,
        )


def check_file(
    model: RegisteredModel,
    file: Readable,
    *,
    options: dict[str, Any] | None = None,
    environment: str = PRODUCTION,
    actor: Any,
) -> dict[str, Any]:
    """What would become of a file: rows counted, problems grouped by cause, the first rows scored. Nothing is kept."""
    permissions.require(
        permissions.can_predict(actor, model), _("You may not predict with “%(model)s”.") % {"model": model}
    )
    chosen = verbs.read_options(options or {})
    version = gate.answering_release(model, environment).version
    with artifacts.receive(file, settings.MODELGATE_MAX_BATCH) as received:
        with received.path.open("rb") as packed:
            csvfile.refuse_early(packed.read(4096))
        with storage.scratch() as path, received.path.open("rb") as packed:
            csvfile.unpack(packed, path, limit=settings.MODELGATE_MAX_BATCH)
            return _look_through(path, version, chosen)


def _look_through(path: Path, version: ModelVersion, options: dict[str, Any]) -> dict[str, Any]:
    upload = preparing.recognise(path, options)
    schema, reading = version.schema_object, upload.reading
    columns = csvfile.match_columns(reading.header, schema, options.get("mapping"))
    found, first = Problems(), None
    counts = {"total": 0, "valid": 0, "invalid": 0, "ignored": 0}
    for block in upload.blocks(preparing.MAX_ROWS):
        verdicts = scoring.judge(block.table, schema, columns, reading)
        found.merge(scoring.count_problems(verdicts, block.table, reading))
        valid = int(verdicts.valid.sum())
        counts["total"] += block.rows
        counts["ignored"] += block.ignored
        counts["valid"] += valid
        counts["invalid"] += len(block.table) - valid
        if first is None and valid:
            first = verdicts.inputs.filter(pa.array(verdicts.valid)).slice(0, FIRST_ROWS)
    return {
        "version": version.number,
        "rows": counts,
        "columns": {name: reading.header[position] for name, position in columns.items()},
        "problems": found.to_json(),
        "first_rows": _scored(version, first),
    }


def _scored(version: ModelVersion, rows: pa.Table | None) -> list[dict[str, Any]]:
    if rows is None:
        return []
    answers = Answers.joined([engines.predict(version, rows)], version.schema_object)
    return [
        {"inputs": inputs, "label": label, "value": value}
        for inputs, label, value in zip(rows.to_pylist(), answers.labels, answers.values, strict=True)
    ]
