"""What a hostile model can do from its process: nothing to us."""

import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sklearn.tree import DecisionTreeClassifier

from inference.runner import wire
from inference.runners import (
    Client,
    Facts,
    FreshRunner,
    ModelError,
    ModelTimeout,
    ModelUnavailable,
    RunnerSpec,
)
from inference.runners.conversations import Conversation
from tests import hostile, trained
from tests.inference.conftest import MakeSpec
from tests.processes import is_alive, wait_until_dead

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")]

PATCH = """
import sklearn.linear_model as m
def predict(self, X):
    import os, sys, time
    {body}
m.LogisticRegression.predict = predict
m.LogisticRegression.predict_proba = predict
"""


@pytest.fixture
def client(modeld: Any) -> Client:
    found: Client = modeld.client
    return found


@pytest.fixture
def misbehaving(make_spec: MakeSpec) -> Any:
    """A version whose predict does what the test says. Only these tests admit `exec`."""

    def make(body: str) -> RunnerSpec:
        data = hostile.with_code(PATCH.format(body=body), trained.whole_numbers())
        return make_spec(data, columns=(("age", "integer"),), admitted=hostile.EXEC)

    return make


ROW = pa.table({"age": [33]})


def pid_of(client: Client, spec: RunnerSpec) -> int:
    return next(each["pid"] for each in client.status()["runners"] if each["key"] == spec.key)


def test_the_runner_itself_refuses_hostile_files(client: Client, make_spec: MakeSpec, tmp_path: Path) -> None:
    """The inventory refuses them at upload; here somebody has put them into the store all the same."""
    canary = tmp_path / "canary"

    for kind, data in hostile.corpus(canary).items():
        with pytest.raises(ModelUnavailable):
            client.describe(make_spec(data, key=f"{tmp_path.name}-{kind}"))
        assert not canary.exists(), kind


@pytest.mark.parametrize("body", ["time.sleep(60)", "while True: pass", "[].__class__(iter(int, 1))"])
def test_a_model_that_never_answers_is_killed_at_the_deadline(
    client: Client, misbehaving: Any, body: str
) -> None:
    spec = misbehaving(body)
    client.describe(spec)
    pid = pid_of(client, spec)

    with pytest.raises(ModelTimeout) as error:
        client.predict(spec, ROW, 0.5)

    assert error.value.status == 504
    wait_until_dead(pid)


def test_a_tree_that_runs_in_circles_is_killed_too(client: Client, make_spec: MakeSpec) -> None:
    """Only reviewed names, and yet an endless loop in C that no Python signal interrupts."""
    model = DecisionTreeClassifier(max_depth=2).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    state = model.tree_.__getstate__()
    state["nodes"]["left_child"][:] = 0
    state["nodes"]["right_child"][:] = 0
    model.tree_.__setstate__(state)
    spec = make_spec(model, columns=(("x", "number"),))

    with pytest.raises((ModelTimeout, ModelUnavailable)):
        client.predict(spec, pa.table({"x": [1.0]}), 1)


