"""The record and its predictions must behave alike on what production uses: PostgreSQL and Redis."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.services import postgresql, redis

SUITES = ("tests/registry", "tests/inference")


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(900)
def test_registry_and_inference_pass_on_postgresql_and_redis(tmp_path: Path) -> None:
    """A pytest of its own: Django reads its database once in a process's life."""
    with postgresql() as database, redis() as broker:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))
        }
        environ = inherited | {
            "DATABASE_URL": database,
            "REDIS_URL": broker,
            "MODELGATE_DATA_DIR": str(tmp_path),
        }
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *SUITES,
                "-q",
                "-m",
                "not slow and not browser",
                "-p",
                "no:cacheprovider",
            ],
            cwd=settings.BASE_DIR,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-20_000:]
