"""Our side of the model runner: ask a version for answers, and believe nothing that comes back unchecked.

Every thread keeps one open conversation per version. The supervisor hands it out and is not in the way of the rows.
A dead runner costs one retry, a silent one its life: after the deadline that generation is killed and the caller told.
"""

import math
import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from django.conf import settings
from django.utils.translation import gettext as _

from inference.modeld import address
from inference.runner import arrays, wire
from registry import artifacts
from registry.errors import Refused
from registry.models import ModelVersion
from registry.schema import Label

R = TypeVar("R")

PATIENCE = 15.0
RETRY_SECONDS = 0.05
START_SECONDS = 180.0
KEPT = 32
MAX_CLASSES = 10_000
MAX_TEXT = 1_000
REPLY_OVERHEAD = 1 << 16

ARROW_TYPES = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "category": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
}


class ModelError(Refused):
    """The model itself failed on these rows. `detail` is its own text: for its owner, not for everybody."""

    status = 503
    default_code = "model_failed"

    def __init__(self, message: str, *, detail: str = "", code: str = "", fix: str = "") -> None:
        super().__init__(message, code=code, fix=fix)
        self.detail = detail


class ModelTimeout(ModelError):
    """The model did not answer in time; its process is gone."""

    status = 504
    default_code = "model_timeout"


class ModelUnavailable(ModelError):
    """No runner can be had for this version now: it does not load, it crashes, or the model service is away."""

    status = 503
    default_code = "model_unavailable"


class _Died(Exception):
    """The runner hung up in the middle of a conversation."""


@dataclass(frozen=True)
class RunnerSpec:
    """What the supervisor must know to start a version, and what we must know to read its answers."""

    key: str
    sha256: str
    path: Path
    format: str
    columns: tuple[tuple[str, str], ...] = ()
    positive: Label | None = None
    admitted: tuple[tuple[str, str], ...] = ()

    def to_wire(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "sha256": self.sha256,
            "path": str(self.path),
            "format": self.format,
            "admitted": [list(name) for name in self.admitted],
        }


@dataclass(frozen=True)
class Facts:
    """What a runner says about the model that it holds. Its word, checked for form only."""

    kind: str
    estimator: str
    classes: tuple[Label, ...]
    has_probabilities: bool
    features: tuple[str, ...] | None
    feature_count: int | None
    feeds: str
    versions: dict[str, str]
    layers: dict[str, str]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def is_classifier(self) -> bool:
        return self.kind == "classifier"

    @classmethod
    def read(cls, claim: Any) -> Self:
        if not isinstance(claim, dict):
            raise wire.BadFrame("facts")
        if claim.get("kind") not in ("classifier", "regressor"):
            raise wire.BadFrame("kind of model")
        features, count = claim.get("features"), claim.get("feature_count")
        return cls(
            kind=claim["kind"],
            estimator=_text(claim.get("estimator")),
            classes=_labels(claim.get("classes")),
            has_probabilities=claim.get("probabilities") is True,
            features=None if features is None else tuple(_texts(features)),
            feature_count=count if type(count) is int and 0 <= count < 1 << 31 else None,
            feeds=_text(claim.get("feeds")),
            versions=_words(claim.get("versions")),
            layers=_words(claim.get("layers")),
            warnings=tuple(_texts(claim.get("warnings"))),
            seconds=_seconds(claim.get("seconds")),
        )


@dataclass(frozen=True)
class Answer:
    """One answer per row. `values` is the positive class's probability, or the regression, or None."""

    classes: tuple[Label, ...]
    indices: npt.NDArray[Any] | None  # of each row's label in `classes`; None for regression
    probabilities: npt.NDArray[Any] | None  # rows × classes
    values: npt.NDArray[Any] | None
    seconds: float  # in the model
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> list[Label] | None:
        """Each row's class, with the class's own JSON type."""
        return None if self.indices is None else [self.classes[index] for index in self.indices.tolist()]


def spec_for(version: ModelVersion) -> RunnerSpec:
    """Where this version's file is on this machine, and how its columns travel."""
    fields = version.schema.get("fields", [])
    target = version.schema.get("target") or {}
    return RunnerSpec(
        key=f"{version.pk}-{version.sha256[:12]}",
        sha256=version.sha256,
        path=artifacts.local_path(version.sha256),
        format=version.format,
        columns=tuple((each["name"], each["type"]) for each in fields),
        positive=target.get("positive"),
    )