def test_the_next_question_gets_a_new_runner(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    first = client.predict(spec, trained.table(3), 10)
    pid = pid_of(client, spec)
    os.kill(pid, 9)
    wait_until_dead(pid)

    assert client.predict(spec, trained.table(3), 10).labels == first.labels
    assert pid_of(client, spec) != pid


def test_a_deadline_kills_only_the_runner_that_was_late(client: Client, misbehaving: Any) -> None:
    spec = misbehaving("time.sleep(60)")
    client.describe(spec)
    pid = pid_of(client, spec)

    client.kill(spec.key, "another generation")

    assert is_alive(pid)


def test_a_model_that_dies_costs_one_retry_and_then_an_error(client: Client, misbehaving: Any) -> None:
    spec = misbehaving("os._exit(1)")

    with pytest.raises(ModelUnavailable) as error:
        client.predict(spec, ROW, 10)

    assert error.value.code == "model_died"


def test_a_model_that_keeps_dying_rests(client: Client, misbehaving: Any) -> None:
    spec = misbehaving("os._exit(1)")
    codes = []
    for _attempt in range(4):
        with pytest.raises(ModelUnavailable) as error:
            client.predict(spec, ROW, 10)
        codes.append(error.value.code)

    assert codes[-1] == "crash_loop"


def test_a_model_that_prints_does_not_speak_for_us(client: Client, misbehaving: Any) -> None:
    spec = misbehaving(
        "print('noise', flush=True); os.write(1, b'noise'); os.write(2, b'noise'); raise KeyError('spoken')"
    )

    with pytest.raises(ModelError) as error:
        client.predict(spec, ROW, 10)

    assert "spoken" in error.value.detail


def test_memory_ends_in_an_error_not_in_ours(client: Client, misbehaving: Any) -> None:
    spec = misbehaving("return bytearray(16 << 30)")

    with pytest.raises(ModelError) as error:
        client.predict(spec, ROW, 10)

    assert error.value.code == "model_memory"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise KeyError(sorted(os.environ))", "OMP_NUM_THREADS"),
        ("raise KeyError(os.getcwd())", "'/'"),
        (
            "raise KeyError([n for n in sys.modules if n.split('.')[0] in ('django', 'registry', 'celery')])",
            "[]",
        ),
        ("raise KeyError(os.getpgrp() == os.getpid())", "True"),
        ("raise KeyError([os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)])", "/dev/null"),
    ],
)
def test_it_finds_nothing_of_ours(client: Client, misbehaving: Any, body: str, expected: str) -> None:
    with pytest.raises(ModelError) as error:
        client.predict(misbehaving(body), ROW, 10)

    assert expected in error.value.detail
    for secret in ("DJANGO", "MODELGATE", "SECRET", "PYTEST"):
        assert secret not in error.value.detail


def test_it_cannot_gain_privileges_or_write_files(client: Client, misbehaving: Any, tmp_path: Path) -> None:
    target = tmp_path / "written"
    spec = misbehaving(f"open({str(target)!r}, 'w').write('x' * 100)")

    with pytest.raises(ModelError):
        client.predict(spec, ROW, 10)

    assert not target.exists() or target.read_bytes() == b""


