"""Landlock: which files this process may still read. Everything else of the file system is closed, writing everywhere.

A newer kernel holds more (TCP, abstract sockets and signals too); an older one holds what it knows, and the seccomp
filter closes the network and all changes of files in any case.
"""

import ctypes
import os
import struct
import sysconfig
from collections.abc import Iterable

from . import kernel

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every machine
VERSION = 1
PATH_BENEATH = 1

READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILES_SINCE = {
    1: (1 << 13) - 1,
    2: 1 << 13,
    3: 1 << 14,
    5: 1 << 15,
}  # rights of files, by the ABI that added them
TCP_SINCE, BIND_AND_CONNECT = 4, 3
SCOPES_SINCE, ABSTRACT_SOCKETS_AND_SIGNALS = 6, 3

# What imports need: the standard library, the installed packages, and the system's libraries that they are linked to.
PYTHON = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/ld.so.cache",
)
INSTALLATION = (*dict.fromkeys(PYTHON), *SYSTEM)


def abi() -> int:
    """The version of Landlock that this kernel speaks; 0 when it has none, or has it switched off."""
    try:
        return kernel.syscall(CREATE_RULESET, None, 0, VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str] = INSTALLATION) -> str:
    """From here on only `readable` can be read. Raises OSError where the kernel has no Landlock."""
    found = abi()
    if not found:
        raise OSError("this kernel has no Landlock, or has it switched off")
    if len(os.listdir("/proc/self/task")) > 1:
        raise OSError("other threads of this process would stay free")
    ruleset = _create(found)
    try:
        for path in readable:
            _allow(ruleset, path)
        kernel.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return f"on: version {found}"


def _create(found: int) -> int:
    files = sum(rights for since, rights in FILES_SINCE.items() if since <= found)
    attributes = struct.pack("Q", files)
    if found >= TCP_SINCE:
        attributes += struct.pack("Q", BIND_AND_CONNECT)
    if found >= SCOPES_SINCE:
        attributes += struct.pack("Q", ABSTRACT_SOCKETS_AND_SIGNALS)
    return kernel.syscall(CREATE_RULESET, _buffer(attributes), len(attributes), 0)


def _allow(ruleset: int, path: str) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
        kernel.syscall(ADD_RULE, ruleset, PATH_BENEATH, _buffer(struct.pack("=Qi", rights, beneath)), 0)
    finally:
        os.close(beneath)


def _buffer(data: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(data, len(data))
