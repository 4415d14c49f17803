"""The walk in README does the whole job through the API alone, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT, environment, running_portal

pytestmark = pytest.mark.slow


def blocks() -> tuple[str, str]:
    """The two scripts of the section: people with their keys, and the walk."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## The whole job with curl", 1)[1].split("\n## ", 1)[0]
    people, walk = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return people, walk


def test_it_runs_unchanged(tmp_path: Path) -> None:
    people, walk = blocks()
    script = tmp_path / "walk.sh"
    script.write_text(f"{people}\n{walk}")
    with running_portal(tmp_path / "data") as portal:
        done = subprocess.run(
            ["bash", str(script)],
            cwd=ROOT,
            env={
                **environment(),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHON": sys.executable,
                "PORTAL": portal.address,
                "MODELGATE_DATA_DIR": str(portal.data_dir),
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "chain is whole: True" in done.stdout
        assert "request.approved       refused  walk.author@example.com" in done.stdout
        assert portal.manage("audit_verify")
