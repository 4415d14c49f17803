"""Where the files of a job lie in storage: keys made of ids that we chose."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from inference.models.batches import BatchChunk, BatchJob
from registry import storage


def folder(job: BatchJob) -> str:
    return f"batches/{job.public_id}"


def upload_key(job: BatchJob) -> str:
    return f"{folder(job)}/upload"


def source_key(job: BatchJob, index: int) -> str:
    return f"{folder(job)}/rows-{index:06d}.parquet"


def part_key(chunk: BatchChunk) -> str:
    """Named by the fencing token too: who lost the lease writes beside the part that counts, never over it."""
    return f"{folder(chunk.job)}/part-{chunk.index:06d}-{chunk.token}.parquet"


def output_key(job: BatchJob, name: str) -> str:
    """Named by the job's token, for the same reason."""
    return f"{folder(job)}/{name}-{job.token}"


@contextmanager
def local_copy(key: str) -> Iterator[Path]:
    """A stored file as a path of this machine: itself on a disk storage, else a scratch copy."""
    on_disk = storage.local_path(key)
    if on_disk is not None:
        yield on_disk
        return
    with storage.scratch() as path:
        with storage.open_read(key) as file, path.open("wb") as out:
            shutil.copyfileobj(file, out, 2**20)
        yield path


def open_output(job: BatchJob, name: str) -> IO[bytes]:
    return storage.open_read(job.files[name])


def delete_rows(job: BatchJob) -> None:
    """Delete every file of the job, also the parts of workers that lost their lease."""
    job.refresh_from_db(fields=["files"])  # an erasure may have replaced them
    for chunk in job.chunks.all():
        storage.delete(chunk.source_key)
        delete_parts(chunk, chunk.token)
        if chunk.part_key:
            storage.delete(chunk.part_key)
    for key in job.files.values():
        storage.delete(key)
    storage.delete(upload_key(job))


def delete_sources(job: BatchJob) -> None:
    """The parts hold the cells too: once every row is scored, the rows as they came are no longer needed."""
    for chunk in job.chunks.all():
        storage.delete(chunk.source_key)
        delete_parts(chunk, chunk.token, keep=chunk.part_key)


def delete_parts(chunk: BatchChunk, up_to: int, keep: str = "") -> None:
    for token in range(1, up_to + 1):
        key = f"{folder(chunk.job)}/part-{chunk.index:06d}-{token}.parquet"
        if key != keep:
            storage.delete(key)
