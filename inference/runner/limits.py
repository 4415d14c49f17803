"""What a runner gives up before it opens a model file. `enter_jail` is the one door: everything after it is untrusted.

Each layer answers for itself ("on" or "off: why"); none is skipped in silence. This release closes the ordinary doors
(user id, capabilities, resources, new privileges, debugging). Landlock and seccomp are further layers of the same list.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)

Layers = dict[str, str]


@dataclass(frozen=True)
class Limits:
    memory: int
    uid: int | None = None
    cpu_seconds: int | None = None
    open_files: int = (
        512  # a conversation each, and a thread: one for every thread of every web and worker process
    )
    processes: int = 512


def enter_jail(limits: Limits) -> Layers:
    """Give up, for good, what a model does not need. Called once, in the forked runner, before the file is read."""
    layers = {"process_group": _own_group()}
    layers["uid"] = _drop_user(limits.uid)
    layers["parent_death"] = die_with_parent()  # after the user id: changing it clears the signal
    layers["no_new_privs"] = _prctl(PR_SET_NO_NEW_PRIVS, 1)
    layers["dumpable"] = _prctl(PR_SET_DUMPABLE, 0)
    layers["rlimits"] = _limit_resources(limits, own_user=layers["uid"].startswith("on"))
    # Landlock (files, network, scopes) and the seccomp filter go here: last, since they deny what the lines above need.
    return layers


def die_with_parent() -> str:
    return _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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


def _own_group() -> str:
    os.setpgid(0, 0)
    return "on"


def _drop_user(uid: int | None) -> str:
    if os.geteuid() != 0:
        return "off: not started by root"
    if uid is None:
        _drop_capabilities()
        return "off: the interpreter is readable by root alone; user kept, all capabilities dropped"
    _become(uid)
    return f"on: {uid}"


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _drop_capabilities() -> None:
    for capability in range(LAST_CAPABILITY + 1):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0), 8)
    nothing = ctypes.create_string_buffer(bytes(24), 24)
    if _libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _limit_resources(limits: Limits, *, own_user: bool) -> str:
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


def _prctl(option: int, value: int) -> str:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        return f"off: {os.strerror(ctypes.get_errno())}"
    return "on"
