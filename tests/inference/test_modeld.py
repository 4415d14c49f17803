"""The supervisor: asked by many, killed at any moment, never in the way of the rows."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.modeld import address, store
from inference.runners import Client, ModelUnavailable
from tests import trained
from tests.inference.conftest import MakeSpec
from tests.live import wait_until
from tests.modeld import ROOT, Supervisor
from tests.processes import wait_until_dead

pytestmark = pytest.mark.slow

TEN = trained.table(10)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor that the test may kill."""
    running = Supervisor(tmp_path / "s.sock", tmp_path).start()
    yield running
    running.stop()


def pids(client: Client) -> set[int]:
    return {each["pid"] for each in client.status()["runners"]}


class Hammer:
    """Threads that ask without a pause, and keep what went wrong."""

    def __init__(self, client: Client, *specs: Any, threads: int = 3) -> None:
        self.client, self.specs = client, specs
        self.failures: list[Exception] = []
        self.answered = 0
        self.enough = threading.Semaphore(0)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            for spec in self.specs:
                try:
                    self.client.predict(spec, TEN, 20)
                    self.answered += 1
                    self.enough.release()
                except Exception as error:
                    self.failures.append(error)

    def wait_for(self, answers: int) -> None:
        for _ in range(answers):
            assert self.enough.acquire(timeout=60), self.failures

    def __enter__(self) -> "Hammer":
        for thread in self._threads:
            thread.start()
        self.wait_for(5)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_killing_a_runner_fails_no_call(own: Supervisor, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())

    with Hammer(own.client, spec) as hammer:
        for _ in range(4):
            for pid in pids(own.client):
                os.kill(pid, signal.SIGKILL)
            hammer.wait_for(30)

    assert hammer.failures == []


def test_killing_the_zygote_fails_no_call(own: Supervisor, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())

    with Hammer(own.client, spec) as hammer:
        zygote, runners = own.client.status()["zygote"], pids(own.client)
        os.kill(zygote, signal.SIGKILL)
        for pid in runners:
            wait_until_dead(pid)  # they die with it
        hammer.wait_for(30)

    assert hammer.failures == []
    assert own.client.status()["zygote"] != zygote


def test_killing_the_supervisor_fails_no_call(own: Supervisor, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())

    with Hammer(own.client, spec) as hammer:
        left = [own.client.status()["zygote"], *pids(own.client)]
        own.kill()
        for pid in left:
            wait_until_dead(pid)  # nothing of it stays
        own.start()
        hammer.wait_for(30)

    assert hammer.failures == []


def test_a_hot_swap_drops_nothing(own: Supervisor, make_spec: MakeSpec) -> None:
    old, new = make_spec(trained.logistic()), make_spec(trained.forest())

    with Hammer(own.client, old, new) as hammer:
        for spec in (old, new, old):
            own.client.describe(spec)
            own.client.retire(spec.key, drain=0.2)
            hammer.wait_for(20)

    assert hammer.failures == []


def test_stopping_it_leaves_no_process(own: Supervisor, make_spec: MakeSpec) -> None:
    own.client.describe(make_spec(trained.logistic()))
    left = [own.client.status()["zygote"], *pids(own.client)]

    own.stop()

    for pid in left:
        wait_until_dead(pid)
    assert not own.socket.exists()
    own.start()


def test_a_supervisor_that_is_away_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.runners.conversations.PATIENCE", 0.0)

    with pytest.raises(ModelUnavailable) as error:
        Client(tmp_path / "nobody.sock").status()

    assert error.value.code == "model_service_away"
    assert error.value.fix


def test_an_idle_runner_is_stopped_and_comes_back(tmp_path: Path, make_spec: MakeSpec) -> None:
    running = Supervisor(tmp_path / "s.sock", tmp_path, "--idle", "0.3").start()
    try:
        spec = make_spec(trained.logistic())
        client = running.client
        expected = client.predict(spec, TEN, 10).labels
        (pid,) = pids(client)
        wait_until_dead(pid)

        assert client.predict(spec, TEN, 10).labels == expected
    finally:
        running.stop()


def test_a_runner_that_grows_too_large_is_killed(tmp_path: Path, make_spec: MakeSpec) -> None:
    running = Supervisor(tmp_path / "s.sock", tmp_path, "--memory", "1").start()
    try:
        spec = make_spec(trained.logistic())
        running.client.connect(spec).close()
        found = pids(running.client)
        for pid in found:
            wait_until_dead(pid)
    finally:
        running.stop()


def test_a_second_supervisor_does_not_take_the_socket(own: Supervisor) -> None:
    command = [
        sys.executable,
        "-m",
        "inference.modeld",
        "--socket",
        str(own.socket),
        "--store",
        str(own.store),
    ]

    second = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)

    assert second.returncode == 3
    assert b"another model supervisor" in second.stderr
    assert own.client.status()["pid"]


def test_nobody_else_may_connect(own: Supervisor) -> None:
    assert stat.S_IMODE(own.socket.stat().st_mode) == 0o600


def test_it_starts_without_django_in_a_clean_environment(own: Supervisor) -> None:
    assert own.process is not None
    modules = Path(f"/proc/{own.process.pid}/maps").read_text()

    assert "sklearn" not in modules and "numpy" not in modules
    zygote = wait_until(lambda: own.client.status()["zygote"], 30)
    environment = Path(f"/proc/{zygote}/environ").read_bytes()
    assert b"PYTEST" not in environment and b"HOME=/nonexistent" in environment


def test_an_unknown_operation_is_answered(own: Supervisor) -> None:
    from inference.runner import wire

    with address.connect(own.socket, 5) as sock:
        for message in (
            {"op": "open_the_door"},
            {},
            {"op": "connect"},
            {"op": "connect", "spec": {"key": 1}},
        ):
            wire.send(sock, message)
            assert wire.receive(sock)["code"] == "bad_request"


def test_a_socket_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = folder / "modeld.sock"

    with address.listen(path) as listener, address.connect(path, 5) as client:
        accepted, _address = listener.accept()
        accepted.close()
        assert client.recv(1) == b""


def test_the_store_opens_what_is_recorded_and_nothing_else(tmp_path: Path) -> None:
    inside = tmp_path / "store"
    (inside / "ab").mkdir(parents=True)
    file = inside / "ab" / "model"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (inside / "link").symlink_to(inside / "ab", target_is_directory=True)

    fd = store.open_artifact([tmp_path / "other", inside], file, digest)
    assert os.read(fd, 10) == b"abc"
    os.close(fd)
    for path, sha256 in (
        (file, "0" * 64),
        (inside / "link" / "model", digest),
        (inside, digest),
        (tmp_path, digest),
    ):
        with pytest.raises(store.NotInStore):
            store.open_artifact([inside], path, sha256)