def predict(version: ModelVersion, table: pa.Table, deadline: float | None = None) -> Answer:
    """Answer every row, all or none. Raises ModelError, ModelTimeout or ModelUnavailable."""
    return client().predict(spec_for(version), table, deadline or settings.MODELGATE_PREDICT_SECONDS)


def describe(version: ModelVersion) -> Facts:
    """Load the version if it is not loaded yet, and say what it is."""
    return client().describe(spec_for(version))


def warm(version: ModelVersion) -> None:
    """Load the version before somebody waits for it."""
    client().describe(spec_for(version))


def retire(version: ModelVersion, drain: float = 30) -> None:
    """No further conversations with this version; running ones may end."""
    client().retire(spec_for(version).key, drain)


@contextmanager
def fresh(version: ModelVersion) -> Iterator["FreshRunner"]:
    """A runner of one's own, for a batch or for checks: it remembers nothing of others, and ends with the block."""
    runner = FreshRunner(client(), spec_for(version))
    try:
        yield runner
    finally:
        runner.close()


def client() -> "Client":
    return _client(Path(settings.MODELGATE_MODELD_SOCKET))


@cache
def _client(path: Path) -> "Client":
    return Client(path)


@dataclass
class Conversation:
    """An open socket to one runner."""

    connection: socket.socket
    generation: str
    facts: Facts
    lease: socket.socket | None = None

    def close(self) -> None:
        self.connection.close()
        if self.lease is not None:
            self.lease.close()

    def is_open(self) -> bool:
        """Nothing is due between questions: readable means that the runner hung up (or speaks out of turn)."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        return not poller.poll(0)

    def ask(self, spec: RunnerSpec, table: pa.Table, seconds: float) -> Answer:
        deadline = wire.Deadline(seconds)
        limit = REPLY_OVERHEAD + table.num_rows * 8 * (len(self.facts.classes) + 2)
        rows = _pack(table, spec.columns)
        try:
            wire.send(self.connection, {"rows": rows}, deadline=deadline)
            reply = wire.receive(self.connection, limit, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Died from error
        return _read_answer(reply, self.facts, table.num_rows, spec.positive)


@dataclass
class _Kept(threading.local):
    """Each thread's conversations. A forked child must not share its parent's, so they carry the process id."""

    pid: int = 0
    conversations: "OrderedDict[str, Conversation]" = field(default_factory=OrderedDict)


class Client:
    """The supervisor at one socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = _Kept()

    def predict(self, spec: RunnerSpec, table: pa.Table, seconds: float) -> Answer:
        died = ""
        for attempt in (1, 2):
            conversation = self._conversation(spec, died)
            try:
                return conversation.ask(spec, table, seconds)
            except _Died:
                died = conversation.generation
                self._drop(spec.key)
                if attempt == 2:
                    raise ModelUnavailable(
                        _("The model stopped while it answered."), code="model_died"
                    ) from None
            except TimeoutError:
                self._drop(spec.key)
                self.kill(spec.key, conversation.generation)
                raise _too_slow(seconds) from None
            except ValueError as error:
                self._drop(spec.key)
                raise _garbled(error) from None
        raise AssertionError("unreachable")

    def describe(self, spec: RunnerSpec) -> Facts:
        return _facts(self._tell({"op": "warm", "spec": spec.to_wire()}, START_SECONDS))

    def connect(self, spec: RunnerSpec, died: str = "") -> Conversation:
        """A conversation with the version's runner, and not with the generation that we saw die."""
        message = {"op": "connect", "spec": spec.to_wire(), "died": died}
        return self._call(message, START_SECONDS, _introduced)

    def fresh(self, spec: RunnerSpec) -> Conversation:
        """A conversation with a runner of one's own; it ends with the lease."""
        message = {"op": "fresh", "spec": spec.to_wire()}
        return self._call(message, START_SECONDS, _introduced_with_lease)

    def kill(self, key: str, generation: str) -> None:
        self._tell({"op": "kill", "key": key, "generation": generation}, 10)

    def retire(self, key: str, drain: float = 30) -> None:
        self._tell({"op": "retire", "key": key, "drain": drain}, 10)

    def status(self) -> dict[str, Any]:
        """The supervisor's own account; raises ModelUnavailable at once when it is away."""
        return self._tell({"op": "status"}, 5, patience=0)

    def _tell(self, message: dict[str, Any], timeout: float, patience: float | None = None) -> dict[str, Any]:
        return self._call(message, timeout, _plain_reply, patience)

    def _call(
        self,
        message: dict[str, Any],
        timeout: float,
        read: Callable[[socket.socket, wire.Deadline], R],
        patience: float | None = None,
    ) -> R:
        """Say it and read the reply. A supervisor that restarts is worth a wait; asking twice does no harm."""
        give_up = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            try:
                return self._call_once(message, wire.Deadline(timeout), read)
            except (OSError, wire.BadFrame) as error:
                if isinstance(error, TimeoutError) or time.monotonic() >= give_up:
                    raise _away(error) from None
            select.select([], [], [], RETRY_SECONDS)

    def _call_once(
        self,
        message: dict[str, Any],
        deadline: wire.Deadline,
        read: Callable[[socket.socket, wire.Deadline], R],
    ) -> R:
        supervisor = address.connect(self.path, deadline.remaining())
        try:
            wire.send(supervisor, message, deadline=deadline)
            found = read(supervisor, deadline)
        except BaseException:
            supervisor.close()
            raise
        if not (isinstance(found, Conversation) and found.lease is supervisor):
            supervisor.close()
        return found

    def _conversation(self, spec: RunnerSpec, died: str) -> Conversation:
        kept = self._kept
        if kept.pid != os.getpid():
            kept.pid, kept.conversations = os.getpid(), OrderedDict()
        known = kept.conversations.get(spec.key)
        if known is not None and known.is_open():
            kept.conversations.move_to_end(spec.key)
            return known
        if known is not None:
            died = known.generation
            self._drop(spec.key)
        kept.conversations[spec.key] = self.connect(spec, died)
        while len(kept.conversations) > KEPT:
            kept.conversations.popitem(last=False)[1].close()
        return kept.conversations[spec.key]

    def _drop(self, key: str) -> None:
        known = self._kept.conversations.pop(key, None)
        if known is not None:
            known.close()


