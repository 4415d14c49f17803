"""Files by SHA-256: put once, opened as bytes, never loaded. Their keys come from their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from django.conf import settings
from django.utils.translation import gettext as _

from registry import storage
from registry.errors import TooLarge, Unavailable, Unreadable

BLOCK = 1 << 20


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True)
class Received:
    """A file that has arrived whole on this machine, not yet kept."""

    path: Path
    sha256: str
    size: int


@contextmanager
def receive(file: Readable, limit: int) -> Iterator[Received]:
    """Copy an upload to a scratch file, hashing it; TooLarge over `limit` bytes, Unreadable when empty."""
    with storage.scratch() as path:
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as out:
            while block := file.read(BLOCK):
                size += len(block)
                if size > limit:
                    raise TooLarge(
                        _("The file is larger than the limit of %(limit)d MiB.") % {"limit": limit >> 20},
                        code="too_large",
                    )
                digest.update(block)
                out.write(block)
        if size == 0:
            raise Unreadable(_("The file is empty."), code="empty_file", fix=_("Choose the file again."))
        yield Received(path, digest.hexdigest(), size)


def keep(received: Received) -> None:
    """Store a received file under its hash; storing the same bytes again changes nothing."""
    key = key_of(received.sha256)
    if not storage.exists(key):
        storage.put(key, received.path)


def key_of(sha256: str) -> str:
    return f"artifacts/{sha256[:2]}/{sha256}"


def exists(sha256: str) -> bool:
    return storage.exists(key_of(sha256))


def has_size(sha256: str, size: int) -> bool:
    """Are as many bytes stored as were uploaded? Quick, and enough to see a file that was cut off or replaced."""
    return storage.size(key_of(sha256)) == size


def open_artifact(sha256: str) -> IO[bytes]:
    return storage.open_read(key_of(sha256))


def is_intact(sha256: str) -> bool:
    """Do the stored bytes still have this hash?"""
    try:
        with open_artifact(sha256) as file:
            return _hash(file) == sha256
    except FileNotFoundError:
        return False


def local_path(sha256: str) -> Path:
    """The bytes as a file of this machine; from a remote storage they are cached by hash and verified first."""
    on_disk = storage.local_path(key_of(sha256))
    if on_disk is not None:
        return on_disk
    cached = cache_root() / sha256[:2] / sha256
    if not cached.exists():
        _fetch(sha256, cached)
    return cached


def cache_root() -> Path:
    return Path(settings.DATA_DIR) / "cache" / "artifacts"


def _fetch(sha256: str, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with storage.scratch() as path:
        with open_artifact(sha256) as file, path.open("wb") as out:
            found = _hash(file, out)
        if found != sha256:
            raise Unavailable(
                _("The stored file differs from the one that was uploaded."), code="artifact_altered"
            )
        os.link(path, target)


def _hash(file: IO[bytes], copy: IO[bytes] | None = None) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
        if copy is not None:
            copy.write(block)
    return digest.hexdigest()
