"""How much of the log is taken in at once, so that nobody who clicks waits for it.

SQLite has one writer at a time. Whoever waits for it looks again after at most 0.1 s and does not queue: one who takes
in the log by long transactions, and goes from each straight to the next, keeps a rollback out for seconds. So they are
short there, with pauses between them that are longer than anybody sleeps. PostgreSQL lets all of them write at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection

from inference import segments

AIM = 0.2  # seconds that a transaction may take on SQLite
AT_A_STRETCH = 0.1  # seconds in transactions without a pause
PAUSE = 0.12  # seconds; SQLite's own wait looks again every 0.1
FIRST_BYTES, LEAST_BYTES = 256 * 1024, 32 * 1024
LONGEST = 60.0  # seconds for which the tick reads; its other parts have waited meanwhile


@dataclass
class Pace:
    """Of one reader, from its beginning to its end."""

    is_waited_for: bool
    yields: bool
    bytes: int
    began: float
    held: float = 0.0  # seconds in transactions since the last pause

    @classmethod
    def of_this_database(cls, *, is_waited_for: bool) -> "Pace":
        if connection.vendor == "sqlite":
            return cls(is_waited_for, not is_waited_for, FIRST_BYTES, time.monotonic())
        return cls(is_waited_for, False, segments.READ_BYTES, time.monotonic())

    def is_over(self) -> bool:
        return not self.is_waited_for and time.monotonic() - self.began > LONGEST

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A transaction: the next one takes in more or less, as this one was short or long."""
        began = time.monotonic()
        yield
        spent = time.monotonic() - began
        self.held += spent
        if self.yields:
            wanted = int(self.bytes * min(1.5, max(0.25, AIM / max(spent, 0.001))))
            self.bytes = min(segments.READ_BYTES, max(LEAST_BYTES, wanted))

    def make_way(self) -> None:
        """Nothing is held meanwhile: others write, and a reader that somebody waits for takes over."""
        if self.yields and self.held > AT_A_STRETCH:
            time.sleep(PAUSE)
            self.held = 0.0
