"""How many threads of this process may wait for one version, so that a slow model leaves the others theirs.

A model that answers quickly may have all threads at its door: each is through in a moment. As soon as one of those
inside has been there for longer than a moment, nobody waits at the door any more.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from inference.runners import errors

MOMENT = 1.0  # long enough for a runner that died to be replaced


class Turnstile:
    """The door of every version, by the key of its runner."""

    def __init__(self) -> None:
        self._clear()
        os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[str, list[float]] = defaultdict(list)  # since when, the longest first

    @contextmanager
    def pass_through(self, key: str, limit: int) -> Iterator[None]:
        """Be one of at most `limit`; ModelUnavailable (`model_busy`) when there is no room and none to be expected."""
        since = self._enter(key, limit)
        try:
            yield
        finally:
            with self._changed:
                self._inside[key].remove(since)
                if not self._inside[key]:
                    del self._inside[key]
                self._changed.notify_all()

    def _enter(self, key: str, limit: int) -> float:
        with self._changed:
            while len(self._inside[key]) >= limit:
                patience = self._inside[key][0] + MOMENT - time.monotonic()
                if patience <= 0:
                    raise errors.busy()
                self._changed.wait(patience)
            since = time.monotonic()
            self._inside[key].append(since)
            return since


door = Turnstile()
