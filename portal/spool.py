"""The broker of a machine without Redis: a folder of message files, safe with any number of writers and readers.

kombu's own filesystem transport writes a message in place, so that a reader may take half of one; such a file, or an
empty one, then stops the worker. Here a message appears whole (written aside, then renamed), is taken by one rename
that only one reader can win, and one that cannot be read is set aside and reported. A worker that is killed loses
the message that it held: messages are hints, the rows are the truth, and the periodic tick publishes again.

Folders below `transport_options["folder"]`: `queue/` waiting, `taken/` in the hands of a reader, `broken/` set aside,
`control/` who listens to which exchange.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

logger = structlog.get_logger(__name__)

SUFFIX = ".msg"


def register() -> None:
    """Teach kombu the address `spool://`."""
    TRANSPORT_ALIASES["spool"] = "portal.spool:Transport"


def _publish(path: Path, content: str) -> None:
    """Let a file appear whole or not at all; names that begin with a dot are nobody's message."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        aside.write_text(content)
        os.replace(aside, path)
    except OSError as exc:
        aside.unlink(missing_ok=True)
        raise ChannelError(f"Cannot write {path}: {exc.strerror}") from exc


class Channel(filesystem.Channel):
    """Messages as files whose names sort by time, over restarts of the machine too."""

    def _folder(self, name: str) -> Path:
        root = self.transport_options.get("folder")
        if not root:
            raise ChannelError("The spool broker needs transport_options['folder']")
        folder = Path(root) / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def control_folder(self) -> Path:
        return self._folder("control")

    # Messages

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]  # kombu's two disagree
        name = f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}{SUFFIX}"
        _publish(self._folder("queue") / name, dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        for waiting in self._waiting(queue):
            if (taken := self._take(waiting)) is None:
                continue
            if (payload := self._read(taken)) is not None:
                return payload
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._waiting(queue))

    def _purge(self, queue: str) -> int:
        taken = [path for waiting in self._waiting(queue) if (path := self._take(waiting))]
        for path in taken:
            path.unlink(missing_ok=True)
        return len(taken)

    def _waiting(self, queue: str) -> list[Path]:
        """Oldest first."""
        folder, ending = self._folder("queue"), f".{queue}{SUFFIX}"
        names = (name for name in os.listdir(folder) if not name.startswith("."))
        return [folder / name for name in sorted(names) if name[name.find(".") :] == ending]

    def _take(self, waiting: Path) -> Path | None:
        """One rename decides who has the message; None when somebody else was faster."""
        taken = self._folder("taken") / waiting.name
        try:
            waiting.rename(taken)
        except FileNotFoundError:
            return None
        return taken

    def _read(self, taken: Path) -> dict[str, Any] | None:
        try:
            payload: object = loads(taken.read_text())
            if not isinstance(payload, dict):
                raise ValueError("not a message")
        except (ValueError, OSError) as exc:
            self._set_aside(taken, exc)
            return None
        taken.unlink(missing_ok=True)
        return payload

    def _set_aside(self, taken: Path, exc: Exception) -> None:
        """A broken file never stops the worker: it is kept for a person to look at."""
        try:
            taken.rename(self._folder("broken") / taken.name)
        except OSError:
            taken.unlink(missing_ok=True)
        logger.error("spool_message_broken", file=taken.name, error=str(exc))

    # Exchanges: read, changed and replaced whole under one lock

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.control_folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        try:
            rows = loads(self._exchange_file(exchange).read_text())
        except FileNotFoundError:
            return []
        except ValueError as exc:
            logger.error("spool_exchange_broken", exchange=exchange, error=str(exc))
            return []
        return [filesystem.exchange_queue_t(*row) for row in rows]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._locked():
            rows = self.get_table(exchange)
            if row not in rows:
                _publish(self._exchange_file(exchange), dumps([row, *rows]))

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any
    ) -> None:
        self._purge(queue)
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._locked():
            rows = self.get_table(exchange)
            if row in rows:
                _publish(self._exchange_file(exchange), dumps([other for other in rows if other != row]))


class Transport(filesystem.Transport):
    """`spool://`, with the folder in the transport options."""

    Channel = Channel
    driver_name = "spool"
