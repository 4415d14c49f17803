"""A PostgreSQL and a Redis of the test run's own: started on free ports, gone when it ends.

Absent programs skip the tests that need them and say what to install; under CI they fail, because there
a skipped test is one that nobody misses.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS_TO_START = 60


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis() as url:
        yield url


@contextmanager
def postgresql() -> Iterator[str]:
    """An empty cluster, reachable on loopback without a password, careless about crashes and so fast."""
    initdb = required("initdb", "postgresql")
    user = _unprivileged()
    with _folder(user) as folder:
        data, port = folder / "data", free_port()
        _run(
            [initdb, "-D", str(data), "-U", "modelgate", "--auth=trust", "-E", "UTF8", "--no-sync"],
            folder,
            user,
        )
        command = [
            str(Path(initdb).with_name("postgres")),
            "-D",
            str(data),
            "-p",
            str(port),
            "-k",
            str(folder),
        ]
        for setting in (
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "max_connections=100",
        ):
            command += ["-c", setting]
        with _running(command, folder, user, is_ready=lambda: _accepts_queries(port), stop=signal.SIGINT):
            yield f"postgres://modelgate@127.0.0.1:{port}/postgres"


@contextmanager
def redis() -> Iterator[str]:
    """A Redis that keeps nothing."""
    server = required("redis-server", "redis-server")
    with _folder(None) as folder:
        port = free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        with _running(command, folder, None, is_ready=lambda: _answers_ping(port), stop=signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"


def required(program: str, package: str) -> str:
    """The program's path; Debian keeps PostgreSQL's own ones off the PATH."""
    found = shutil.which(program) or max(
        map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), default=""
    )
    if found:
        return found
    message = f"{program} is not on this machine. Type: sudo apt-get install -y {package}"
    if is_ci():
        pytest.fail(message)
    pytest.skip(message)


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> str | None:
    """Whom to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    # A short path of its own: a socket's path must fit into 107 bytes, and another user must reach it.
    with tempfile.TemporaryDirectory(prefix="mg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        if user:
            shutil.chown(name, user)
        yield Path(name)


def _run(command: Sequence[str], folder: Path, user: str | None) -> None:
    done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _running(
    command: Sequence[str], folder: Path, user: str | None, *, is_ready: Callable[[], bool], stop: int
) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_tie(stop), *command],
            cwd=folder,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: is_ready() or process.poll() is not None, seconds=SECONDS_TO_START)
        if process.poll() is not None or not is_ready():
            pytest.fail(f"{command[0]} did not start:\n{log.read_text()[-4000:]}")
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tie(stop: int) -> list[str]:
    """A test run that is killed must not leave servers behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal.Signals(stop).name.removeprefix("SIG")] if setpriv else []


def wait_for(is_true: Callable[[], bool], *, seconds: float) -> bool:
    """Look again and again until it is true; False when that never came."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _accepts_queries(port: int) -> bool:
    import psycopg

    try:
        with psycopg.connect(
            f"postgres://modelgate@127.0.0.1:{port}/postgres", connect_timeout=2
        ) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as asked:
            asked.sendall(b"PING\r\n")
            return asked.recv(16).startswith(b"+PONG")
    except OSError:
        return False
