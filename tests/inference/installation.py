"""A whole installation in a folder, with processes of its own: what tests with kill -9 need."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

SETUP = """
import django; django.setup()
import io, json, sys
from tests import factories
"""

TRAIN = (
    SETUP
    + """
import joblib, numpy, pandas
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

random = numpy.random.default_rng(7)
frame = pandas.DataFrame({
    "age": random.integers(18, 90, 2000),
    "income": random.normal(3000, 900, 2000),
    "city": random.choice(["Delhi", "Pune"], 2000),
})
answer = numpy.where(frame.age * 40 + frame.income + random.normal(0, 500, 2000) > 5000, "yes", "no")
model = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
    ),
    LogisticRegression(),
)
model.fit(frame, answer)
packed = io.BytesIO()
joblib.dump(model, packed)
business = factories.create_user(email="business@example.com", roles=["business"])
release = factories.create_release(version=factories.create_version(content=packed.getvalue()))
print(release.model.slug)
"""
)

START = (
    SETUP
    + """
from inference import batches
from registry.models import RegisteredModel, User
with open(sys.argv[1], "rb") as file:
    job = batches.start_batch(
        RegisteredModel.objects.get(), file, "people.csv", actor=User.objects.get(email="business@example.com")
    )
print(job.public_id)
"""
)

OBSERVE = (
    SETUP
    + """
from inference.models import BatchJob
from registry import storage
from django.db.models import Sum
from monitoring.models import ServicePart

for line in sys.stdin:
    job = BatchJob.objects.get(public_id=line.strip())
    print(json.dumps({
        "state": job.state, "total": job.total, "scored": job.scored, "invalid": job.invalid,
        "ignored": job.ignored, "error": job.error,
        "counted": ServicePart.objects.filter(channel="batch").aggregate(n=Sum("rows"))["n"],
        "tries": job.chunks.aggregate(n=Sum("tries"))["n"] or 0, "chunks": job.chunks.count(),
        "seconds": (job.finished_at - job.created_at).total_seconds() if job.finished_at else None,
        "result": str(storage.local_path(job.files["result"])) if "result" in job.files else "",
    }), flush=True)
"""
)


class Installation:
    """A data folder, and the processes that work on it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MODELGATE_", "CELERY_"))
            },
            "MODELGATE_DATA_DIR": str(folder),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> "Installation":
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            self.kill(process)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def run(self, code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "django", *arguments]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a unit in a process group of its own."""
        command = [sys.executable, "-m", "django", *arguments]
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[Any]) -> None:
        """kill -9 the process and all its children at once."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @cached_property
    def observer(self) -> subprocess.Popen[str]:
        """One process that answers all looks: starting Django for each would take longer than the job."""
        process = subprocess.Popen(
            [sys.executable, "-c", OBSERVE],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def look(self, job: str) -> dict[str, Any]:
        questions, answers = self.observer.stdin, self.observer.stdout
        assert questions is not None and answers is not None
        questions.write(f"{job}\n")
        questions.flush()
        seen: dict[str, Any] = json.loads(answers.readline())
        return seen

    def wait(self, job: str, until: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Look at the job until it is as wanted."""
        give_up = time.monotonic() + seconds
        while not until(seen := self.look(job)):
            if time.monotonic() > give_up:
                log = (self.folder / "worker.log").read_text()[-3000:]
                raise AssertionError(f"still {seen} after {seconds} s\n{log}")
            select.select([], [], [], 0.1)
        return seen
