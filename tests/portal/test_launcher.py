"""The parts of `up` that need no portal: logs, signals, locks, ports."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.launcher import CannotStart, Claim, Family, Log, Unit, complaint_in, noted_address
from portal.management.commands import up
from tests.live import wait_until


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path / "logs")
    yield family
    for child in family.children:
        child.kill()


def unit(name: str, code: str, **more: object) -> Unit:
    return Unit(name, f"The {name}", [sys.executable, "-c", code], folder=Path("/"), **more)  # type: ignore[arg-type]


def test_a_child_that_ends_tells_how_and_its_last_words(family: Family) -> None:
    child = family.start(unit("web", "print('no such table'); raise SystemExit(3)"))
    child.process.wait(30)

    assert family.the_dead() == [child]
    assert "The web ended by itself (exit code 3)" in child.why_it_ended()
    assert "no such table" in child.why_it_ended()


def test_they_stop_in_order_and_the_stubborn_one_is_killed(family: Family) -> None:
    asks = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    stubborn = family.start(unit("worker", asks, seconds_to_stop=0.2))
    polite = family.start(
        unit("web", "import time; print('up', flush=True); time.sleep(60)"), stop_first=True
    )
    wait_until(lambda: stubborn.log.path.read_text() and polite.log.path.read_text(), 30)

    family.stop()

    assert polite.process.returncode == -signal.SIGTERM
    assert stubborn.process.returncode == -signal.SIGKILL


def test_what_a_child_left_in_its_session_ends_with_it(family: Family) -> None:
    code = "import subprocess as s, time; print(s.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    child = family.start(unit("web", code))
    wait_until(lambda: child.log.path.read_text().strip(), 30)
    left = int(child.log.path.read_text())

    child.kill()

    wait_until(lambda: not _is_running(left), 30)


def test_a_unit_without_our_secrets_gets_none(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELGATE_SECRET_KEY", "x" * 40)

    child = family.start(unit("modeld", "import os; print(sorted(os.environ))", is_told_secrets=False))
    child.process.wait(30)

    assert "MODELGATE" not in child.log.path.read_text()


def test_only_complaints_are_shown_and_each_once(family: Family, capsys: pytest.CaptureFixture[str]) -> None:
    code = "print('GET / 200'); print('[ERROR] broken'); print('[ERROR] broken')"
    child = family.start(unit("web", code))
    child.process.wait(30)

    family.pause(0)

    assert capsys.readouterr().out.count("[ERROR] broken") == 1


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"event": "request_finished", "level": "info"}', ""),
        (
            '{"event": "failed", "level": "error", "exception": "Traceback\\nValueError: no"}',
            "error: failed ValueError: no",
        ),
        ("[INFO] Started worker-1", ""),
        ("[WARNING] many threads", "[WARNING] many threads"),
        ("{not json", ""),
    ],
)
def test_a_complaint_is_one_readable_line(line: str, shown: str) -> None:
    assert complaint_in(line) == shown


def test_a_log_hands_out_whole_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "web.log")
    with log.for_writing() as file:
        file.write(b"one\ntw")
        file.flush()
        assert log.new_lines() == ["one"]
        file.write(b"o\n")
    assert log.new_lines() == ["two"]


def test_a_log_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.launcher.LOG_BYTES", 1000)
    log = Log(tmp_path / "web.log")
    with log.for_writing() as file:
        for number in range(100):
            file.write(f"line {number} {'x' * 50}\n".encode())
            file.flush()
            assert log.new_lines()[0].startswith(f"line {number} ")
    assert log.path.stat().st_size < 2000
    assert log.path.with_suffix(".log.1").exists()


def test_the_second_claim_names_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run" / "up.lock"
    claim = Claim(path)
    claim.note("http://127.0.0.1:8123/")

    with pytest.raises(CannotStart, match=rf"http://127\.0\.0\.1:8123/ \(process {os.getpid()}\)"):
        Claim(path)
    assert noted_address(path) == "http://127.0.0.1:8123/"
    claim.release()
    Claim(path).release()


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_start_for_every_network_answers_to_the_machine_by_name() -> None:
    assert up._hosts("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert socket.gethostname() in up._hosts("0.0.0.0")
    assert "[2001:db8::1]" in up._hosts("2001:db8::1")
