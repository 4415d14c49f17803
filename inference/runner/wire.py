"""Frames between client, supervisor and runner: u32 length, then msgpack; descriptors travel by SCM_RIGHTS.

A frame from a runner is hostile input: its length is capped before a byte of it is read, a deadline covers the whole
frame (a peer that trickles cannot hold us), and nothing in it is ever unpickled.
"""

import array
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgpack

HEADER = struct.Struct("<I")
MAX_REQUEST = 256 << 20
MAX_CONTROL = 4 << 20
SMALL = 1 << 16


class Closed(ConnectionError):
    """The other end is gone."""


class BadFrame(ValueError):
    """What arrived is not what was agreed."""


class Deadline:
    """A moment after which nobody waits any more; None waits for ever."""

    def __init__(self, seconds: float | None) -> None:
        self.end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        if self.end is None:
            return None
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline passed")
        return left


FOREVER = Deadline(None)


def send(
    sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = (), deadline: Deadline = FOREVER
) -> None:
    header, body = _packed(message)
    sock.settimeout(deadline.remaining())
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sock.sendmsg([header], rights)
        sock.sendall(body)
    elif len(body) < SMALL:
        sock.sendall(header + body)
    else:
        sock.sendall(header)
        sock.sendall(body)


def _packed(message: dict[str, Any]) -> tuple[bytes, bytes]:
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return HEADER.pack(len(body)), body


class Letters:
    """Frames to a listener for whom the sender must not wait: what does not fit now is sent by `finish`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest: list[memoryview] = []

    def send(self, message: dict[str, Any]) -> None:
        """As much of it as goes at once; raises OSError when nobody listens, and what packing raises."""
        data = memoryview(b"".join(_packed(message)))
        if not self._rest:
            data = self._left_of(data)
        if data:
            self._rest.append(data)

    def _left_of(self, data: memoryview) -> memoryview:
        with suppress(BlockingIOError):
            while data:
                data = data[self._sock.send(data, socket.MSG_DONTWAIT) :]
        return data

    def finish(self) -> None:
        """Wait until all is sent."""
        self._sock.settimeout(None)
        for data in self._rest:
            self._sock.sendall(data)


def receive(sock: socket.socket, limit: int = MAX_CONTROL, deadline: Deadline = FOREVER) -> dict[str, Any]:
    header = _read(sock, HEADER.size, deadline)
    return _body(sock, header, limit, deadline)


def receive_with_fds(
    sock: socket.socket, count: int = 1, limit: int = MAX_CONTROL, deadline: Deadline = FOREVER
) -> tuple[dict[str, Any], list[int]]:
    """A frame and up to `count` descriptors. The caller owns them, also when it finds fewer than it hoped for."""
    sock.settimeout(deadline.remaining())
    space = socket.CMSG_SPACE(count * array.array("i").itemsize)
    header, ancillary, _flags, _address = sock.recvmsg(HEADER.size, space, socket.MSG_CMSG_CLOEXEC)
    fds = _descriptors(ancillary)
    try:
        if not header:
            raise Closed("peer closed")
        if len(header) < HEADER.size:
            header += bytes(_read(sock, HEADER.size - len(header), deadline))
        return _body(sock, header, limit, deadline), fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _body(sock: socket.socket, header: bytes | bytearray, limit: int, deadline: Deadline) -> dict[str, Any]:
    (size,) = HEADER.unpack(header)
    if size > limit:
        raise BadFrame(f"frame of {size} bytes, at most {limit} expected")
    try:
        message = msgpack.unpackb(
            _read(sock, size, deadline),
            raw=False,
            strict_map_key=True,
            max_str_len=MAX_CONTROL,
            max_bin_len=limit,
            max_array_len=1_000_000,
            max_map_len=10_000,
        )
    except Closed:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise BadFrame(f"not a frame of ours: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise BadFrame("not a mapping")
    return message


def _read(sock: socket.socket, size: int, deadline: Deadline) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    done = 0
    while done < size:
        sock.settimeout(deadline.remaining())
        count = sock.recv_into(view[done:])
        if not count:
            raise Closed("peer closed")
        done += count
    return buffer