class FreshRunner:
    """A runner that one job owns. It is started at the first use and again if it dies; nobody else speaks to it."""

    def __init__(self, supervisor: Client, spec: RunnerSpec) -> None:
        self.spec = spec
        self._supervisor = supervisor
        self._conversation: Conversation | None = None

    @property
    def facts(self) -> Facts:
        return self._open().facts

    def predict(self, table: pa.Table, deadline: float = 120.0) -> Answer:
        for attempt in (1, 2):
            conversation = self._open()
            try:
                return conversation.ask(self.spec, table, deadline)
            except _Died:
                self.close()
                if attempt == 2:
                    raise ModelUnavailable(
                        _("The model stopped while it answered."), code="model_died"
                    ) from None
            except TimeoutError:
                self.close()  # hanging up ends the runner, however busy it is
                raise _too_slow(deadline) from None
            except ValueError as error:
                self.close()
                raise _garbled(error) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    def _open(self) -> Conversation:
        if self._conversation is None:
            self._conversation = self._supervisor.fresh(self.spec)
        return self._conversation


# --- what arrives ---


def _plain_reply(supervisor: socket.socket, deadline: wire.Deadline) -> dict[str, Any]:
    return _accept(wire.receive(supervisor, deadline=deadline))


def _introduced(supervisor: socket.socket, deadline: wire.Deadline) -> Conversation:
    reply, fds = wire.receive_with_fds(supervisor, deadline=deadline)
    connection = address.Held(fileno=fds[0]) if fds else None
    try:
        facts = _facts(_accept(reply))
        if connection is None:
            raise wire.BadFrame("no conversation")
        return Conversation(connection, str(reply["generation"]), facts)
    except BaseException:
        if connection is not None:
            connection.close()
        raise


def _introduced_with_lease(supervisor: socket.socket, deadline: wire.Deadline) -> Conversation:
    conversation = _introduced(supervisor, deadline)
    conversation.lease = supervisor
    return conversation


def _accept(reply: dict[str, Any]) -> dict[str, Any]:
    if reply.get("ok") is True:
        return reply
    code, detail = _text(reply.get("code")), _text(reply.get("error"))
    if code == "crash_loop":
        raise ModelUnavailable(
            _("The model crashed several times and rests for a minute."), code="crash_loop", detail=detail
        )
    raise ModelUnavailable(_("The model cannot be loaded."), code=code or "model_unavailable", detail=detail)


def _facts(reply: dict[str, Any]) -> Facts:
    try:
        return Facts.read(reply.get("facts"))
    except ValueError as error:
        raise _garbled(error) from None


