"""Conversations with runners: opened through the supervisor, lent to a thread, closed when they go wrong."""

import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
import pyarrow as pa

from inference.modeld import address
from inference.runner import encoded, forms, wire
from inference.runners import claims, errors, reasons
from inference.runners.answers import Answer, Compiled, Facts, RunnerSpec, pack, read_answer, read_compiled
from inference.runners.errors import ModelError
from inference.runners.reasons import Question, Reasons

R = TypeVar("R")

PATIENCE = 15.0
RETRY_SECONDS = 0.05
START_SECONDS = 180.0
DEADLINE = 120.0  # of a question to a runner of one's own
KEPT = 32  # versions to whose runners conversations are kept open
MOST_IDLE = 32  # of one version
REPLY_OVERHEAD = 1 << 16


#: Times that a runner may say that it has begun with our rows: with others, and then alone.
BEGINNINGS = 2
ATTEMPTS = 4
#: Times that a call may find its own rows at fault, before it is given up.
FAULTS = 2


class _Died(Exception):
    """The runner hung up in the middle of a conversation."""


@dataclass
class Conversation:
    """An open socket to one runner."""

    connection: socket.socket
    generation: str
    facts: Facts
    lease: socket.socket | None = None
    copies: int = 1  # runners that the supervisor keeps of this version
    sharers: int = 0  # requests in the model's present call, ours among them; 0 as long as ours waits
    moved: bool = False  # whether the line went on while ours waited

    def close(self) -> None:
        self.connection.close()
        if self.lease is not None:
            self.lease.close()

    def is_open(self) -> bool:
        """Nothing is due between questions: readable means that the runner hung up (or speaks out of turn)."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        return not poller.poll(0)

    def ask(self, spec: RunnerSpec, table: pa.Table, seconds: float, *, alone: bool = False) -> Answer:
        """Ask, and wait at most `seconds` for the model to begin with these rows and as long for it to answer.

        `alone`: share the model's call with no other request.
        """
        limit = REPLY_OVERHEAD + table.num_rows * 8 * (len(self.facts.classes) + 2)
        reply = self._exchange({"rows": pack(table, spec.columns), "alone": alone}, limit, seconds)
        return read_answer(reply, self.facts, table.num_rows, spec.positive)

    def compile(self, spec: RunnerSpec, seconds: float, *, whole: bool = True) -> Compiled:
        """The model's compiled form: bytes to be distrusted like everything that a runner says.

        Not `whole`: of the steps before its estimator alone.
        """
        message = {"compile": [list(column) for column in spec.columns], "whole": whole}
        return read_compiled(self._exchange(message, REPLY_OVERHEAD + forms.MAX_FORM, seconds))

    def explain(self, spec: RunnerSpec, question: Question, seconds: float) -> Reasons:
        """What each column added to the answers to these rows."""
        limit = reasons.reply_limit(question, self.facts)
        return reasons.read(self._exchange(question.to_wire(spec), limit, seconds), question)

    def _exchange(self, message: dict[str, Any], limit: int, seconds: float) -> dict[str, Any]:
        self.sharers, self.moved = 0, False
        deadline = wire.Deadline(seconds)
        try:
            wire.send(self.connection, message, deadline=deadline)
            return self._reply(limit, seconds, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Died from error

    def _reply(self, limit: int, seconds: float, deadline: wire.Deadline) -> dict[str, Any]:
        beginnings = 0
        while True:
            reply = wire.receive(self.connection, limit, deadline)
            if reply.get("waiting") is True and not self.sharers:
                self.moved = True
            elif type(sharers := reply.get("started")) is int and sharers > 0:
                beginnings += 1
                if beginnings > BEGINNINGS:
                    raise wire.BadFrame("the model begins again and again")
                self.sharers, deadline = sharers, wire.Deadline(seconds)
            else:
                return reply


class Lines:
    """The open conversations of this process: each is lent to one thread, and comes back when it went well."""

    def __init__(self) -> None:
        self._clear()
        os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        """A forked child must not speak through its parent's sockets."""
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, list[Conversation]] = OrderedDict()
        self._busy: dict[str, list[str]] = {}  # generations in use, once for each conversation

    def take(self, key: str) -> Conversation | None:
        """An idle conversation with a runner that nobody here keeps busy, or with the only one there is."""
        with self._lock:
            idle, busy = self._idle.get(key, []), self._busy.setdefault(key, [])
            for conversation in sorted(idle, key=lambda each: busy.count(each.generation)):
                if len(set(busy)) < conversation.copies and conversation.generation in busy:
                    return None  # another runner may be free: let the supervisor choose
                idle.remove(conversation)
                busy.append(conversation.generation)
                return conversation
        return None

    def busy(self, key: str) -> list[str]:
        with self._lock:
            return sorted(set(self._busy.get(key, [])))

    def lend(self, key: str, conversation: Conversation) -> None:
        """A new conversation, in use from the start."""
        with self._lock:
            self._busy.setdefault(key, []).append(conversation.generation)

    def give_back(self, key: str, conversation: Conversation, *, is_sound: bool) -> None:
        dropped = [] if is_sound else [conversation]
        with self._lock:
            with suppress(ValueError):
                self._busy.get(key, []).remove(conversation.generation)
            if is_sound:
                idle = self._idle.setdefault(key, [])
                idle.append(conversation)
                dropped += idle[:-MOST_IDLE]
                del idle[:-MOST_IDLE]
                self._idle.move_to_end(key)
            while len(self._idle) > KEPT:
                forgotten, conversations = self._idle.popitem(last=False)
                dropped += conversations
                if not self._busy.get(forgotten):
                    self._busy.pop(forgotten, None)
        for each in dropped:
            each.close()


