"""The zygote and the runners, seen from the supervisor: started, asked, watched, killed."""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.runner import jail, wire

logger = logging.getLogger("modeld")

RUNNER = Path(__file__).resolve().parent.parent / "runner" / "__main__.py"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
    "JOBLIB_MULTIPROCESSING": "0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}
START_SECONDS = 90.0
LOAD_SECONDS = 60.0
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class LoadFailed(Exception):
    """The runner said why it will not serve this file, or died before it could."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Gone(Exception):
    """The process that was asked is no more."""


class Zygote:
    """Kept alive by a thread that never ends: the kernel's parent-death signal follows the thread that started it."""

    def __init__(self, admitted: list[list[str]], without: Sequence[str] = ()) -> None:
        self.admitted = admitted
        self.without = list(without)
        self.layers: dict[str, str] | None = None  # of the jail, once it has been tried
        self.drops_user = False
        self.pid = 0
        self._control: socket.socket | None = None
        self._ready = threading.Condition()
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        threading.Thread(target=self._keep, name="zygote-keeper", daemon=True).start()

    def stop(self) -> None:
        self._closing = True
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)

    def is_ready(self) -> bool:
        return self._control is not None

    def is_alive(self, pid: int) -> bool:
        """Is this still the process that forks, and has it not ended?"""
        process = self._process
        return process is not None and process.pid == pid and process.poll() is None

    def fork(self) -> tuple[int, socket.socket]:
        """A new runner that waits for its order: its process id and our end of its control socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._fork(theirs), ours
            except BaseException:
                ours.close()
                raise

    def _fork(self, theirs: socket.socket) -> int:
        with self._ready:
            if not self._ready.wait_for(self.is_ready, START_SECONDS):
                raise Gone("the model runner's parent process does not start")
            assert self._control is not None
            try:
                deadline = wire.Deadline(10)
                wire.send(self._control, {"op": "fork"}, [theirs.fileno()], deadline)
                return int(wire.receive(self._control, deadline=deadline)["pid"])
            except (OSError, ValueError) as error:
                # Half a conversation cannot be resumed: start afresh, and let the caller try again.
                self._lose()
                raise Gone("the model runner's parent process died") from error

    def _lose(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _keep(self) -> None:
        while not self._closing:
            started = time.monotonic()
            process = self._spawn()
            process.wait()
            with self._ready:
                self._lose()
            if self._closing:
                return
            logger.warning("zygote %s ended with %s; starting another", process.pid, process.returncode)
            if time.monotonic() - started < 5:  # it cannot even start: do not spin
                threading.Event().wait(1)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", str(RUNNER), str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(
                command,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # its complaints go where ours go; a runner's go nowhere
            )
        self.pid, self._process = process.pid, process
        self._greet(ours)
        return process

    def _greet(self, control: socket.socket) -> None:
        started = time.monotonic()
        deadline = wire.Deadline(START_SECONDS)
        try:
            wire.send(control, {"admitted": self.admitted, "without": self.without}, deadline=deadline)
            reply = wire.receive(control, deadline=deadline)
        except (OSError, ValueError) as error:
            control.close()
            logger.error("zygote %s did not start: %s", self.pid, error)
            self._lose()
            return
        with self._ready:
            self.drops_user = bool(reply["drops_user"])
            self.layers = dict(reply["layers"])
            self._control = control
            self._ready.notify_all()
        logger.info("zygote %s ready in %.1f s", self.pid, time.monotonic() - started)
        for name, state in jail.missing(self.layers).items():
            logger.error("the jail lacks %s: %s", name, state)


class Runner:
    """One process that holds one version. Known by its generation, so that nobody kills a successor by mistake."""

    def __init__(self, key: str, generation: str, pid: int, control: socket.socket, parent: int) -> None:
        self.key = key
        self.generation = generation
        self.pid = pid
        self.parent = parent
        self.handed = 0  # conversations with it that were given out
        self.facts: dict[str, Any] = {}
        self.used = time.monotonic()
        self._control = control
        self._lock = threading.Lock()
        self._cpu = 0.0
        self._gone = False
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            control.close()
            raise Gone("the runner died at once") from None

    def load(self, order: dict[str, Any], artifact: int) -> None:
        deadline = wire.Deadline(LOAD_SECONDS)
        try:
            wire.send(self._control, order, [artifact], deadline)
            facts = wire.receive(self._control, limit=1 << 20, deadline=deadline)
        except TimeoutError:
            raise LoadFailed("load_timeout", f"the model did not load within {LOAD_SECONDS:.0f} s") from None
        except (OSError, ValueError):
            raise LoadFailed("load_died", "the model runner died while it loaded the file") from None
        if facts.get("ok") is not True:
            raise LoadFailed(str(facts.get("code"))[:40], str(facts.get("error"))[:2000])
        self.facts = facts

    def connect(self, *, only: bool = False) -> socket.socket:
        """A new conversation; with `only`, the runner ends when it does."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                wire.send(self._control, {"op": "connect", "only": only}, [theirs.fileno()], wire.Deadline(5))
            except OSError:
                ours.close()
                self._gone = True  # its sockets close before the kernel has buried it
                raise Gone("the runner died") from None
        self.used = time.monotonic()
        self.handed += 1
        return ours

    def is_alive(self) -> bool:
        return not self._gone and not self._has_ended()

    def _has_ended(self) -> bool:
        if self._pidfd < 0:
            return True
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(0))

    def kill(self) -> None:
        """The whole group, so that nothing it started stays. Its number cannot belong to another while we hold it."""
        self._gone = True
        if not self._has_ended():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._control.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def resident(self) -> int:
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    def has_worked(self) -> bool:
        """Whether it used the processor since we last asked: rows never pass through here, so this is how we know."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        before, self._cpu = self._cpu, (int(fields[11]) + int(fields[12])) / TICKS
        return self._cpu > before
