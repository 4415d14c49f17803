"""What a runner gives up by itself: its user, its capabilities, its network, most of its resources.

Each function answers for its layer of the jail ("on" or "off: why"); `jail` calls them in the one order that works.
"""

import contextlib
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

from . import kernel

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
NEW_USERS, NEW_NAMES, NEW_IPC, NEW_NETWORK = 0x10000000, 0x04000000, 0x08000000, 0x40000000


@dataclass(frozen=True)
class Limits:
    memory: int
    uid: int | None = None
    cpu_seconds: int | None = None
    open_files: int = (
        512  # a conversation each, and a thread: one for every thread of every web and worker process
    )
    processes: int = 512


def die_with_parent() -> str:
    return _state(lambda: kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def gain_nothing() -> str:
    """No new privileges, whatever is executed: also what lets Landlock and seccomp in without root."""
    return _state(lambda: kernel.prctl(PR_SET_NO_NEW_PRIVS, 1))


def stay_closed() -> str:
    """No core file, and nobody of the same user looks into this memory."""
    return _state(lambda: kernel.prctl(PR_SET_DUMPABLE, 0))


def lead_a_group() -> str:
    return _state(lambda: os.setpgid(0, 0))


def leave_the_network() -> str:
    """An empty network and a System V world of its own. Needs root, or a kernel that lets users have namespaces."""
    users = 0 if os.geteuid() == 0 else NEW_USERS
    return _state(lambda: kernel.unshare(NEW_NETWORK | NEW_IPC | NEW_NAMES | users))


def drop_user(uid: int | None, *, was_root: bool) -> str:
    """Become `uid`, or keep the user and drop every capability. An error here is the end of the runner."""
    if uid is not None and was_root:
        _become(uid)
        return f"on: {uid}"
    _drop_capabilities()
    if not was_root:
        return "off: not started by root"
    return "off: the interpreter is readable by root alone; user kept, all capabilities dropped"


def another_user_can_run(uid: int, folder: str) -> bool:
    """Whether `uid` could read this interpreter and this folder. Asked in a child, so that nothing changes here.

    An interpreter below /root is the usual no: there a lazy import would fail after the change of user.
    """
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _become(uid)
            for path in (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), folder):
                os.listdir(path)
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def limit_resources(limits: Limits, *, own_user: bool) -> str:
    wanted = {
        "AS": limits.memory,
        "CORE": 0,
        "FSIZE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "NOFILE": limits.open_files,
    }
    if limits.cpu_seconds:
        wanted["CPU"] = limits.cpu_seconds
    if own_user:  # the count is per user: only a user of the runner's own may have one
        wanted["NPROC"] = limits.processes
    for name, value in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    return "on: " + " ".join(f"{name}={value}" for name, value in wanted.items())


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _drop_capabilities() -> None:
    """Those of root, or those that a namespace of one's own has just brought."""
    with contextlib.suppress(OSError):  # the end of the list, or nothing to drop
        for capability in range(LAST_CAPABILITY + 1):
            kernel.prctl(PR_CAPBSET_DROP, capability)
    kernel.capset(struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24))


def _state(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return f"off: {error.strerror or error}"
    return "on"