class Client:
    """The supervisor at one socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = Lines()

    def predict(self, spec: RunnerSpec, table: pa.Table, seconds: float) -> Answer:
        """Answer these rows. A runner that dies or hangs with another's rows costs this call a retry, and no more.

        Late alone with our own rows is a ModelTimeout; dying twice alone with them, a ModelUnavailable.
        """
        end, alone, faults = time.monotonic() + 3 * seconds, False, 0
        dead: set[str] = set()
        for _attempt in range(ATTEMPTS):
            if not _remaining(end):
                break
            conversation = self._take(spec, dead)
            is_sound = False
            try:
                answer = conversation.ask(spec, table, min(seconds, _remaining(end)), alone=alone)
                is_sound = True
                return answer
            except _Died:
                faults += conversation.sharers == 1
            except TimeoutError:
                self._too_late(spec, conversation, seconds)
            except ModelError:
                is_sound = True
                raise
            except ValueError as error:
                raise errors.garbled(error) from None
            finally:
                self._lines.give_back(spec.key, conversation, is_sound=is_sound)
            dead.add(conversation.generation)
            alone = alone or conversation.sharers > 0  # it may be our rows: nobody else is to suffer for them
            if faults == FAULTS:
                break
        raise errors.died() if faults else errors.busy()

    def explain(self, spec: RunnerSpec, question: Question, seconds: float) -> Reasons:
        """Once, by a runner that does nothing else; raises ModelError where there are no reasons to be had."""
        own = replace(spec, key=reasons.key_of(spec))
        conversation, is_sound = self._take(own, set(), patience=0), False
        try:
            found = conversation.explain(own, question, seconds)
            is_sound = True
            return found
        except _Died:
            raise errors.died() from None
        except TimeoutError:
            self.kill(own.key, conversation.generation)
            raise errors.too_slow(seconds) from None
        except ModelError:
            is_sound = True
            raise
        except ValueError as error:
            raise errors.garbled(error) from None
        finally:
            self._lines.give_back(own.key, conversation, is_sound=is_sound)

    def _too_late(self, spec: RunnerSpec, conversation: Conversation, seconds: float) -> None:
        """Whose fault is it? Ours ends the call; another's costs that runner its life, and lets us try again."""
        if not conversation.sharers and conversation.moved:
            raise errors.busy() from None
        self.kill(spec.key, conversation.generation)
        if conversation.sharers == 1:
            raise errors.too_slow(seconds) from None

    def describe(self, spec: RunnerSpec) -> Facts:
        return _facts(self._tell({"op": "warm", "spec": spec.to_wire()}, START_SECONDS))

    def connect(
        self,
        spec: RunnerSpec,
        dead: Collection[str] = (),
        busy: Sequence[str] = (),
        patience: float = PATIENCE,
    ) -> Conversation:
        """A conversation with one of the version's runners: none that we saw die, and rather none that is busy."""
        message = {"op": "connect", "spec": spec.to_wire(), "dead": sorted(dead), "busy": list(busy)}
        return self._call(message, START_SECONDS, _introduced, patience)

    def fresh(self, spec: RunnerSpec) -> Conversation:
        """A conversation with a runner of one's own; it ends with the lease."""
        message = {"op": "fresh", "spec": spec.to_wire()}
        return self._call(message, START_SECONDS, _introduced_with_lease)

    def kill(self, key: str, generation: str) -> None:
        self._tell({"op": "kill", "key": key, "generation": generation}, 10)

    def retire(self, key: str, drain: float = 30) -> None:
        self._tell({"op": "retire", "key": key, "drain": drain}, 10)

    def keep(self, specs: Sequence[RunnerSpec]) -> None:
        """Have these versions ready at all times, and no others: those are retired as soon as they are drained."""
        self._tell({"op": "keep", "specs": [spec.to_wire() for spec in specs]}, 10, patience=0)

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

    def _take(self, spec: RunnerSpec, dead: set[str], patience: float = PATIENCE) -> Conversation:
        """An open conversation with a runner that is not among the `dead`; those found dead on the way join them."""
        while (known := self._lines.take(spec.key)) is not None:
            if known.generation not in dead and known.is_open():
                return known
            dead.add(known.generation)
            self._lines.give_back(spec.key, known, is_sound=False)
        conversation = self.connect(spec, dead, self._lines.busy(spec.key), patience)
        self._lines.lend(spec.key, conversation)
        return conversation


