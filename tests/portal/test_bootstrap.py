"""From a bare Python to `.venv`: what is installed is believed only when it was finished."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal import bootstrap
from portal.bootstrap import Problem, Venv


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two small locks."""
    (tmp_path / "requirements.txt").write_text("one==1\n")
    (tmp_path / "requirements-dev.txt").write_text("one==1\ntwo==2\n")
    return tmp_path


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run; making a venv leaves a python there, nothing is installed."""
    ran: list[list[str]] = []

    def run(command: list[str], environ: dict[str, str] | None = None) -> str:
        ran.append(list(command))
        if "venv" in command:
            _pretend_venv(Path(command[-1]))
        return ""

    monkeypatch.setattr(bootstrap, "_run_quietly", run)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return ran


def _pretend_venv(path: Path) -> None:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(sys.executable)
    (path / "bin" / "pip").touch()
    (path / "pyvenv.cfg").write_text("")


def test_it_makes_the_environment_once(root: Path, programs: list[list[str]]) -> None:
    Venv(root).prepare(bootstrap.RUNTIME)
    first = len(programs)
    Venv(root).prepare(bootstrap.RUNTIME)

    assert first == len(programs) == 2  # venv, then pip
    assert "--require-hashes" in programs[1]
    assert Venv(root).is_ready_for(bootstrap.RUNTIME)


def test_it_installs_again_when_the_lock_changes(root: Path, programs: list[list[str]]) -> None:
    Venv(root).prepare(bootstrap.RUNTIME)
    (root / "requirements.txt").write_text("one==2\n")
    Venv(root).prepare(bootstrap.RUNTIME)

    assert len(programs) == 3  # no second venv


def test_the_development_set_is_enough_for_up(root: Path, programs: list[list[str]]) -> None:
    Venv(root).prepare(bootstrap.DEVELOPMENT)
    Venv(root).prepare(bootstrap.RUNTIME)

    assert len(programs) == 2


def test_another_python_makes_it_anew(root: Path, programs: list[list[str]]) -> None:
    venv = Venv(root)
    venv.prepare(bootstrap.RUNTIME)
    stamp = json.loads(venv.stamp.read_text())
    venv.stamp.write_text(json.dumps(stamp | {"python": "cpython 3.0"}))
    (venv.path / "left-over").touch()

    venv.prepare(bootstrap.RUNTIME)

    assert not (venv.path / "left-over").exists()
    assert venv.is_ready_for(bootstrap.RUNTIME)


def test_a_copied_checkout_makes_its_own(
    root: Path, programs: list[list[str]], tmp_path_factory: Any
) -> None:
    Venv(root).prepare(bootstrap.RUNTIME)
    copy = tmp_path_factory.mktemp("elsewhere") / "checkout"
    shutil.copytree(root, copy, symlinks=True)

    Venv(copy).prepare(bootstrap.RUNTIME)

    assert json.loads(Venv(copy).stamp.read_text())["path"] == str(copy / ".venv")


def test_a_failed_installation_is_not_believed(
    root: Path, programs: list[list[str]], monkeypatch: Any
) -> None:
    Venv(root).prepare(bootstrap.RUNTIME)
    (root / "requirements.txt").write_text("one==2\n")
    monkeypatch.setattr(bootstrap, "_run_quietly", lambda command, environ=None: "no such package")

    with pytest.raises(Problem, match="no such package"):
        Venv(root).prepare(bootstrap.RUNTIME)

    (root / "requirements.txt").write_text("one==1\n")  # even the lock that was fine before
    assert not Venv(root).is_ready_for(bootstrap.RUNTIME)


def test_an_interrupted_installation_is_made_anew(
    root: Path, programs: list[list[str]], monkeypatch: Any
) -> None:
    def interrupted(command: list[str], environ: dict[str, str] | None = None) -> str:
        if "pip" in command:
            raise KeyboardInterrupt
        _pretend_venv(Path(command[-1]))
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "_run_quietly", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Venv(root).prepare(bootstrap.RUNTIME)
    assert not Venv(root).is_ready_for(bootstrap.RUNTIME)

    Venv(root).prepare(bootstrap.RUNTIME)

    assert Venv(root).is_ready_for(bootstrap.RUNTIME)


def test_it_does_not_pull_the_ground_from_under_a_running_portal(
    root: Path, programs: list[list[str]]
) -> None:
    venv = Venv(root)
    venv.prepare(bootstrap.RUNTIME)
    made_here = venv.stamp.read_text()
    venv.stamp.write_text(made_here.replace("cpython", "another"))
    with open(venv.path / "pyvenv.cfg", "rb") as marker:
        fcntl.flock(marker, fcntl.LOCK_SH)

        with pytest.raises(Problem, match="is using it now"):
            venv.prepare(bootstrap.RUNTIME)

    venv.stamp.write_text(venv.stamp.read_text().replace("another", "cpython"))
    assert not venv.prepare(bootstrap.RUNTIME)  # and the refusal left everything as it was


def test_two_starts_take_turns(root: Path) -> None:
    lock = root / ".venv.lock"
    waits = subprocess.Popen(
        [sys.executable, "-c", _TAKE_THE_LOCK, str(lock)],
        cwd=bootstrap.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with bootstrap._one_at_a_time(lock):
        pass  # free again; the other one may have had it before or takes it now
    assert waits.communicate(timeout=60)[0].splitlines()[-1] == "mine"


def test_the_second_start_says_that_it_waits(root: Path) -> None:
    lock = root / ".venv.lock"
    with bootstrap._one_at_a_time(lock):
        waits = subprocess.Popen(
            [sys.executable, "-c", _TAKE_THE_LOCK, str(lock)],
            cwd=bootstrap.ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert waits.stdout is not None
        assert "waiting" in waits.stdout.readline()
    assert waits.communicate(timeout=60)[0] == "mine\n"


_TAKE_THE_LOCK = """
import pathlib, sys
from portal import bootstrap
with bootstrap._one_at_a_time(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
"""


def test_somebody_elses_environment_is_left_alone(
    root: Path, tmp_path: Path, programs: list[list[str]]
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "modelgate-installed.json").write_text("{}")
    (root / ".venv").symlink_to(theirs)

    with pytest.raises(Problem, match="link to another environment"):
        Venv(root).prepare(bootstrap.RUNTIME)

    assert (theirs / "modelgate-installed.json").exists()
    assert programs == []


def test_it_uses_uv_when_there_is_one(root: Path, programs: list[list[str]], monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)

    Venv(root).prepare(bootstrap.RUNTIME)

    assert [command[:3] for command in programs] == [["/bin/uv", "venv", "-q"], ["/bin/uv", "pip", "install"]]
    assert "--compile-bytecode" in programs[1]


def test_it_turns_to_pip_when_uv_cannot_install(
    root: Path, programs: list[list[str]], monkeypatch: Any
) -> None:
    pretended = bootstrap._run_quietly

    def uv_has_no_network(command: list[str], environ: dict[str, str] | None = None) -> str:
        return pretended(command, environ) or (
            "no route" if "pip" in command and command[0] == "/bin/uv" else ""
        )

    monkeypatch.setattr(bootstrap, "_run_quietly", uv_has_no_network)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)

    assert Venv(root).prepare(bootstrap.RUNTIME)

    assert [command[0] for command in programs[:2]] == ["/bin/uv", "/bin/uv"]
    assert programs[3][1:4] == ["-m", "pip", "install"]
    assert Venv(root).is_ready_for(bootstrap.RUNTIME)


def test_an_environment_without_pip_is_made_anew_where_uv_has_gone(
    root: Path, programs: list[list[str]]
) -> None:
    venv = Venv(root)
    venv.prepare(bootstrap.RUNTIME)
    venv.pip.unlink()
    (root / "requirements.txt").write_text("one==2\n")

    venv.prepare(bootstrap.RUNTIME)

    assert [command[1:3] for command in programs[2:]] == [["-m", "venv"], ["-m", "pip"]]


class TestWithoutEnsurepip:
    """Debian's Python before `python3-venv` is installed."""

    @pytest.fixture(autouse=True)
    def _bare(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(bootstrap, "_has_ensurepip", lambda: False)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        yield

    def test_it_prints_the_line_to_type(
        self, root: Path, programs: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)

        with pytest.raises(Problem, match=r"sudo apt-get install -y python3\.\d+-venv"):
            Venv(root).prepare(bootstrap.RUNTIME)

        assert programs == []

    def test_as_root_it_installs_it_and_says_so(
        self, root: Path, programs: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        monkeypatch.setattr(os, "geteuid", lambda: 0)

        Venv(root).prepare(bootstrap.RUNTIME)

        assert programs[0][:2] == ["/usr/bin/apt-get", "install"]
        assert "apt-get install" in capsys.readouterr().out


def test_installation_is_not_led_astray_by_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")

    said = bootstrap._run_quietly(
        [sys.executable, "-c", "import os, sys; print(sorted(os.environ)); sys.exit(1)"],
    )

    assert "PIP_USER" not in said
    assert "PYTHONPATH" not in said
    assert "UV_PYTHON_DOWNLOADS" in said


@pytest.mark.parametrize("spelling", [["--data-dir", "x"], ["--data-dir=x"]])
def test_up_tells_its_options_to_the_settings(spelling: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELGATE_DATA_DIR", "before")
    monkeypatch.delenv("MODELGATE_CACHE", raising=False)

    bootstrap._settings_from_options(["manage.py", "up", *spelling, "--web-processes", "2"])

    assert os.environ["MODELGATE_DATA_DIR"] == str(Path("x").resolve())
    assert os.environ["MODELGATE_CACHE"] == "database"
    monkeypatch.delenv("MODELGATE_CACHE")


def test_another_command_asks_for_up_first(tmp_path: Path) -> None:
    """With a Python that has no packages and no .venv beside it."""
    (tmp_path / "portal").mkdir()
    for name in ("manage.py", "portal/__init__.py", "portal/bootstrap.py", "requirements.txt"):
        shutil.copy(bootstrap.ROOT / name, tmp_path / name)

    done = subprocess.run(
        [sys.executable, "-S", str(tmp_path / "manage.py"), "check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "python3 manage.py up" in done.stderr


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", "import portal.bootstrap"],
        cwd=bootstrap.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_an_old_python_gets_a_sentence() -> None:
    """The lines above the version check are read by Pythons that understand nothing newer."""
    head = (bootstrap.ROOT / "manage.py").read_text().split("from portal import")[0]

    assert 'f"' not in head
    assert "annotations" not in head
    assert "3.11 or newer" in head
