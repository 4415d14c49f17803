"""Files in storage (disk or S3 through django-storages): a few calls, keys chosen by us, never by a client."""

import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

SCRATCH_SECONDS = 24 * 3600.0


def exists(key: str) -> bool:
    return default_storage.exists(key)


def size(key: str) -> int:
    """How many bytes are stored; FileNotFoundError when there are none."""
    return default_storage.size(key)


def open_read(key: str) -> IO[bytes]:
    """The stored bytes; FileNotFoundError when there are none."""
    return default_storage.open(key, "rb")


def read_intact(key: str, sha256: str) -> bytes | None:
    """The stored bytes; None when they are not the ones of that hash. FileNotFoundError when there are none."""
    with open_read(key) as file:
        data = file.read()
    return data if hashlib.sha256(data).hexdigest() == sha256 else None


def put(key: str, path: Path) -> None:
    """Store the file at `path` under `key`, whole or not at all; what was there is replaced."""
    on_disk = local_path(key)
    if on_disk is not None:
        _put_on_disk(on_disk, path)
        return
    with path.open("rb") as file:
        default_storage.delete(key)
        default_storage.save(key, File(file))


def delete(key: str) -> None:
    default_storage.delete(key)


def delete_torn(key: str) -> None:
    """Delete what a `put` under this key left on the disk when it was killed."""
    on_disk = local_path(key)
    if on_disk is not None:
        for path in on_disk.parent.glob(f"{glob.escape(_torn_prefix(on_disk))}*"):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(folder: str) -> list[str]:
    """What lies directly in `folder`; nothing when there is no such folder."""
    try:
        return default_storage.listdir(folder)[1]
    except FileNotFoundError:
        return []


def local_path(key: str) -> Path | None:
    """Where the bytes lie on this machine, when the storage is its disk."""
    try:
        return Path(default_storage.path(key))
    except NotImplementedError:
        return None


@contextmanager
def scratch(suffix: str = "") -> Iterator[Path]:
    """A private temporary file of this machine, gone afterwards."""
    handle, name = tempfile.mkstemp(dir=settings.FILE_UPLOAD_TEMP_DIR, suffix=suffix)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def sweep_scratch() -> int:
    """Delete this machine's temporary files that are older than a day: whoever wrote them was killed. How many."""
    swept = 0
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        with suppress(FileNotFoundError):
            if path.is_file() and time.time() - path.stat().st_mtime > SCRATCH_SECONDS:
                path.unlink()
                swept += 1
    return swept


def _torn_prefix(target: Path) -> str:
    return f".put-{target.name}-"


def _put_on_disk(target: Path, source: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_torn_prefix(target))
    try:
        with os.fdopen(handle, "wb") as out, source.open("rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
