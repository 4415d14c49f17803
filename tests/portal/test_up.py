"""`manage.py up` for real: one parent, four kinds of children, nobody left behind."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import MANAGE, ROOT, Portal, descendants, environment, running_portal, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One start for every question that does not end it; two web processes, which asks more of it than one."""
    with running_portal(tmp_path_factory.mktemp("up") / "data", "--web-processes", "2") as portal:
        assert portal.process
        children = descendants(portal.process.pid)
        yield portal
        assert portal.stop() == 0  # by Ctrl-C
        assert not [pid for pid in children if _lives(pid)]


def up(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end by itself."""
    command = [*MANAGE, "up", "--no-demo", "--data-dir", str(data_dir), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_it_prints_the_address_the_link_the_folder_and_how_to_stop(portal: Portal) -> None:
    wait_until(lambda: "Ctrl-C" in "".join(portal.output), 10)
    said = "".join(portal.output)

    assert f"{portal.address}/accounts/password/reset/key/" in said
    assert str(portal.data_dir) in said
    assert "admin@localhost" in said


def test_it_keeps_its_secrets_to_itself(portal: Portal) -> None:
    assert portal.data_dir.stat().st_mode & 0o777 == 0o700
    assert (portal.data_dir / "secret_key").stat().st_mode & 0o777 == 0o600
    assert (portal.data_dir / "logs" / "web.log").stat().st_mode & 0o777 == 0o600


def test_the_model_supervisor_is_told_no_secret(portal: Portal) -> None:
    [pid] = portal.pids("inference.modeld")[:1]
    told = Path(f"/proc/{pid}/environ").read_bytes()

    assert b"MODELGATE" not in told


def test_a_second_start_on_the_same_folder_says_so(portal: Portal) -> None:
    second = up(portal.data_dir, "--port", "0")

    assert second.returncode != 0
    assert portal.address in second.stderr
    assert "--data-dir" in second.stderr


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        refused = up(tmp_path / "data", "--port", str(port))

    assert refused.returncode != 0
    assert f"Port {port} on 127.0.0.1 cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_administrator_must_have_an_address(tmp_path: Path) -> None:
    refused = up(tmp_path / "data", "--port", "0", "--admin-email", "nobody")

    assert refused.returncode != 0
    assert "nobody" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_two_web_processes_share_one_cache(portal: Portal) -> None:
    tables = portal.manage(
        "shell", "-c", "from django.db import connection as c; print(c.introspection.table_names())"
    )

    assert "portal_cache" in tables


@pytest.mark.parametrize("moment", ["at its start", "when it answers"])
def test_web_processes_end_with_their_parent_however_it_ends(portal: Portal, moment: str) -> None:
    """Else they keep the port, and answer with what they remember."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*MANAGE, "web", "--port", str(port), "--web-processes", "2"]
    environ = {**environment(), "MODELGATE_DATA_DIR": str(portal.data_dir)}
    web = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(descendants(web.pid)) > 2, 60, every=0.001)  # one of them counts resources
        if moment == "when it answers":
            wait_until(lambda: _answers(port), 60)
        children = descendants(web.pid)
    finally:
        web.kill()
        web.wait()

    wait_until(lambda: not [pid for pid in children if _lives(pid)], 60)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_sigterm_is_as_good_as_ctrl_c(tmp_path: Path) -> None:
    with running_portal(tmp_path / "data") as portal:
        assert portal.process
        children = descendants(portal.process.pid)
        assert len(children) >= 3

        portal.process.send_signal(signal.SIGTERM)

        assert portal.wait_for_end() == 0
        assert not [pid for pid in children if _lives(pid)]


def test_when_a_child_dies_it_says_which_and_stops_the_rest(tmp_path: Path) -> None:
    with running_portal(tmp_path / "data") as portal:
        assert portal.process
        children = descendants(portal.process.pid)

        os.kill(min(portal.pids("celery")), signal.SIGKILL)

        assert portal.wait_for_end() == 1
        wait_until(lambda: "Stopped." in "".join(portal.output), 10)
        assert "The worker ended by itself (killed by SIGKILL)" in "".join(portal.output)
        assert not [pid for pid in children if _lives(pid)]


def test_a_killed_parent_leaves_nobody(tmp_path: Path) -> None:
    with running_portal(tmp_path / "data") as portal:
        assert portal.process
        children = descendants(portal.process.pid)

        portal.process.kill()

        wait_until(lambda: not [pid for pid in children if _lives(pid)], 60)


def _lives(pid: int) -> bool:
    """Still running; one that only waits to be buried does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_on_an_older_kernel_it_starts_and_says_that_no_model_is_loaded(tmp_path: Path) -> None:
    portal = Portal(
        tmp_path / "data", machine=[sys.executable, str(ROOT / "tests/older_kernel.py"), "landlock"]
    )
    try:
        portal.start()
        wait_until(lambda: "Ctrl-C" in "".join(portal.output), 10)
        status, parts = portal.call("GET", "/readyz")
    finally:
        portal.stop()

    assert "no model is loaded: landlock is off" in "".join(portal.output)
    assert status == 503
    assert "Linux 5.13" in parts["jail"] and parts["models"] == "ok"
