"""What a process may remember, and until when: nothing that decides about answers outlives a change of it.

Whoever answers many times a second cannot ask the database each time who calls and what is released. It keeps what it
was told under the present mark; when the mark is another one, all of it is forgotten at once. On SQLite the mark is
read for every question, or every 5 ms by the event loop, on PostgreSQL at most every 0.1 s, so a rollback or a revoked
key is seen by every process on every machine within that time. Even if a change had left no mark, nothing is remembered
for longer than 10 s.
"""

import sqlite3
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

from registry.models import ChangeMark

LONGEST = 10.0  # seconds
RENEWED = 1 / 2  # of it, after which what was asked meanwhile is asked again, while everybody still remembers
SHARED = 0.1  # seconds for which one reading serves all threads, where a reading is a trip over the network
SHARED_BY_LOOP = 0.005  # seconds for which one reading of a file serves the event loop
TIDIED = 60.0  # seconds between two looks for what nobody asks any more

Value = TypeVar("Value")


class Fact:
    """What was found out, how and when, and whether anybody wanted to know since."""

    __slots__ = ("asked_at", "find", "is_wanted", "value")

    def __init__(self, find: Callable[[], Any]) -> None:
        self.asked_at = time.monotonic()
        self.value = find()
        self.find = find
        self.is_wanted = False

    @property
    def age(self) -> float:
        return time.monotonic() - self.asked_at


@dataclass
class Known:
    """What is known under one mark; without a mark nothing is kept."""

    mark: str | None
    since: float = 0.0
    _facts: dict[Hashable, Fact] = field(default_factory=dict)

    def recall(self, name: Hashable, find: Callable[[], Value]) -> Value:
        """What `find` says, asked once in a while. What raises is asked again."""
        fact = self._facts.get(name)
        if fact is None or fact.age > LONGEST:
            fact = self._found(name, find)
        fact.is_wanted = True
        value: Value = fact.value
        return value

    def _found(self, name: Hashable, find: Callable[[], Any]) -> Fact:
        fact = Fact(find)
        if self.mark is not None:
            self._facts[name] = fact
        return fact

    @property
    def is_wanted(self) -> bool:
        """Whether anything was asked lately."""
        return any(fact.is_wanted for fact in list(self._facts.values()))

    def renew(self) -> None:
        """Ask again what was wanted since it was asked, and will soon be too old. What raises is forgotten."""
        for name, fact in list(self._facts.items()):
            if fact.is_wanted and fact.age > LONGEST * RENEWED:
                try:
                    self._facts[name] = Fact(fact.find)
                except Exception:  # whoever asks next is told
                    self._facts.pop(name, None)

    def tidied(self, now: float) -> "Known":
        """The same without what was not asked for long."""
        fresh = {name: fact for name, fact in list(self._facts.items()) if fact.age <= LONGEST}
        return Known(self.mark, now, fresh)


class MustWait(LookupError):
    """This cannot be told from memory: somebody who may wait has to ask."""


class Remembered(Known):
    """The same facts for a thread that must never wait."""

    def _found(self, name: Hashable, find: Callable[[], Any]) -> Fact:
        raise MustWait


_known = Known(None)
_read_at = float("-inf")
_read: str | None = None
_changes_here = 0


def known(within: float | None = None) -> Known:
    """What this process knows now. Inside a transaction nothing: it may see what others do not, or not yet.

    `within`: seconds that a reading of the mark may be old, where it is shared; without, SHARED.
    """
    global _known  # noqa: PLW0603 - one memory a process, replaced as a whole
    database = connections[DEFAULT_DB_ALIAS]
    mark = None if database.in_atomic_block else _mark(database, SHARED if within is None else within)
    if mark is None:
        return Known(None)
    now = time.monotonic()
    current = _known
    if current.mark != mark:
        current = _known = Known(mark, now)
    elif now - current.since > TIDIED:
        current = _known = current.tidied(now)
    return current


def remembered() -> Known:
    """What this process knows now, without asking anybody; MustWait when the mark is not at hand.

    For the event loop, and for it alone: on SQLite it has a connection of its own.
    """
    mark, current = _mark_at_once(), _known
    if mark is None or mark != current.mark:
        raise MustWait
    return Remembered(mark, current.since, current._facts)


def renewed() -> Known:
    """The same for a thread beside the requests: it asks ahead of time, so that who must never wait need not."""
    current = known(SHARED * RENEWED)
    current.renew()
    return current


def read_again(**_signal: Any) -> None:
    """A change was committed in this process: the next question sees it, however lately the mark was read."""
    global _read_at, _changes_here  # noqa: PLW0603
    _changes_here += 1
    _read_at = float("-inf")


_QUESTION = f"SELECT mark FROM {ChangeMark._meta.db_table} WHERE id = 1"  # noqa: S608 - our own name


def _mark(database: Any, within: float) -> str | None:
    global _read, _read_at
    if database.vendor == "sqlite":
        # Past the framework's cursors, which take ten times as long as the question.
        if database.connection is None:
            database.ensure_connection()
        with database.wrap_database_errors:
            return _word(database.connection.execute(_QUESTION).fetchone())
    now, changes_here = time.monotonic(), _changes_here
    if now - _read_at > within:
        with database.cursor() as cursor:
            cursor.execute(_QUESTION)
            found = _word(cursor.fetchone())
        if changes_here != _changes_here:  # it may have been read before the last of them
            return found
        _read, _read_at = found, now
    return _read


def _mark_at_once() -> str | None:
    """The mark, if nobody has to be asked over the network for it, and if nobody locks the file.

    Every question to a file lets go of Python's lock several times, and each time another thread may take it.
    """
    global _read, _read_at  # noqa: PLW0603
    # Not `connections[…]`: on an event loop that makes a new one for each task.
    database = connections.settings[DEFAULT_DB_ALIAS]
    is_file, now = database["ENGINE"].endswith("sqlite3"), time.monotonic()
    if now - _read_at <= (SHARED_BY_LOOP if is_file else SHARED):
        return _read
    if not is_file:
        return None
    try:
        _read = _word(_own_connection(str(database["NAME"])).execute(_QUESTION).fetchone())
    except sqlite3.Error:
        return None
    _read_at = now
    return _read


@lru_cache(maxsize=1)
def _own_connection(path: str) -> sqlite3.Connection:
    """The framework's connections belong to a thread or, on an event loop, to a single task."""
    address = f"{Path(path).absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


def _word(row: tuple[str] | None) -> str | None:
    return row[0] if row else None
