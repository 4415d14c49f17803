"""What people take away: results and problem rows as files, and the template they start from. Each is audited."""

import csv
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from inference.batches import files, finishing, results
from inference.batches.verbs import require_rows
from inference.models.batches import BatchJob
from registry import audit, spreadsheet
from registry.audit import Action
from registry.errors import Gone, Invalid, NotFound, Refused
from registry.models import ModelVersion
from registry.schema import Field
from registry.tables import read_dataset

State = BatchJob.State

CSV, CSV_RAW, PARQUET = "csv", "csv-raw", "parquet"
FORMATS = (CSV, CSV_RAW, PARQUET)
_TYPES = {
    CSV: "text/csv; charset=utf-8",
    CSV_RAW: "text/csv; charset=utf-8",
    PARQUET: "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Download:
    """An open file with the name and the type under which it is sent."""

    file: IO[bytes]
    name: str
    content_type: str


def open_result(job: BatchJob, *, actor: Any, form: str = CSV) -> Download:
    """The scored rows. Refused (409) before the end, Gone (410) after their time; a stopped job gives its part."""
    require_rows(actor, job)
    if form not in FORMATS:
        raise Invalid(_("Choose one of: %(names)s.") % {"names": ", ".join(FORMATS)}, code="unknown_format")
    _refuse_unless_there(job, "result")
    _record(job, actor, "result", form)
    file = files.open_output(job, "result") if form == CSV else _made(job, form)
    ending = "parquet" if form == PARQUET else "csv"
    return Download(file, finishing.result_name(job, "result", ending), _TYPES[form])


def open_problems(job: BatchJob, *, actor: Any) -> Download:
    """The rows that could not be scored, with what is wrong and how to mend it."""
    require_rows(actor, job)
    _refuse_unless_there(job, "problems")
    _record(job, actor, "problems", CSV)
    return Download(
        files.open_output(job, "problems"), finishing.result_name(job, "problems", "csv"), _TYPES[CSV]
    )


def _refuse_unless_there(job: BatchJob, name: str) -> None:
    if job.state == State.EXPIRED:
        raise Gone(_("The rows of this job were deleted; its numbers are kept."))
    if not job.is_finished:
        raise Refused(_("The job is not finished yet."), code="not_finished", fix=_("Wait until it is done."))
    if name in job.files:
        return
    if name == "problems" and job.has_result:
        raise NotFound(_("Every row could be scored: there are no problem rows."), code="no_problems")
    raise Refused(_("This job has no result."), code="no_result", fix=job.error)


@transaction.atomic
def _record(job: BatchJob, actor: Any, what: str, form: str) -> None:
    audit.record(Action.BATCH_DOWNLOADED, target=job, actor=actor, what=what, format=form)


def _made(job: BatchJob, form: str) -> IO[bytes]:
    """Write another form of the result from its parts, into a file without a name that goes with its handle."""
    layout = results.layout_of(job)
    tables: Iterator[pa.Table] = map(results.open_part, results.done_chunks(job))
    handle, name = tempfile.mkstemp(dir=settings.FILE_UPLOAD_TEMP_DIR)
    path = Path(name)
    try:
        if form == PARQUET:
            results.write_parquet(path, layout, tables)
        else:
            with path.open("w", encoding="utf-8", newline="") as out:
                results.write_result(out, layout, tables, raw=True)
        return path.open("rb")
    finally:
        os.close(handle)
        path.unlink()


def template(version: ModelVersion, rows: int = 0) -> bytes:
    """A file to start from: the columns that the version reads, and real example rows when asked."""
    schema = version.schema_object
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spreadsheet.escape(name) for name in schema.names])
    for row in _example_rows(version, rows):
        writer.writerow([spreadsheet.escape(_cell(each, row.get(each.name))) for each in schema.fields])
    return (results.BOM + out.getvalue()).encode()


def _example_rows(version: ModelVersion, count: int) -> list[dict[str, Any]]:
    """Rows of the reference data, which the model knows; else the schema's own examples."""
    if not count:
        return []
    if version.reference is not None:
        rows: list[dict[str, Any]] = read_dataset(version.reference).slice(0, count).to_pylist()
        return rows
    return [dict(each.inputs) for each in version.schema_object.examples][:count]


def _cell(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if field.type == "boolean" and isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if field.type == "integer" and value.is_integer() else repr(value)
    return str(value)
