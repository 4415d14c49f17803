"""A whole portal of the test's own: `manage.py up` on a free port and a fresh data folder, with people and keys."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]
START_SECONDS = 120


@dataclass
class Portal:
    """A running portal; commands run on its data folder."""

    data_dir: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    address: str = ""
    output: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None
    machine: list[str] = field(default_factory=list)  # a command that runs ours, on a kernel that has less

    def start(self) -> None:
        """Start, and return once it has printed its address as ready."""
        self.output = []
        self.process = subprocess.Popen(
            [
                *self.machine,
                *MANAGE,
                "up",
                "--no-demo",
                "--port",
                "0",
                "--data-dir",
                str(self.data_dir),
                *self.arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(),
            cwd=ROOT,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_until(self._is_ready, START_SECONDS, lambda: "".join(self.output))

    def _read(self) -> None:
        assert self.process and self.process.stdout
        with self.process.stdout as output:
            for line in output:
                self.output.append(line)

    def _is_ready(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError("the portal ended:\n" + "".join(self.output))
        found = re.search(r"(http://127\.0\.0\.1:\d+)/?", "".join(self.output))
        self.address = found.group(1) if found else ""
        return bool(self.address)

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does, and return its exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def wait_for_end(self, seconds: float = 60) -> int:
        assert self.process
        return self.process.wait(seconds)

    def pids(self, words: str) -> list[int]:
        """Processes below this portal whose command line holds `words`."""
        assert self.process
        return [pid for pid in descendants(self.process.pid) if words in command_line(pid)]

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run a command on this portal's data and return what it printed; fails loudly."""
        done = subprocess.run(
            [*MANAGE, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**environment(), "MODELGATE_DATA_DIR": str(self.data_dir)},
            cwd=ROOT,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add_person(self, email: str, roles: str, password: str) -> None:
        self.manage("adduser", email, "--role", roles, "--password-stdin", stdin=password + "\n")

    def add_key(self, email: str, actions: str, models: str = "all") -> str:
        printed = self.manage("apikey", email, "--models", models, "--actions", actions, "--days", "1")
        return printed.splitlines()[-1].strip()

    def call(self, method: str, path: str, key: str = "", body: Any = None) -> tuple[int, Any]:
        """A JSON call of the API: status and answer."""
        request = urllib.request.Request(self.address + path, method=method)
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


@contextmanager
def running_portal(data_dir: Path, *arguments: str) -> Iterator[Portal]:
    portal = Portal(data_dir, list(arguments))
    try:
        portal.start()
        yield portal
    finally:
        if portal.process and portal.process.poll() is None:
            portal.process.send_signal(signal.SIGINT)
            try:
                portal.process.wait(30)
            except subprocess.TimeoutExpired:
                portal.process.kill()
                portal.process.wait()
        if portal.reader:
            portal.reader.join(10)


def environment() -> dict[str, str]:
    """The environment of an ordinary shell: nothing that this test run has set for itself."""
    ours = ("MODELGATE_", "DJANGO_", "PYTEST_", "COV_", "DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def wait_until(
    is_true: Callable[[], Any], seconds: float, otherwise: Callable[[], str] = lambda: "", every: float = 0.1
) -> Any:
    """Return the first true answer of `is_true`; AssertionError when `seconds` pass without one."""
    end = time.monotonic() + seconds
    while True:
        answer = is_true()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s: {is_true}\n{otherwise()}")
        time.sleep(every)


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
