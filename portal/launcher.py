"""Starts the processes of one installation under one parent, watches them, and stops them in order.

Each child has a session of its own, so that Ctrl-C reaches the parent alone and the order of stopping is ours;
each dies with its parent, even when that is killed; each writes into a log file, of which only warnings and
errors are shown. One thread does it all: to the system, "the parent died" means the thread that forked.
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from inference.runner import kernel, limits

# A word of Python between fork and the program itself, because a function there (`preexec_fn`) may deadlock.
TIE = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if sys.platform == "linux":  # elsewhere only an orderly end takes the children along
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):  # else the parent died before we could ask to be told
    os.execv(sys.argv[2], sys.argv[2:])
"""
LOG_BYTES = 20 * 2**20
SECONDS_BETWEEN_REPEATS = 300
HARMLESS = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
LEVEL = re.compile(
    r"\[(?:warning|error|critical) *\]|\b(?:WARNING|ERROR|CRITICAL)\b|^Traceback \(most recent"
)


def end_with_parent(parent: int) -> None:
    """This process ends in order when its parent, the process of this id, dies: however and whenever that happens."""
    if sys.platform == "linux":
        kernel.prctl(limits.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we could ask to be told
        signal.raise_signal(signal.SIGTERM)


class CannotStart(Exception):
    """A sentence for the person who typed `up`."""


def say(line: str = "") -> None:
    """Print a line; a terminal that has gone away must not keep us from stopping in order."""
    try:
        print(line, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process


@dataclass
class Unit:
    """One process to run: how it is called, how it is started, how long it may take to finish its work."""

    name: str
    title: str
    command: Sequence[str]
    folder: Path
    seconds_to_stop: float = 15
    is_shown: bool = False  # every line of it, not only complaints
    environ: dict[str, str] = field(default_factory=dict)
    is_told_secrets: bool = True  # one that runs other people's models gets no settings of ours


class Child:
    """A running unit and its log."""

    def __init__(self, unit: Unit, log_dir: Path) -> None:
        self.unit = unit
        self.log = Log(log_dir / f"{unit.name}.log")
        with self.log.for_writing() as output:
            self.process = subprocess.Popen(
                tied_to_this_process(unit.command),
                cwd=unit.folder,
                env=_environ(unit),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.is_running:
            self.process.terminate()

    def kill(self) -> None:
        """End it and whatever it left behind in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def why_it_ended(self) -> str:
        lines = "\n".join(f"    {line}" for line in self.log.last_lines(12)) or "    (it said nothing)"
        return (
            f"{self.unit.title} ended by itself ({_how(self.process.returncode)}). Its last lines:\n{lines}\n"
            f"    The whole log: {self.log.path}"
        )


class Log:
    """A child's log file, and how far we have read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES // 4:
            path.replace(path.with_suffix(".log.1"))
        self._position = self.start = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def for_writing(self) -> IO[bytes]:
        return open(self.path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))

    def new_lines(self) -> list[str]:
        """What was written since the last call, whole lines only."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            read = file.read(2**20)
        self._position += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        self._keep_small()
        return [line.decode(errors="replace") for line in lines]

    def last_lines(self, count: int) -> list[str]:
        with self.path.open("rb") as file:
            file.seek(max(self.start, self.path.stat().st_size - 2**16))
            lines = file.read().decode(errors="replace").splitlines()
        return [line[:400] for line in deque((line for line in lines if line.strip()), maxlen=count)]

    def _keep_small(self) -> None:
        """Weeks of one start must not fill the disk; the child appends, so it may be cut under its hands."""
        if self._position > LOG_BYTES:
            self.path.with_suffix(".log.1").write_bytes(self.path.read_bytes())
            os.truncate(self.path, 0)
            self._position = self.start = 0


class Family:
    """All children of one `up`, in the order in which they are to be stopped."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.children: list[Child] = []
        self.signals = 0
        self._shown_at: dict[str, float] = {}

    def start(self, unit: Unit, *, stop_first: bool = False) -> Child:
        child = Child(unit, self.log_dir)
        self.children.insert(0 if stop_first else len(self.children), child)
        return child

    def forget(self, child: Child) -> None:
        child.kill()
        self.children.remove(child)

    def listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._on_signal)

    @property
    def is_stopping(self) -> bool:
        return self.signals > 0

    def the_dead(self) -> list[Child]:
        return [child for child in self.children if not child.is_running]

    def pause(self, seconds: float = 0.1) -> None:
        """Wait a moment, and show what the children complain about."""
        time.sleep(seconds)
        for child in self.children:
            self._show(child)

    def _show(self, child: Child) -> None:
        for line in child.log.new_lines():
            words = line if child.unit.is_shown and not line.startswith("{") else ""
            shown = complaint_in(line) or words
            if shown and self._is_news(f"{child.unit.name:>6} │ {shown}"):
                say(f"{child.unit.name:>6} │ {shown}")

    def _is_news(self, line: str) -> bool:
        """The same complaint a hundred times is one complaint; the log file has them all."""
        now = time.monotonic()
        self._shown_at = {
            shown: at for shown, at in self._shown_at.items() if now - at < SECONDS_BETWEEN_REPEATS
        }
        return self._shown_at.setdefault(line, now) == now

    def wait_until(self, is_true: Callable[[], bool], *, seconds: float, every: float = 0.1) -> bool:
        """False when time runs out, when somebody wants to stop, or when a child has died."""
        deadline = time.monotonic() + seconds
        while not is_true():
            if self.is_stopping or self.the_dead() or time.monotonic() > deadline:
                return False
            self.pause(every)
        return True

    def stop(self) -> None:
        """One after the other; whoever takes too long, or a second Ctrl-C, ends it the hard way."""
        asked = self.signals
        for child in self.children:
            child.ask_to_stop()
            deadline = time.monotonic() + child.unit.seconds_to_stop
            while child.is_running and time.monotonic() < deadline and self.signals <= max(asked, 1):
                self.pause()
            child.kill()
        self.children.clear()

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signals += 1


class Claim:
    """One `up` a data folder: a lock that the system releases by itself, with a note of who holds it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = open(path, "a+", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CannotStart(
                f"Modelgate already runs on this data folder: {_holder(path)}.\n"
                "Stop it there with Ctrl-C, or give this one a folder of its own with --data-dir."
            ) from None
        self.note("")

    def note(self, address: str) -> None:
        self._file.truncate(0)
        self._file.write(json.dumps({"address": address, "process": os.getpid()}) + "\n")
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def noted_address(path: Path) -> str:
    """Where the last `up` on this folder answers or answered; nothing when there was none."""
    try:
        return str(json.loads(path.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def free_port(host: str, port: int) -> int:
    """The port itself when it can be used, any free one for 0; otherwise a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Choose another one, for example: python3 manage.py up --port {port + 1 if port > 1023 else 8124}"
            ) from None
        return int(probe.getsockname()[1])


def complaint_in(line: str) -> str:
    """The line when it is a warning or worse, made readable; nothing otherwise."""
    if line.startswith("{"):
        try:
            return _complaint_in_event(json.loads(line))
        except ValueError:
            pass
    return line[:400] if LEVEL.search(line[:120]) else ""


def _complaint_in_event(event: dict[str, Any]) -> str:
    if event.get("level") not in ("warning", "error", "critical"):
        return ""
    cause = str(event.get("exception", "")).strip().rpartition("\n")[2]
    return f"{event['level']}: {event.get('event', '')} {cause}".strip()[:400]


def _environ(unit: Unit) -> dict[str, str]:
    given = (
        os.environ
        if unit.is_told_secrets
        else {name: os.environ[name] for name in HARMLESS if name in os.environ}
    )
    return {**given, "PYTHONUNBUFFERED": "1", **unit.environ}


def tied_to_this_process(command: Sequence[str]) -> list[str]:
    """The command, so that it ends when we do, however that happens: an orphan would hold the port."""
    return [sys.executable, "-I", "-S", "-c", TIE, str(os.getpid()), *command]


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        return f"{note['address'] or 'it is starting'} (process {note['process']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
