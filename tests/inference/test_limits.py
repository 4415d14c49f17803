"""What a runner gives up before it opens a model, seen from inside."""

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.runner import jail, limits

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")


def in_jail(look: Callable[[], Any], **changes: Any) -> tuple[dict[str, str], Any]:
    """The layers, and what `look` finds, from a forked process that entered the jail.

    Without Landlock and seccomp: here it is the limits that must hold. `test_jail` has the whole.
    """
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def enter() -> None:
        layers = jail.enter(limits.Limits(**{"memory": 4 << 30, **changes}), without=["landlock", "seccomp"])
        try:
            queue.put((layers, look()))
        except BaseException as error:
            queue.put((layers, type(error).__name__))

    process = context.Process(target=enter)
    process.start()
    found: tuple[dict[str, str], Any] = queue.get()
    process.join()
    return found


def status_of_myself() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}


def test_every_layer_answers_for_itself() -> None:
    layers, status = in_jail(status_of_myself)

    assert set(layers) == {"process_group", "parent_death", *jail.SWITCHES}
    assert layers["no_new_privs"] == "on" and status["NoNewPrivs"] == "1"


def test_no_capability_is_left() -> None:
    _layers, status = in_jail(status_of_myself)

    assert (int(status["CapEff"], 16), int(status["CapPrm"], 16)) == (0, 0)
    if os.geteuid() == 0:
        assert int(status["CapBnd"], 16) == 0


@needs_root
def test_root_becomes_a_user_of_its_own() -> None:
    layers, found = in_jail(lambda: (os.getresuid(), os.getresgid(), os.getgroups()), uid=60_123)

    assert layers["uid"] == "on: 60123"
    assert layers["parent_death"] == "on"
    assert found == ((60_123,) * 3, (60_123,) * 3, [])


@needs_root
def test_there_is_no_way_back_to_root() -> None:
    _layers, found = in_jail(lambda: os.setuid(0), uid=60_123)

    assert found == "PermissionError"


def test_no_file_can_grow_and_no_core_is_written(tmp_path: Path) -> None:
    target = tmp_path / "file"

    _layers, found = in_jail(lambda: target.write_bytes(b"x"))

    assert found == "OSError"
    assert target.read_bytes() == b""


def test_memory_is_limited() -> None:
    _layers, found = in_jail(lambda: bytearray(8 << 30))

    assert found == "MemoryError"


@pytest.mark.parametrize(("kind", "most"), [("NOFILE", 512), ("CORE", 0), ("FSIZE", 0), ("MEMLOCK", 0)])
def test_limits_cannot_be_raised_again(kind: str, most: int) -> None:
    number = getattr(resource, f"RLIMIT_{kind}")

    _layers, found = in_jail(lambda: resource.setrlimit(number, (most + 1, most + 1)))

    assert found == "ValueError"


def test_it_leads_a_process_group_of_its_own() -> None:
    _layers, found = in_jail(lambda: os.getpgrp() == os.getpid())

    assert found is True


@needs_root
def test_an_interpreter_that_others_cannot_read_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))

    assert limits.another_user_can_run(60_000, "/") is False


def test_nothing_of_ours_is_in_the_folder_of_the_runner() -> None:
    """What is imported there is the standard library, what models need, and the folder itself."""
    import ast

    allowed = {"joblib", "msgpack", "numpy", "onnxruntime", "pandas", "pyarrow", "scipy", "skops", "sklearn"}
    folder = Path(limits.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for name in names:
                root = name.split(".")[0]
                assert root in allowed or root in sys.stdlib_module_names, f"{file.name} imports {name}"
