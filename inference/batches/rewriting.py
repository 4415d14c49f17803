"""Rows of a finished job without the people in them: new parts and a new result beside the old ones, put in place by an
act that is recorded elsewhere.

The row keeps its place and is marked as erased, so that every count stays. The uploaded file, and the rows as they came
where a stopped job still has them, cannot lose one row: they go whole. So such a job is not scored anew on another
version, and what it has scored stays as it is.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from django.db.models import F
from django.utils.translation import gettext as _

from inference import csvfile, leftovers
from inference.batches import files, parts, results, rows
from inference.leftovers import Overtaken
from inference.models.batches import BatchChunk, BatchJob
from registry import storage
from registry.errors import Refused

ERASED = "erased"


class NewPart(NamedTuple):
    chunk: BatchChunk
    key: str
    sha256: str


@dataclass
class JobRewrite:
    """What takes the place of a job's files; `rows` is how many predictions are erased by it."""

    job: BatchJob
    parts: list[NewPart] = field(default_factory=list)
    result: str = ""
    rows: int = 0

    @property
    def model_id(self) -> int:
        return self.job.model_id

    def swap(self) -> int:
        job = self.job
        put = {"files": {**job.files, "result": self.result}} if self.result else {}
        mine = BatchJob.objects.held(job).filter(state=job.state)
        if not mine.update(token=F("token") + 1, **put):
            raise Overtaken(job.public_id)
        for part in self.parts:
            self._swap_part(part)
        if self.result:
            leftovers.settle(self.result)
            leftovers.discard(job.files["result"])
        leftovers.discard(files.upload_key(job))
        return self.rows

    def _swap_part(self, part: NewPart) -> None:
        leftovers.settle(part.key)
        chunk = part.chunk
        same = BatchChunk.objects.filter(pk=chunk.pk, state=BatchChunk.State.DONE, part_key=chunk.part_key)
        if not same.update(part_key=part.key, sha256=part.sha256):
            raise Overtaken(chunk.part_key)
        leftovers.discard(chunk.part_key)
        leftovers.discard(chunk.source_key)

    def give_up(self) -> None:
        for key in (*(part.key for part in self.parts), self.result):
            if key:
                leftovers.drop(key)

    def history(self) -> list[dict[str, Any]]:
        upload = {"file": files.upload_key(self.job), "sha256": self.job.sha256, "becomes": None}
        return [
            upload,
            *(
                {
                    "file": part.chunk.part_key,
                    "sha256": part.chunk.sha256,
                    "becomes": {"file": part.key, "sha256": part.sha256},
                }
                for part in self.parts
            ),
        ]


def without(public_ids: Iterable[str]) -> Iterator[JobRewrite]:
    """For each job that holds some of those rows, its files without them. Refused while it is not finished."""
    wanted = rows.by_job(public_ids)
    jobs = BatchJob.objects.filter(public_id__in=wanted).exclude(state=BatchJob.State.EXPIRED)
    for job in jobs.select_related("version").order_by("pk"):
        rewrite = JobRewrite(job)
        try:
            _prepare(rewrite, wanted[job.public_id])
        except BaseException:
            rewrite.give_up()
            raise
        if rewrite.rows:
            yield rewrite


def _prepare(rewrite: JobRewrite, numbers: set[int]) -> None:
    job, blanked = rewrite.job, {}
    for chunk in results.done_chunks(job):
        if numbers.isdisjoint(range(chunk.first_row, chunk.first_row + chunk.rows)):
            continue
        table, count = _blank(results.open_part(chunk), numbers)
        if not count:
            continue
        if not job.is_finished:
            raise Refused(
                _("The job “%(job)s” is not finished.") % {"job": job},
                code="batch_not_finished",
                fix=_("Wait until it is done, or stop it; then erase its rows."),
            )
        rewrite.rows += count
        blanked[chunk.pk] = table
        _store_part(rewrite, chunk, table)
    if blanked and job.has_result:
        _store_result(rewrite, blanked)


def _store_part(rewrite: JobRewrite, chunk: BatchChunk, table: pa.Table) -> None:
    key = _new_key(rewrite.job, f"part-{chunk.index:06d}")
    with storage.scratch(".parquet") as path:
        parts.write(table, path)
        rewrite.parts.append(NewPart(chunk, key, storage.sha256_of(path)))
        storage.put(key, path)


def _store_result(rewrite: JobRewrite, blanked: Mapping[int, pa.Table]) -> None:
    job = rewrite.job
    chunks = results.done_chunks(job)
    tables = (blanked[each.pk] if each.pk in blanked else results.open_part(each) for each in chunks)
    rewrite.result = _new_key(job, "result")
    layout = results.layout_of(job)
    results.store(rewrite.result, lambda out: results.write_result(out, layout, tables))


def _new_key(job: BatchJob, name: str) -> str:
    """Unlike the keys of workers, which are made of tokens that may still come."""
    key = f"{files.folder(job)}/{name}-{secrets.token_hex(8)}"
    leftovers.announce(key)
    return key


def _blank(table: pa.Table, numbers: set[int]) -> tuple[pa.Table, int]:
    """The part with nothing left of those predictions but their place; and how many there were."""
    named = pc.is_in(table[csvfile.ROW], pa.array(sorted(numbers), pa.int64()))
    mask = pc.and_(named, pc.equal(table[parts.STATUS], parts.SCORED))
    cells = set(parts.cell_columns(table))
    columns = {name: table[name] for name in table.column_names}
    for name, column in columns.items():
        if name != csvfile.ROW:
            text = ERASED if name == parts.STATUS else "" if name in cells else None
            columns[name] = pc.if_else(mask, pa.scalar(text, column.type), column)
    return pa.table(columns), int(pc.sum(mask).as_py() or 0)
