"""A released model that does its worst when it is asked: the caller reads why, and the next question is answered.

Through the portal's own way: the predict call of the API, the model supervisor, a runner in its jail.
"""

from collections.abc import Callable
from typing import Any

import pytest

from registry.models import ModelVersion, User
from tests import hostile, trained
from tests.api import Program, ok, problem, program
from tests.factories import create_model, create_release, create_version
from tests.modeld import Supervisor
from tests.processes import is_alive

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

WORST = """
import sklearn.linear_model as m
def predict(self, X):
    import os, sys, socket, threading
    def sockets():
        for fd in range(3, 256):
            try:
                os.set_blocking(fd, False)
                yield fd
            except OSError:
                pass
{body}
m.LogisticRegression.predict = predict
m.LogisticRegression.predict_proba = predict
"""

#: What the model does, and what the caller gets: status and code.
ACTS: dict[str, tuple[str, int, str]] = {
    "fork bomb": ("while True: os.fork()", 503, "model_failed"),
    "64 GiB": ("return bytearray(64 << 30)", 503, "model_memory"),
    "endless loop": ("while True: pass", 504, "model_timeout"),
    "1 GB of output": (
        "for _ in range(1024): os.write(1, bytes(1 << 20))\nraise KeyError('written')",
        503,
        "model_failed",
    ),
    "exit": ("os._exit(0)", 503, "model_died"),
    "signal to the parent": ("os.kill(os.getppid(), 9)", 503, "model_failed"),
    "signal to the group": ("os.killpg(0, 9)", 503, "model_failed"),
    "half a reply": (
        "for fd in sockets():\n    try: os.write(fd, b'\\x10\\0\\0\\0half')\n    except OSError: pass\nos._exit(0)",
        503,
        "model_died",
    ),
    "a reply that is no reply": (
        "for fd in sockets():\n    try: os.write(fd, b'\\x04\\0\\0\\0\\xc1\\xc1\\xc1\\xc1')\n    except OSError: pass",
        503,
        "bad_answer",
    ),
    "flood of replies": (
        "for fd in sockets():\n    try:\n        while True: os.write(fd, b'\\xff' * (1 << 20))\n"
        "    except OSError: pass",
        503,
        "bad_answer",
    ),
}
SCHEMA = {
    "fields": [{"name": "age", "type": "integer"}],
    "target": {"name": "band", "task": "classification", "classes": [0, 1, 2]},
}


@pytest.fixture
def release(modeld: Supervisor, author: User) -> Callable[..., ModelVersion]:
    """A released version whose file really runs code: as if an approver had admitted `exec`."""

    def make(slug: str, source: str = "") -> ModelVersion:
        model = trained.whole_numbers()
        content = hostile.with_code(source, model) if source else trained.joblib_bytes(model)
        version = create_version(
            model=create_model(slug=slug, owners=[author], created_by=author),
            content=content,
            schema=SCHEMA,
            admitted=["builtins.exec"] if source else [],
        )
        create_release(version=version)
        return version

    return make


def ask(caller: Program, slug: str) -> Any:
    return caller.post(f"/models/{slug}/predict/", {"inputs": {"age": 33}})


def indented(body: str) -> str:
    return "\n".join(f"    {line}" for line in body.splitlines())


@pytest.mark.parametrize("act", ACTS)
def test_it_is_contained_and_told_and_the_next_question_is_answered(
    modeld: Supervisor, release: Any, integrator: User, settings: Any, act: str
) -> None:
    settings.MODELGATE_PREDICT_SECONDS = 5
    body, status, code = ACTS[act]
    if code == "model_timeout":
        settings.MODELGATE_PREDICT_SECONDS = 1
    slug = "worst-" + act.replace(" ", "-").lower()
    release(slug, WORST.format(body=indented(body)))
    release("honest")
    caller = program(integrator)
    before = modeld.client.status()

    told = problem(ask(caller, slug), status, code)

    assert told["detail"].endswith(".")
    after = modeld.client.status()
    assert (after["pid"], after["zygote"]) == (before["pid"], before["zygote"])
    assert is_alive(after["zygote"])
    assert ok(ask(caller, "honest"))["predictions"][0]["label"] in (0, 1, 2)