def _read_answer(reply: dict[str, Any], facts: Facts, rows: int, positive: Label | None) -> Answer:
    if reply.get("ok") is not True:
        code = "model_memory" if reply.get("code") == "memory" else "model_failed"
        raise ModelError(_("The model failed on these rows."), code=code, detail=_text(reply.get("error")))
    seconds, warnings = _seconds(reply.get("seconds")), tuple(_texts(reply.get("warnings")))
    if not facts.is_classifier:
        values = arrays.unpack(reply.get("values"), (rows,), "<f8")
        return Answer((), None, None, values, seconds, warnings)
    indices = arrays.unpack(reply.get("labels"), (rows,), "<i4")
    if rows and (indices.min() < 0 or indices.max() >= len(facts.classes)):
        raise wire.BadFrame("a label that is not among the classes")
    probabilities = None
    if facts.has_probabilities:
        probabilities = arrays.unpack(reply.get("probabilities"), (rows, len(facts.classes)), "<f8")
    return Answer(
        facts.classes,
        indices,
        probabilities,
        _positive(probabilities, facts.classes, positive),
        seconds,
        warnings,
    )


def _positive(
    probabilities: npt.NDArray[Any] | None, classes: Sequence[Label], positive: Label | None
) -> npt.NDArray[Any] | None:
    """The positive class's column, when there are two classes; the second one where the schema names none."""
    if probabilities is None or len(classes) != 2:
        return None
    return np.ascontiguousarray(probabilities[:, classes.index(positive) if positive in classes else 1])


def _pack(table: pa.Table, columns: Sequence[tuple[str, str]]) -> bytes:
    sink = pa.BufferOutputStream()
    try:
        rows = _as_schema(table, columns)
    except pa.ArrowException as error:
        raise ModelError(
            _("The rows do not fit the model's schema."), code="wrong_type", detail=str(error)[:MAX_TEXT]
        ) from None
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _as_schema(table: pa.Table, columns: Sequence[tuple[str, str]]) -> pa.Table:
    """The schema's columns, in its order and as its types; a column that the rows lack is missing in every row."""
    present = set(table.column_names)
    return pa.table(
        {
            name: typed(table.column(name), kind)
            if name in present
            else pa.nulls(table.num_rows, ARROW_TYPES.get(kind, pa.float64()))
            for name, kind in columns or [(name, "") for name in table.column_names]
        }
    )


def typed(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """A column as its schema type travels; raises ArrowInvalid where a value is of another type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    wanted = ARROW_TYPES.get(kind)
    return column if wanted is None or column.type == wanted else column.cast(wanted)


def _labels(claim: Any) -> tuple[Label, ...]:
    if claim is None:
        return ()
    if not isinstance(claim, list) or len(claim) > MAX_CLASSES:
        raise wire.BadFrame("classes")
    if not all(type(label) in (str, int, bool, float) and len(str(label)) <= MAX_TEXT for label in claim):
        raise wire.BadFrame("classes")
    return tuple(claim)


def _texts(claim: Any) -> list[str]:
    if claim is None:
        return []
    if not isinstance(claim, list) or len(claim) > MAX_CLASSES:
        raise wire.BadFrame("texts")
    return [_text(text) for text in claim]


def _words(claim: Any) -> dict[str, str]:
    if not isinstance(claim, dict) or len(claim) > 50:
        return {}
    return {_text(key)[:50]: _text(value)[:300] for key, value in claim.items()}


def _text(claim: Any) -> str:
    """A text that was written elsewhere: short, and without anything that moves a cursor."""
    text = claim if isinstance(claim, str) else ""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text[: 2 * MAX_TEXT])


def _seconds(claim: Any) -> float:
    return float(claim) if isinstance(claim, float) and math.isfinite(claim) and claim >= 0 else 0.0


def _too_slow(seconds: float) -> ModelTimeout:
    return ModelTimeout(_("The model did not answer within %(seconds)g seconds.") % {"seconds": seconds})


def _garbled(error: Exception) -> ModelError:
    return ModelError(
        _("The model's answer was not usable."), code="bad_answer", detail=str(error)[:MAX_TEXT]
    )


def _away(error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        _("The model service does not answer."),
        code="model_service_away",
        detail=f"{type(error).__name__}: {error}"[:MAX_TEXT],
        fix=_("Ask an administrator whether the model supervisor runs."),
    )
