"""Conversations with runners: opened through the supervisor, kept per thread, closed when they go wrong."""

import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from django.utils.translation import gettext as _

from inference.modeld import address
from inference.runner import wire
from inference.runners import claims, errors
from inference.runners.answers import Answer, Facts, RunnerSpec, pack, read_answer

R = TypeVar("R")

PATIENCE = 15.0
RETRY_SECONDS = 0.05
START_SECONDS = 180.0
KEPT = 32
REPLY_OVERHEAD = 1 << 16


class _Died(Exception):
    """The runner hung up in the middle of a conversation."""


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
        rows = pack(table, spec.columns)
        try:
            wire.send(self.connection, {"rows": rows}, deadline=deadline)
            reply = wire.receive(self.connection, limit, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Died from error
        return read_answer(reply, self.facts, table.num_rows, spec.positive)


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
                    raise errors.ModelUnavailable(
                        _("The model stopped while it answered."), code="model_died"
                    ) from None
            except TimeoutError:
                self._drop(spec.key)
                self.kill(spec.key, conversation.generation)
                raise errors.too_slow(seconds) from None
            except ValueError as error:
                self._drop(spec.key)
                raise errors.garbled(error) from None
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
                    raise errors.away(error) from None
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
                    raise errors.ModelUnavailable(
                        _("The model stopped while it answered."), code="model_died"
                    ) from None
            except TimeoutError:
                self.close()  # hanging up ends the runner, however busy it is
                raise errors.too_slow(deadline) from None
            except ValueError as error:
                self.close()
                raise errors.garbled(error) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    def _open(self) -> Conversation:
        if self._conversation is None:
            self._conversation = self._supervisor.fresh(self.spec)
        return self._conversation


# --- what the supervisor says ---


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
    raise errors.refused(claims.text(reply.get("code")), claims.text(reply.get("error")))


def _facts(reply: dict[str, Any]) -> Facts:
    try:
        return Facts.read(reply.get("facts"))
    except ValueError as error:
        raise errors.garbled(error) from None
