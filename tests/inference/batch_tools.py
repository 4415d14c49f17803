"""What tests of batches share: a model that answers without a runner, and files to score."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from inference import batches, runners
from inference.batches import finishing, preparing, working
from inference.models import BatchJob
from inference.runners import Answer, ModelError, Question, Reasons
from registry.models import ModelVersion, Release, User


class PlainRunner:
    """Answers "yes" for people over 40, with a probability that the age decides."""

    def __init__(self, fail: Exception | None = None) -> None:
        self.fail = fail
        self.asked: list[int] = []

    def predict(self, table: pa.Table, deadline: float = 120.0) -> Answer:
        if self.fail is not None:
            raise self.fail
        self.asked.append(len(table))
        chance = np.clip(table["age"].to_numpy().astype(float) / 80, 0, 1)
        probabilities = np.column_stack([1 - chance, chance])
        return Answer(("no", "yes"), (chance > 0.5).astype(int), probabilities, chance, 0.0)

    def explain(self, question: Question, deadline: float = 120.0) -> Reasons:
        """Nothing but the age counts, against a chance of one half."""
        ages = np.clip(question.rows["age"].to_numpy().astype(float) / 80, 0, 1) - 0.5
        names = tuple(question.rows.column_names)
        shares = np.column_stack([ages if name == "age" else 0 * ages for name in names])
        return Reasons(names, shares, np.full(len(ages), 0.5), "probability", "trees", len(ages))


class RegressionRunner(PlainRunner):
    """Answers with twice the age and a half."""

    def predict(self, table: pa.Table, deadline: float = 120.0) -> Answer:
        return Answer((), None, None, table["age"].to_numpy() * 2 + 0.5, 0.0)


class TouchyRunner(PlainRunner):
    """Fails on every block that holds somebody of 33."""

    def predict(self, table: pa.Table, deadline: float = 120.0) -> Answer:
        if 33 in table["age"].to_pylist():
            raise ModelError("The model failed on these rows.", code="model_failed")
        return super().predict(table, deadline)


def use_runner(monkeypatch: Any, runner: PlainRunner | None = None) -> PlainRunner:
    chosen = runner or PlainRunner()

    @contextmanager
    def fresh(version: ModelVersion) -> Iterator[PlainRunner]:
        yield chosen

    monkeypatch.setattr(runners, "fresh", fresh)
    return chosen


def rows_csv(count: int, *, bad: int = 0) -> bytes:
    """A file of `count` good rows, and `bad` ones whose age is no number, mixed in evenly."""
    lines = ["age,income,city,name"]
    step = (count + bad) // bad if bad else 0
    for number in range(count + bad):
        is_bad = bool(step) and number % step == 0 and number // step < bad
        age = "old" if is_bad else str(20 + number % 60)
        lines.append(f"{age},{1000 + number},{('Delhi', 'Pune')[number % 2]},person {number}")
    return ("\n".join(lines) + "\n").encode()


def start(
    release: Release, actor: User, content: bytes = b"", filename: str = "people.csv", **options: Any
) -> BatchJob:
    content = content or rows_csv(3)
    return batches.start_batch(
        release.model, io.BytesIO(content), filename, options=options, actor=actor, environment="production"
    )


def finish(job: BatchJob) -> BatchJob:
    """Do what the workers would do, in this process."""
    preparing.prepare(job.pk)
    while working.work(job.pk):
        pass
    job.refresh_from_db()
    return job


def result_text(job: BatchJob, name: str = "result") -> str:
    from inference.batches import files

    with files.open_output(job, name) as file:
        return file.read().decode("utf-8")


__all__ = [
    "PlainRunner",
    "RegressionRunner",
    "TouchyRunner",
    "finish",
    "finishing",
    "result_text",
    "rows_csv",
    "start",
    "use_runner",
]
