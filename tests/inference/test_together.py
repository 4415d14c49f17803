"""Requests that arrive together are scored together, and none suffers for its neighbours."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from inference.runner import arrays, scoring, serving, together, wire
from inference.runner.together import Line
from inference.runners import Client, ModelError, ModelTimeout, ModelUnavailable, RunnerSpec
from inference.runners.answers import pack
from tests import hostile, trained
from tests.inference.conftest import MakeSpec
from tests.live import wait_until


def rows(*numbers: float) -> pa.Table:
    return pa.table({"x": pa.array(numbers, pa.float64())})


class Model:
    """Doubles each number; waits where it is told to, and fails on 13."""

    def __init__(self) -> None:
        self.calls: list[list[list[float]]] = []
        self.may_go_on = threading.Event()
        self.is_asked = threading.Event()
        self.before_call: Callable[[], None] = lambda: None

    def score(self, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
        self.before_call()
        asked = [table["x"].to_pylist() for table in tables]
        self.calls.append(asked)
        self.is_asked.set()
        assert self.may_go_on.wait(20)
        if any(13 in each for each in asked):
            raise ValueError("13")
        return [{"values": [2 * x for x in each]} for each in asked]


class Callers:
    """Each asks in a thread of its own; what it heard and got is kept under its name."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.heard: dict[str, list[dict[str, Any]]] = {}
        self.got: dict[str, dict[str, Any]] = {}
        self.threads: list[threading.Thread] = []

    def ask(self, name: str, table: pa.Table, tell: Callable[[Any], None] | None = None, **how: Any) -> None:
        heard = self.heard.setdefault(name, [])

        def run() -> None:
            with suppress(BrokenPipeError):
                self.line.ask(table, tell or heard.append, **how)
                self.got[name] = heard.pop() if heard else {}

        self.threads.append(threading.Thread(target=run, daemon=True))
        before = len(self.line._waiting)
        self.threads[-1].start()
        wait_until(lambda: len(self.line._waiting) > before or heard or tell, 20, every=0.001)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def callers(model: Model) -> Callers:
    """One call is being answered already: whoever asks now waits."""
    callers = Callers(Line(model.score, lambda error: {"failed": str(error)}))
    callers.ask("first", rows(1))
    assert model.is_asked.wait(20)
    return callers


def test_those_who_wait_share_the_next_call(model: Model, callers: Callers) -> None:
    callers.ask("a", rows(2, 3))
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert model.calls == [[[1]], [[2, 3], [4]]]
    assert {name: got["values"] for name, got in callers.got.items()} == {"first": [2], "a": [4, 6], "b": [8]}
    assert callers.heard == {"first": [{"started": 1}], "a": [{"started": 2}], "b": [{"started": 2}]}


def test_a_row_that_the_model_cannot_bear_fails_its_own_request_only(model: Model, callers: Callers) -> None:
    callers.ask("a", rows(2))
    callers.ask("bad", rows(13))
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert callers.got["a"]["values"] == [4]
    assert callers.got["b"]["values"] == [8]
    assert callers.got["bad"]["failed"] == "13"
    assert callers.heard["a"] == [{"started": 3}, {"started": 1}]


def test_replies_are_heard_before_the_next_rows_are_begun(model: Model, callers: Callers) -> None:
    """Else rows that kill the model would take the answers of others along."""
    told: list[dict[str, Any]] = []
    heard_at_calls: list[Any] = []
    model.before_call = lambda: heard_at_calls.append(told and told[-1].get("values"))
    callers.ask("a", rows(2), told.append, alone=True)
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert model.calls == [[[1]], [[2]], [[4]]]
    assert heard_at_calls == [None, [4]]


def test_who_asks_alone_shares_with_nobody(model: Model, callers: Callers) -> None:
    callers.ask("alone", rows(2), alone=True)
    callers.ask("a", rows(3))
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert model.calls == [[[1]], [[2]], [[3], [4]]]
    assert callers.heard["a"] == [{"waiting": True}, {"started": 2}]