def _remaining(end: float) -> float:
    return max(0.0, end - time.monotonic())


class FreshRunner:
    """A runner that one job owns. It is started at the first use and again if it dies; nobody else speaks to it."""

    def __init__(self, supervisor: Client, spec: RunnerSpec) -> None:
        self.spec = spec
        self._supervisor = supervisor
        self._conversation: Conversation | None = None

    @property
    def facts(self) -> Facts:
        return self._open().facts

    def predict(self, table: pa.Table, deadline: float = DEADLINE) -> Answer:
        return self._ask(lambda conversation: conversation.ask(self.spec, table, deadline), deadline)

    def predict_encoded(self, matrix: npt.NDArray[Any], deadline: float = DEADLINE) -> Answer:
        """Ask the estimator alone, with the matrix that the steps before it would make."""
        spec, table = self.spec.for_encoded(), encoded.as_table(matrix)
        return self._ask(lambda conversation: conversation.ask(spec, table, deadline), deadline)

    def compile(self, deadline: float = DEADLINE, *, whole: bool = True) -> Compiled:
        return self._ask(
            lambda conversation: conversation.compile(self.spec, deadline, whole=whole), deadline
        )

    def _ask(self, question: Callable[[Conversation], R], deadline: float) -> R:
        for attempt in (1, 2):
            conversation = self._open()
            try:
                return question(conversation)
            except _Died:
                self.close()
                if attempt == 2:
                    raise errors.died() from None
            except TimeoutError:
                self.close()  # hanging up ends the runner, however busy it is
                raise errors.too_slow(deadline) from None
            except ValueError as error:
                self.close()
                raise errors.garbled(error) from None
        raise AssertionError("unreachable")

    def explain(self, question: Question, deadline: float = DEADLINE) -> Reasons:
        """Once; what fails or is late is not tried again."""
        try:
            return self._open().explain(self.spec, question, deadline)
        except _Died:
            self.close()
            raise errors.died() from None
        except TimeoutError:
            self.close()
            raise errors.too_slow(deadline) from None
        except ModelError:
            raise
        except ValueError as error:
            self.close()
            raise errors.garbled(error) from None

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
        return Conversation(connection, str(reply["generation"]), facts, copies=_copies(reply))
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


def _copies(reply: dict[str, Any]) -> int:
    copies = reply.get("copies")
    return copies if type(copies) is int and copies > 0 else 1


def _facts(reply: dict[str, Any]) -> Facts:
    try:
        return Facts.read(reply.get("facts"))
    except ValueError as error:
        raise errors.garbled(error) from None
