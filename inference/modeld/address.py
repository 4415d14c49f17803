"""A Unix socket by path, also where the path is longer than the 107 bytes that the kernel takes."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 107


@contextmanager
def short(path: Path) -> Iterator[str]:
    """The path, or a short name of the same place that holds while the block runs."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Held(socket.socket):
    """Closed when nobody holds it any more: a thread that ends leaves its conversations to nobody."""

    def __del__(self) -> None:
        self.close()


def connect(path: Path, timeout: float | None) -> socket.socket:
    sock = Held(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        with short(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: Path) -> socket.socket:
    """Listen there, readable by our own user alone from the first instant."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        with short(path) as name:
            sock.bind(name)
    finally:
        os.umask(mask)
    sock.listen(128)
    return sock