def test_a_joined_call_has_an_end(model: Model, callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MAX_ROWS", 3)
    callers.ask("a", rows(2, 3))
    callers.ask("b", rows(4, 5))
    model.may_go_on.set()
    callers.join()

    assert model.calls == [[[1]], [[2, 3]], [[4, 5]]]


def test_rows_of_another_shape_are_not_joined(model: Model, callers: Callers) -> None:
    callers.ask("a", rows(2))
    callers.ask("whole", pa.table({"x": [4]}))
    model.may_go_on.set()
    callers.join()

    assert model.calls == [[[1]], [[2]], [[4]]]


def test_rows_of_a_caller_who_hung_up_are_not_scored(model: Model, callers: Callers) -> None:
    def hung_up(_note: Any) -> None:
        raise BrokenPipeError

    callers.ask("gone", rows(2), hung_up)
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert [4] in model.calls[1] + model.calls[-1]
    assert all([2] not in call for call in model.calls)
    assert callers.got["b"]["values"] == [8]


@pytest.mark.parametrize(
    "error", [MemoryError, UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates")], ids=str
)
def test_a_reply_that_cannot_be_sent_fails_its_own_request_only(
    model: Model, callers: Callers, error: Any
) -> None:
    told: list[dict[str, Any]] = []

    def tell(note: dict[str, Any]) -> None:
        if "values" in note:
            raise error
        told.append(note)

    callers.ask("a", rows(2))
    callers.ask("big", rows(3), tell)
    callers.ask("b", rows(4))
    model.may_go_on.set()
    callers.join()

    assert [callers.got[name]["values"] for name in ("a", "b")] == [[4], [8]]
    assert "failed" in told[-1]
    callers.ask("later", rows(5))
    callers.join()
    assert callers.got["later"]["values"] == [10]


def test_nobody_waits_for_ever_when_a_failure_cannot_be_told(model: Model, callers: Callers) -> None:
    def speechless(_error: BaseException) -> dict[str, Any]:
        raise RuntimeError

    callers.line._failure = speechless
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            callers.line.ask(rows(13), lambda _note: None)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: callers.line._waiting, 20, every=0.001)
    callers.ask("b", rows(4), alone=True)
    model.may_go_on.set()
    callers.join()
    thread.join(20)

    assert errors
    assert callers.got["b"]["values"] == [8]


# --- through a real runner ---


def test_who_does_not_read_holds_up_nobody_and_gets_all_of_it(modeld: Any, make_spec: MakeSpec) -> None:
    """A process that is held for a while is no reason to end a runner that others use too."""
    spec = make_spec(trained.regression())
    client: Client = modeld.client
    many = pa.concat_tables([trained.table()] * 500)  # its reply is larger than what a socket holds
    held = client.connect(spec)
    try:
        wire.send(held.connection, {"rows": pack(many, spec.columns)})
        started = wire.receive(held.connection, deadline=wire.Deadline(20))

        assert started == {"started": 1}
        assert client.predict(spec, trained.table(1), 20).values is not None
        reply = wire.receive(held.connection, 1 << 22, wire.Deadline(20))
    finally:
        held.close()
    assert arrays.unpack(reply["values"], (many.num_rows,), "<f8").shape == (many.num_rows,)


PATCH = """
import sklearn.linear_model as m
def predict(self, X, calm=m.LogisticRegression.predict):
    import os, time
    ages = X["age"].tolist()
    {body}
    return calm(self, X)
m.LogisticRegression.predict = predict
"""


@pytest.fixture
def moody(make_spec: MakeSpec) -> Callable[[str], RunnerSpec]:
    """A version whose predict does something first, knowing the `ages` that it is asked for."""

    def make(body: str) -> RunnerSpec:
        data = hostile.with_code(PATCH.format(body=body), trained.whole_numbers())
        return make_spec(data, columns=(("age", "integer"),), admitted=hostile.EXEC)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "forest", "boosted", "regression"])
