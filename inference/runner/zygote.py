"""The pre-imported parent of all runners. It opens no model and holds no secret; it only forks.

Importing scikit-learn takes seconds, a fork a few milliseconds. Runners die with it (the kernel sees to that), and it
dies with the supervisor.
"""

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path

from . import jail, limits, loading, serving, wire

FIRST_UID = 60_000
REHEARSAL_MEMORY = 2 << 30


def main(control_fd: int, parent: int) -> None:
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    limits.die_with_parent()
    if os.getppid() != parent:  # it died before we asked to be told
        return
    order = wire.receive(control)
    loading.preload(frozenset((module, name) for module, name in order["admitted"]))
    drops = os.geteuid() == 0 and limits.another_user_can_run(FIRST_UID, str(Path(__file__).parent))
    layers = _rehearse(FIRST_UID if drops else None, order["without"])
    gc.collect()
    gc.freeze()  # the collector would otherwise touch, and so copy, every shared page in each runner
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    wire.send(control, {"ok": True, "pid": os.getpid(), "drops_user": drops, "layers": layers})
    with contextlib.suppress(wire.Closed):
        while True:
            _message, fds = wire.receive_with_fds(control)
            pid = os.fork()
            if pid == 0:
                _be_runner(fds[0])
            os.close(fds[0])
            wire.send(control, {"ok": True, "pid": pid})


def _rehearse(uid: int | None, without: Collection[str]) -> jail.Layers:
    """The layers that a runner will find here, from a child that enters the jail and opens no model."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                found = jail.enter(limits.Limits(memory=REHEARSAL_MEMORY, uid=uid), without)
                wire.send(theirs, {"layers": found})
            os._exit(0)
        theirs.close()
        try:
            layers: jail.Layers = wire.receive(ours)["layers"]
        except wire.Closed:
            layers = {}  # it died: nothing is known to hold
        os.waitpid(pid, 0)
    return layers


def _be_runner(fd: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        _silence()
        _close_all_but(fd)
        serving.run(socket.socket(fileno=fd))
    finally:
        os._exit(0)


def _silence() -> None:
    """A model that prints speaks to nobody."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)


def _close_all_but(keep: int) -> None:
    os.closerange(3, keep)
    os.closerange(keep + 1, 1 << 16)
