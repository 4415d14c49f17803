"""Requests that arrive together are scored together: what waits while the model is busy shares the next call.

Joined rows are one call of the model, split afterwards. When such a call fails, each request is asked again alone,
so that a row which the model cannot bear fails nobody else's request. A model need not be safe with threads: it is
asked by one of them at a time.

Each caller hears when its rows are begun, and with how many requests they share the call: only so can it tell a model
that is late with its own rows from one that is late with another's. And it hears its reply before the next rows are
begun: what they do to the model is no affair of those who have their answer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

MAX_ROWS = 10_000  # of a joined call; a larger request is a call of its own

Reply = dict[str, Any]
Tell = Callable[[Reply], None]
Score = Callable[[Sequence[pa.Table]], list[Reply]]
Failure = Callable[[BaseException], Reply]


@dataclass(eq=False)
class Turn:
    """One request in the line. `tell` must not wait for its listener, and raises OSError when nobody listens."""

    table: pa.Table
    alone: bool
    tell: Tell
    is_over: bool = False
    deaf: BaseException | None = None

    def hears(self, note: Reply) -> bool:
        """Tell it, and whether it still listens. Not every reply can be packed: that concerns its caller alone."""
        try:
            self.tell(note)
        except Exception as error:
            self.give_up(error)
        return self.deaf is None

    def end(self, reply: Reply, failure: Failure) -> None:
        try:
            self.tell(reply)
        except OSError as error:
            self.give_up(error)
        except Exception as error:
            self.hears(failure(error))
        self.is_over = True

    def give_up(self, error: BaseException) -> None:
        self.deaf, self.is_over = error, True


class Line:
    """Where the requests of all conversations wait for the one model."""

    def __init__(self, score: Score, failure: Failure) -> None:
        self._score = score
        self._failure = failure
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._is_busy = False

    def ask(self, table: pa.Table, tell: Tell, *, alone: bool = False) -> None:
        """Tell the reply to these rows; raises when it could not be told. Who finds the model free asks for all."""
        turn = Turn(table, alone, tell)
        with self._changed:
            self._waiting.append(turn)
        while self._is_mine_to_drive(turn):
            try:
                self._drive()
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
        if turn.deaf is not None:
            raise turn.deaf

    def _is_mine_to_drive(self, turn: Turn) -> bool:
        """Wait until the turn is over, or until the model is free: then it is ours."""
        with self._changed:
            self._changed.wait_for(lambda: turn.is_over or not self._is_busy)
            if turn.is_over:
                return False
            self._is_busy = True
            return True

    def _drive(self) -> None:
        with self._changed:
            batch, left = self._next(), list(self._waiting)
        try:
            _those_who_hear({"waiting": True}, left)
            self._answer(batch)
        except BaseException as error:  # of the model's own: it may raise even when it is asked for its text
            for turn in batch:  # theirs it is, and not the one's who drives
                if not turn.is_over:
                    turn.give_up(error)

    def _next(self) -> list[Turn]:
        """The first in the line, and those right behind it that can share its call."""
        batch = [self._waiting.popleft()]
        rows = batch[0].table.num_rows
        while self._waiting and not batch[0].alone:
            turn = self._waiting[0]
            rows += turn.table.num_rows
            if turn.alone or rows > MAX_ROWS or turn.table.schema != batch[0].table.schema:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(self, batch: list[Turn]) -> None:
        heard = _those_who_hear({"started": len(batch)}, batch)
        if not heard:
            return
        begun = time.perf_counter()
        try:
            replies = self._score([turn.table for turn in heard])
        except BaseException as error:  # the model's code may raise anything
            if len(heard) > 1:
                for turn in heard:
                    self._answer([turn])
                return
            replies = [self._failure(error)]
        seconds = time.perf_counter() - begun
        for turn, reply in zip(heard, replies, strict=True):
            turn.end({**reply, "seconds": seconds}, self._failure)


def _those_who_hear(note: Reply, turns: Sequence[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.hears(note)]
