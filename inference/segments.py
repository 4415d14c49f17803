"""Append-only files that survive `kill -9`: one frame a call, written by one system call.

A frame is a magic, the length and the CRC-32 of its payload, then the payload. Each process writes files of its own
and holds a lock on the one it writes to; the kernel drops that lock whenever and however the process dies, so anyone
can tell a living segment from a finished one. No Django in here.
"""

import errno
import fcntl
import itertools
import os
import secrets
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = ".seg"
MAGIC = b"MGL1"
HEADER = struct.Struct("<4sII")
MAX_PAYLOAD = 256 * 1024 * 1024
ROTATE_BYTES = 64 * 1024 * 1024
ROTATE_SECONDS = 24 * 3600.0  # so that what the database forgets is not kept in a file for long
READ_BYTES = 4 * 1024 * 1024

_sequence = itertools.count()


def frame(payload: bytes) -> bytes:
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


class Writer:
    """Appends frames for one process. Safe among threads, and starts afresh in a forked child."""

    def __init__(self, folder: Path, *, fsync: bool = False, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.folder = folder
        self.fsync = fsync
        self.rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._size = 0
        self._rotate_at = 0.0
        os.register_at_fork(after_in_child=self._forget)

    def append(self, payload: bytes) -> None:
        """Write one frame or nothing; OSError when it is not on its way to the disk."""
        data = frame(payload)
        with self._lock:
            if self._fd < 0 or self._size >= self.rotate_bytes or time.monotonic() > self._rotate_at:
                self._rotate()
            self._write(data)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError:
            self._undo()
            raise
        if written != len(data):
            self._undo()
            raise OSError(errno.ENOSPC, "the frame was written only in part")
        if self.fsync:
            self._sync()
        self._size += written

    def _sync(self) -> None:
        """What may not be on the disk must not be in the file either: nobody is told that it was recorded."""
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._undo()
            raise

    def _undo(self) -> None:
        """Leave no torn frame behind; where even that fails, the next call begins a new file."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._close()

    def _rotate(self) -> None:
        self._close()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = (
            f"{socket.gethostname()}-{time.time_ns()}-{os.getpid()}-{next(_sequence)}-{secrets.token_hex(4)}"
        )
        hidden = self.folder / f"{name}.new"
        fd = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Locked before it gets its name: a reader never takes a newborn segment for an orphan.
            fcntl.flock(fd, fcntl.LOCK_EX)
            hidden.rename(self.folder / f"{name}{SUFFIX}")
        except OSError:
            os.close(fd)
            raise
        self._fd, self._size = fd, 0
        self._rotate_at = time.monotonic() + ROTATE_SECONDS

    def _close(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
        self._fd, self._size = -1, 0

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._close()


@dataclass
class Frames:
    """What was read from a segment: whole frames, where the next one begins, how much was damaged."""

    end: int
    payloads: list[bytes] = field(default_factory=list)
    lost: int = 0
    places: list[int] = field(default_factory=list)  # where in the file each frame begins

    def placed(self) -> Iterator[tuple[int, bytes]]:
        return zip(self.places, self.payloads, strict=True)


def read(path: Path, offset: int, *, limit: int = READ_BYTES) -> Frames:
    """Whole frames from `offset`, about `limit` bytes of them. A torn tail is left for later; damage is skipped."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(limit)
        needed = _needed(data)
        if needed > len(data):
            data += file.read(needed - len(data))
    frames, position = Frames(offset), 0
    while True:
        payload = _payload_at(data, position)
        if payload is not None:
            frames.payloads.append(payload)
            frames.places.append(offset + position)
            position += HEADER.size + len(payload)
            continue
        found = _next_frame(data, position + 1) if _is_damaged(data, position) else -1
        if found < 0:
            break
        frames.lost += found - position
        position = found
    frames.end = offset + position
    return frames


def overwrite(path: Path, change: Callable[[bytes], bytes | None]) -> int:
    """Replace payloads in place, each by one of the same length or (None) by nothing; how many were.

    Each is one write, so that a kill leaves the old frame or the new one. The writer only ever appends, and readers
    are kept away by the turn.
    """
    changed, offset = 0, 0
    with path.open("r+b", buffering=0) as file:
        while (frames := read(path, offset)).payloads:
            for position, payload in frames.placed():
                new = change(payload)
                if new is None:
                    continue
                if len(new) != len(payload):
                    raise ValueError("a frame cannot change its length")
                os.pwrite(file.fileno(), frame(new), position)
                changed += 1
            offset = frames.end
        if changed:
            os.fdatasync(file.fileno())
    return changed


def _needed(data: bytes) -> int:
    """How many bytes the first frame has, when it is longer than what was read."""
    if len(data) < HEADER.size or data[:4] != MAGIC:
        return 0
    length = HEADER.unpack_from(data)[1]
    return HEADER.size + length if length <= MAX_PAYLOAD else 0


def _payload_at(data: bytes, position: int) -> bytes | None:
    """The payload of a whole and sound frame, else None."""
    start = position + HEADER.size
    if len(data) < start:
        return None
    magic, length, checksum = HEADER.unpack_from(data, position)
    payload = data[start : start + length]
    sound = magic == MAGIC and len(payload) == length and zlib.crc32(payload) == checksum
    return payload if sound else None


def _is_damaged(data: bytes, position: int) -> bool:
    return position < len(data)


def _next_frame(data: bytes, position: int) -> int:
    """Where the next sound frame begins; -1 when none does in these bytes."""
    while (position := data.find(MAGIC, position)) >= 0:
        if _payload_at(data, position) is not None:
            return position
        position += 1
    return -1


def segments(folder: Path) -> list[Path]:
    """Every segment of this machine, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.name.split("-")[-4:])


@contextmanager
def owned_if_orphan(path: Path) -> Iterator[bool]:
    """Whether the segment's writer is gone; while the block runs, it cannot be taken for anything else."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def turn(path: Path, *, wait: bool) -> Iterator[bool]:
    """One at a time on this machine; without `wait`, False when somebody else is at it. Death gives the turn back."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