def test_joined_answers_are_the_same_answers(modeld: Any, make_spec: MakeSpec, name: str) -> None:
    """Forests to the bit; where BLAS multiplies, the last bit may depend on the number of rows, joined or not."""
    spec, table = make_spec(getattr(trained, name)()), trained.table(60)
    client: Client = modeld.client
    whole = client.predict(spec, table, 20)
    expected = whole.probabilities if whole.probabilities is not None else whole.values
    assert expected is not None
    found: dict[int, Any] = {}

    def ask(first: int) -> None:
        for position in range(first, 60, 6):
            found[position] = client.predict(spec, table.slice(position, 1), 20)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    answers = [found[position] for position in range(60)]
    assert [each.labels[0] for each in answers] == whole.labels if whole.labels else True
    got = [each.values[0] if each.probabilities is None else each.probabilities[0] for each in answers]
    np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.slow
def test_those_behind_a_row_that_hangs_are_answered_by_another_runner(modeld: Any, moody: Any) -> None:
    spec = moody("time.sleep(60 if 13 in ages else 0)")
    # Those behind have time left when the first has none: one whose own time is over is told so, and rightly.
    outcomes = ask_at_once(modeld.client, spec, [13, 40, 50, 60], seconds=20, seconds_of_first=2)

    assert isinstance(outcomes[0], ModelTimeout)
    assert not any(isinstance(each, Exception) for each in outcomes[1:]), outcomes


@pytest.mark.slow
def test_those_behind_a_row_that_kills_are_answered_by_another_runner(modeld: Any, moody: Any) -> None:
    spec = moody("os._exit(1) if 13 in ages else time.sleep(0.2)")
    outcomes = ask_at_once(modeld.client, spec, [40, 13, 50, 60], seconds=10)

    assert isinstance(outcomes[1], ModelUnavailable) and outcomes[1].code == "model_died"
    assert [isinstance(each, Exception) for each in outcomes] == [False, True, False, False], outcomes


@pytest.mark.slow
def test_a_row_that_fails_fails_alone(modeld: Any, moody: Any) -> None:
    spec = moody("time.sleep(0.1); {}['unlucky'] if 13 in ages else None")
    outcomes = ask_at_once(modeld.client, spec, [13, 40, 50, 60], seconds=20)

    assert isinstance(outcomes[0], ModelError) and "unlucky" in outcomes[0].detail
    assert not any(isinstance(each, Exception) for each in outcomes[1:]), outcomes


def ask_at_once(
    client: Client, spec: Any, numbers: Sequence[int], seconds: float, seconds_of_first: float | None = None
) -> list[Any]:
    """One row each, all from threads of their own; what each got, an answer or its error."""
    client.describe(spec)
    outcomes: list[Any] = [None] * len(numbers)
    together_now = threading.Barrier(len(numbers))

    def ask(position: int) -> None:
        together_now.wait()
        limit = seconds if position or seconds_of_first is None else seconds_of_first
        try:
            outcomes[position] = client.predict(spec, pa.table({"age": [numbers[position]]}), limit)
        except ModelError as error:
            outcomes[position] = error

    threads = [threading.Thread(target=ask, args=(position,)) for position in range(len(numbers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class Quoting:
    """Warns of every row that it sees, and fails on two requests at once."""

    def answer(self, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
        scoring.notes.lines.extend(f"saw {x}" for table in tables for x in table["x"].to_pylist())
        if len(tables) > 1:
            raise ValueError
        return [{"values": []}]


def test_nobody_reads_the_warnings_of_a_joined_call_that_failed() -> None:
    scorer: Any = Quoting()
    with pytest.raises(ValueError):
        serving._score(scorer, [rows(1), rows(2)])

    [reply] = serving._score(scorer, [rows(2)])

    assert reply["warnings"] == ["saw 2.0"]
