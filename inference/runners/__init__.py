"""Our side of the model runner: ask a version for answers, and believe nothing that comes back unchecked.

A process keeps open conversations with each version's runners and lends them to its threads. The supervisor hands them
out and is not in the way of the rows. A dead runner costs a retry, a silent one its life: after the deadline that
generation is killed, the caller whose rows it held is told, and the others are asked again elsewhere.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
from django.conf import settings

from inference.runner import encoded
from inference.runners import crashing, errors
from inference.runners.answers import Answer, Facts, RunnerSpec
from inference.runners.conversations import DEADLINE, Client, FreshRunner
from inference.runners.errors import ModelError, ModelTimeout, ModelUnavailable
from inference.runners.reasons import Question, Reasons
from inference.runners.turnstile import door
from registry import artifacts
from registry.models import ModelVersion

__all__ = [
    "DEADLINE",
    "Answer",
    "Client",
    "Facts",
    "FreshRunner",
    "ModelError",
    "ModelTimeout",
    "ModelUnavailable",
    "Question",
    "Reasons",
    "RunnerSpec",
    "client",
    "describe",
    "explain",
    "fresh",
    "is_alive",
    "keep",
    "predict",
    "predict_encoded",
    "resting",
    "retire",
    "spec_for",
    "warm",
]


def spec_for(version: ModelVersion) -> RunnerSpec:
    """Where this version's file is on this machine, and how its columns travel."""
    fields = version.schema.get("fields", [])
    target = version.schema.get("target") or {}
    sha256, form = version.opened
    graph = version.globals.get("graph") or {}
    return RunnerSpec(
        key=f"{version.pk}-{version.sha256[:12]}",
        sha256=sha256,
        path=artifacts.local_path(sha256),
        format=form,
        columns=tuple((each["name"], each["type"]) for each in fields),
        positive=target.get("positive"),
        admitted=tuple(_module_and_name(name) for name in version.admitted_names),
        classes=tuple(graph.get("classes") or target.get("classes") or ()),
    )


def _module_and_name(dotted: str) -> tuple[str, str]:
    """Names with a dot of their own are never admitted, so that the last dot is the border."""
    module, _dot, name = dotted.rpartition(".")
    return module, name


def predict(version: ModelVersion, table: pa.Table, deadline: float | None = None) -> Answer:
    """Answer every row, all or none. Raises ModelError, ModelTimeout or ModelUnavailable."""
    return _predict(version, spec_for(version), table, deadline)


def predict_encoded(version: ModelVersion, matrix: npt.NDArray[Any], deadline: float | None = None) -> Answer:
    """The same from the matrix that the steps before the estimator would make; the estimator alone is asked."""
    return _predict(version, spec_for(version).for_encoded(), encoded.as_table(matrix), deadline)


def _predict(version: ModelVersion, spec: RunnerSpec, table: pa.Table, deadline: float | None) -> Answer:
    try:
        with door.pass_through(spec.key, settings.MODELGATE_MODEL_THREADS):
            return client().predict(spec, table, deadline or settings.MODELGATE_PREDICT_SECONDS)
    except ModelUnavailable as error:
        if error.code == errors.CRASH_LOOP:
            crashing.tell(version.pk)
        raise


def explain(version: ModelVersion, question: Question) -> Reasons:
    """What each column added to the answers. Raises ModelError where there are no reasons to be had."""
    seconds = question.seconds + settings.MODELGATE_PREDICT_SECONDS
    return client().explain(spec_for(version), question, seconds)


def describe(version: ModelVersion) -> Facts:
    """Load the version if it is not loaded yet, and say what it is."""
    return client().describe(spec_for(version))


def warm(version: ModelVersion) -> None:
    """Load the version before somebody waits for it."""
    client().describe(spec_for(version))


def keep(versions: Iterable[ModelVersion]) -> None:
    """Have runners of these versions ready at all times, and retire those of versions that are no longer named."""
    client().keep([spec_for(version) for version in versions])


def resting() -> list[int]:
    """The versions that crashed so often that the supervisor lets them rest."""
    keys = client().status().get("resting")
    numbers = [str(key).partition("-")[0] for key in keys] if isinstance(keys, list) else []
    return [int(number) for number in numbers if number.isdecimal()]


def retire(version: ModelVersion, drain: float = 30) -> None:
    """No further conversations with this version; running ones may end."""
    client().retire(spec_for(version).key, drain)


@contextmanager
def fresh(version: ModelVersion) -> Iterator[FreshRunner]:
    """A runner of one's own, for a batch or for checks: it remembers nothing of others, and ends with the block."""
    runner = FreshRunner(client(), spec_for(version))
    try:
        yield runner
    finally:
        runner.close()


def is_alive() -> bool:
    """Does the model supervisor answer?"""
    try:
        client().status()
    except ModelError:
        return False
    return True


def client() -> Client:
    return _client(Path(settings.MODELGATE_MODELD_SOCKET))


@cache
def _client(path: Path) -> Client:
    return Client(path)
