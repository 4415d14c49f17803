"""Files in storage: whole or not there, and nothing of a killed process stays for good."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from registry import storage


def test_a_killed_put_leaves_nothing_once_its_key_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"somebody's row")
    storage.put("sweeping/kept", source)

    def killed(*_arguments: Any) -> None:
        monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", killed)
        with pytest.raises(SystemExit):
            storage.put("sweeping/torn", source)
    monkeypatch.undo()
    assert len(storage.names("sweeping")) == 2

    storage.delete_torn("sweeping/torn")

    assert storage.names("sweeping") == ["kept"]


def test_old_scratch_files_go_and_those_in_use_stay(settings: Any, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(folder)
    (folder / "old").touch()
    yesterday = time.time() - 25 * 3600
    os.utime(folder / "old", (yesterday, yesterday))

    with storage.scratch(".csv") as path:
        assert storage.sweep_scratch() == 1
        assert path.exists()

    assert list(folder.iterdir()) == []
