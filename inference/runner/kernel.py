"""Calls of the kernel that Python has no name for."""

import ctypes
import os
import platform

MACHINES = ("x86_64", "aarch64")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def machine() -> int | None:
    """The column of this machine in a table of numbers, None where we have none."""
    name = platform.machine()
    return MACHINES.index(name) if name in MACHINES else None


def syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise _error()
    return result


def prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise _error()


def unshare(flags: int) -> None:
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _error()


def capset(header: bytes, data: bytes) -> None:
    if _libc.capset(_buffer(header), _buffer(data)) != 0:
        raise _error()


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