def test_a_runner_gives_back_what_it_cannot_read(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    conversation = client.connect(spec)
    wire.send(conversation.connection, {"rows": b"not arrow"})

    reply = wire.receive(conversation.connection, deadline=wire.Deadline(10))

    assert reply["ok"] is False
    conversation.close()


def test_many_processes_may_talk_to_one_runner(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    conversations = [client.connect(spec) for _ in range(150)]
    try:
        answers = [each.ask(spec, trained.table(1), 20).labels for each in conversations]
    finally:
        for each in conversations:
            each.close()

    assert len({each.generation for each in conversations}) == 1
    assert answers == [answers[0]] * 150


# --- the artifact ---


def test_other_bytes_than_the_recorded_ones_are_not_loaded(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    spec.path.write_bytes(trained.joblib_bytes(trained.forest()))

    with pytest.raises(ModelUnavailable) as error:
        client.describe(spec)

    assert error.value.code == "artifact"


def test_a_link_out_of_the_store_is_not_followed(client: Client, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(trained.logistic())
    elsewhere = tmp_path / "elsewhere"
    spec.path.rename(elsewhere)
    spec.path.symlink_to(elsewhere)

    with pytest.raises(ModelUnavailable) as error:
        client.describe(spec)

    assert error.value.code == "artifact"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../../../etc/passwd"])
def test_a_path_outside_the_store_is_not_opened(
    client: Client, make_spec: MakeSpec, tmp_path: Path, path: str
) -> None:
    spec = make_spec(trained.logistic())
    away = RunnerSpec(key="away", sha256=spec.sha256, path=tmp_path / path, format="joblib")

    with pytest.raises(ModelUnavailable) as error:
        client.describe(away)

    assert error.value.code == "artifact"


# --- hostile replies ---


FACTS = Facts.read({"kind": "classifier", "classes": ["no", "yes"], "probabilities": False})


@pytest.fixture
def pair() -> Iterator[tuple[Conversation, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Conversation(ours, "1", FACTS), theirs


def _labels(**changes: Any) -> dict[str, Any]:
    return {"ok": True, "labels": {"dtype": "<i4", "shape": [1], "data": b"\0\0\0\0", **changes}}


BAD_REPLIES = {
    "no labels": {"ok": True},
    "another dtype": _labels(dtype="|O"),
    "an object dtype of the right size": _labels(dtype="<f4"),
    "too few bytes": _labels(data=b""),
    "too many bytes": _labels(data=bytes(8)),
    "another shape": _labels(shape=[2], data=bytes(8)),
    "a negative side": _labels(shape=[-1]),
    "a true side": _labels(shape=[True]),
    "a class that does not exist": _labels(data=b"\x02\0\0\0"),
    "a class before the first": _labels(data=b"\xff\xff\xff\xff"),
    "text for bytes": _labels(data="abcd"),
    "one key more": _labels(more=1),
    "a list of warnings too long": {**_labels(), "warnings": ["x"] * 20_000},
}


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_a_reply_of_the_wrong_form_is_not_used(pair: Any, name: str) -> None:
    conversation, runner = pair
    wire.send(runner, BAD_REPLIES[name])

    with pytest.raises(wire.BadFrame):
        conversation.ask(RunnerSpec("k", "", Path(), "joblib"), ROW, 5)


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\x04\0\0\0\x93\x01\x02\x03", b"\x01\0\0\0\xc1", b"\x01\0\0\0\x01"]
)
def test_bytes_that_are_no_frame_are_not_used(pair: Any, raw: bytes) -> None:
    conversation, runner = pair
    runner.sendall(raw)

    with pytest.raises(wire.BadFrame):
        conversation.ask(RunnerSpec("k", "", Path(), "joblib"), ROW, 5)


def test_a_reply_that_trickles_meets_the_deadline(pair: Any) -> None:
    """Each byte would restart a deadline per read; the deadline holds for the whole frame."""
    conversation, runner = pair
    stop = threading.Event()

    def trickle() -> None:
        runner.sendall(b"\x00\x01\0\0")
        while not stop.wait(0.05):
            runner.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            conversation.ask(RunnerSpec("k", "", Path(), "joblib"), ROW, 0.4)
    finally:
        stop.set()
        thread.join()


def test_what_a_model_calls_its_classes_is_cut_to_size() -> None:
    for classes in ([["no"]], ["x" * 2000], [b"no"], "no", ["a"] * 20_000):
        with pytest.raises(wire.BadFrame):
            Facts.read({"kind": "classifier", "classes": classes})


# --- whose runner ---


def test_a_fresh_runner_ends_with_its_owner(modeld: Any, make_spec: MakeSpec) -> None:
    """Also when the owner is killed, and the model is too busy to notice."""
    spec = make_spec(trained.logistic())
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def own(path: Path) -> None:
        runner = FreshRunner(Client(path), spec)
        queue.put(runner.facts.estimator)
        threading.Event().wait()

    process = context.Process(target=own, args=(modeld.socket,))
    process.start()
    queue.get()
    pid = pid_of(modeld.client, spec)
    process.kill()
    process.join()

    wait_until_dead(pid)


def test_a_forked_process_has_conversations_of_its_own(client: Client, make_spec: MakeSpec) -> None:
    spec = make_spec(trained.logistic())
    expected = client.predict(spec, trained.table(20), 10).labels
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(client.predict(spec, trained.table(20), 10).labels))
    process.start()
    mine = [client.predict(spec, trained.table(20), 10).labels for _ in range(50)]

    assert queue.get() == expected
    assert all(labels == expected for labels in mine)
    process.join()
