"""Promises about the project itself, kept by looking."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.utils.module_loading import import_string

from portal import tasks

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
OURS = {"portal", "registry", "inference", "monitoring"}


def test_readme_lists_every_setting() -> None:
    read = re.compile(r'env_(?:str|int|bool|list|secret)\(\s*"([A-Z0-9_]+)"')
    names = {
        name
        for app in sorted(OURS)
        for path in (ROOT / app).rglob("*.py")
        for name in read.findall(path.read_text())
    }

    assert "MODELGATE_DATA_DIR" in names
    assert sorted(name for name in names if f"`{name}`" not in README) == []


def test_readme_lists_no_setting_that_is_not_there() -> None:
    code = "".join(path.read_text() for app in sorted(OURS) for path in (ROOT / app).rglob("*.py"))
    named = set(re.findall(r"`(MODELGATE_[A-Z0-9_]+?)(?:_FILE)?`", README))

    assert sorted(name for name in named if f'"{name}"' not in code) == []


def test_readme_lists_every_command() -> None:
    ours = {name for name, app in get_commands().items() if app in OURS}

    assert sorted(name for name in ours if not re.search(rf"`(manage\.py )?{name}\b", README)) == []


def test_every_command_has_a_test() -> None:
    ours = {name for name, app in get_commands().items() if app in OURS} - {"test"}
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))

    assert sorted(name for name in ours if f'"{name}"' not in tests) == []


def test_the_tick_names_real_work() -> None:
    for part in tasks.PARTS:
        assert callable(import_string(part)), part


def test_beat_names_real_tasks() -> None:
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert callable(import_string(str(entry["task"])))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_has_hashes_and_no_address(name: str) -> None:
    lock = (ROOT / name).read_text()

    assert "://" not in lock
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host", lock)
    pins = re.findall(r"^[a-z0-9][^\s=]*==\S+.*$", lock, flags=re.MULTILINE)
    assert len(pins) > 50
    assert all(pin.endswith("\\") for pin in pins)  # a hash follows


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, development = (
        (ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")
    )

    for wanted, lock in (
        (project["project"]["dependencies"], runtime),
        (project["dependency-groups"]["dev"], development),
    ):
        names = [re.split(r"[\[<>=!~ ]", line)[0].lower() for line in wanted]
        assert [name for name in names if not re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE)] == []


def test_the_development_lock_holds_every_pin_of_the_other() -> None:
    pin = re.compile(r"^([a-z0-9][^\s=]*==[^\s;\\]+)", re.MULTILINE)
    runtime, development = (
        (ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")
    )

    assert sorted(set(pin.findall(runtime)) - set(pin.findall(development))) == []


def test_ci_is_a_script_that_bash_reads() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=False).returncode == 0


def test_only_the_runner_loads_model_files() -> None:
    """Pickle is code: nothing in Django or Celery builds an object from such a file."""
    loads = re.compile(
        r"\b(?:c?pickle|joblib|dill|cloudpickle)\.(?:loads?|Unpickler)\b|\bskops\.io\.loads?\b"
    )
    guilty = [
        str(path.relative_to(ROOT))
        for app in sorted(OURS)
        for path in (ROOT / app).rglob("*.py")
        if loads.search(path.read_text()) and not path.is_relative_to(ROOT / "inference" / "runner")
    ]

    assert guilty == []
