"""The version's file as an open descriptor: inside the store, no link on the way, the very bytes that were approved."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

CHUNK = 1 << 20


class NotInStore(ValueError):
    """The path leads elsewhere, or the bytes are not the ones recorded."""


def open_artifact(stores: Sequence[Path], path: Path, sha256: str) -> int:
    """A read-only descriptor at offset 0, for the caller to close. What is hashed is the descriptor, not the path."""
    fd = _open_below(*_locate(stores, path))
    try:
        if _hash(fd) != sha256:
            raise NotInStore("the stored file is not the one that was recorded: its SHA-256 differs")
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _locate(stores: Sequence[Path], path: Path) -> tuple[Path, tuple[str, ...]]:
    for store in stores:
        if path.is_relative_to(store):
            parts = path.relative_to(store).parts
            if parts and ".." not in parts:
                return store, parts
    raise NotInStore("the path is outside the model store")


def _open_below(store: Path, parts: tuple[str, ...]) -> int:
    """Step by step from the store's own folder, so that no link can lead out of it."""
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise NotInStore(f"the model file cannot be opened: {error.strerror}") from None
    finally:
        os.close(folder)


def _hash(fd: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(fd, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
