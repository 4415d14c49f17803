"""`manage.py test`: the cheapest stage first, a clear end at the first that fails, pytest's words last."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.management.commands import test as command

OK = (sys.executable, "-c", "print('all is well')")
BROKEN = (sys.executable, "-c", "print('three errors'); raise SystemExit(3)")


@pytest.fixture
def pytest_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """What pytest would have been given."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def call(arguments: list[str], *, cwd: Path, env: dict[str, str]) -> int:
        calls.append((arguments, env))
        return 5

    monkeypatch.setattr(command.subprocess, "call", call)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, stages: Any, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(command, "STAGES", stages)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        command.Command(stdout=out, stderr=err).run_from_argv(["manage.py", "test", *arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code, out.getvalue(), err.getvalue()


def test_it_ends_at_the_first_stage_that_fails(monkeypatch: pytest.MonkeyPatch, pytest_calls: Any) -> None:
    code, out, err = run(monkeypatch, (("style", OK), ("types", BROKEN), ("format", OK)))

    assert code == 3
    assert "three errors" in out
    assert "all is well" not in out
    assert "Failed: types. Not run: format, tests." in err
    assert pytest_calls == []


def test_it_gives_its_arguments_to_pytest(monkeypatch: pytest.MonkeyPatch, pytest_calls: Any) -> None:
    code, _, _ = run(monkeypatch, (("style", OK),), "tests/registry", "-k", "approve")

    [(arguments, _environ)] = pytest_calls
    assert arguments[:5] == [sys.executable, "-m", "pytest", "-n", "auto"]
    assert arguments[-3:] == ["tests/registry", "-k", "approve"]
    assert code == 5


def test_it_keeps_the_installation_out_of_the_tests(
    monkeypatch: pytest.MonkeyPatch, pytest_calls: Any
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://production")
    monkeypatch.setenv("MODELGATE_HTTPS", "true")

    run(monkeypatch, ())

    [(_arguments, environ)] = pytest_calls
    assert "DATABASE_URL" not in environ
    assert "MODELGATE_HTTPS" not in environ
    assert environ["MODELGATE_DATA_DIR"] != "var"
