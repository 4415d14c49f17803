"""The real model supervisor for tests that load models: one per session, on a socket of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference import runners
from inference.modeld import address

ROOT = Path(__file__).resolve().parent.parent


class Supervisor:
    """`python -m inference.modeld` on a socket, as it is installed; it may be killed and started again."""

    def __init__(self, socket_path: Path, store: Path, *options: str) -> None:
        self.socket = socket_path
        self.store = store
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.machine: tuple[str, ...] = ()  # a command that runs ours, on a kernel that has less

    def start(self) -> "Supervisor":
        command = [
            *self.machine,
            sys.executable,
            str(ROOT / "tests" / "as_installed.py"),
            "--socket",
            str(self.socket),
            "--store",
            str(self.store),
        ]
        with self.socket.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], cwd=ROOT, stderr=log, process_group=0)
        self.wait_until_it_listens()
        return self

    def wait_until_it_listens(self) -> None:
        """Connecting is the condition; there is nothing else to wait on before the socket is there."""
        assert self.process is not None
        while True:
            try:
                address.connect(self.socket, 5).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(self.socket.with_suffix(".log").read_text()) from None
                with socket.socket(socket.AF_UNIX) as pause:
                    pause.settimeout(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(20)

    @property
    def client(self) -> runners.Client:
        return runners.Client(self.socket)


@pytest.fixture(scope="session")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """One for the session; tests that kill it start one of their own."""
    folder = tmp_path_factory.mktemp("modeld")
    running = Supervisor(folder / "s.sock", tmp_path_factory.getbasetemp()).start()
    yield running
    running.stop()


@pytest.fixture
def modeld(supervisor: Supervisor, settings: Any) -> Supervisor:
    """Versions can be asked in this test: the settings lead to the running supervisor."""
    settings.MODELGATE_MODELD_SOCKET = str(supervisor.socket)
    return supervisor
