"""uvicorn's connections, and on them the answers that take no waiting.

    python -m uvicorn portal.asgi:application --http portal.server:Connection

Threads that compute in short turns take Python's lock from each other in the middle of every turn, and so does a
server that reads and writes in threads of its own. So one thread does all of it for a plain prediction, from the
bytes that came to the bytes that leave (`ShortPath.at_once`). Whatever has to wait (for the database, a model's
runner, a slow client) is a task of the event loop, as ever, and answered by the threads behind it.
"""

import asyncio
import fcntl
import io
import re
import sys
import termios
import time
from collections import deque
from typing import Any, cast

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from portal.gateway import Response
from portal.threads import SILENCE, Scope, encoded, environ_of
from portal.wsgi import application as short_path

logger = structlog.get_logger(__name__)

IDLE = 75.0  # seconds that a kept connection may rest
LONGEST_BODY = 256 << 10  # bytes; reading a longer one takes the loop from others for too long
LONGEST_HEAD = 64 << 10  # bytes of request line and headers; and of what frames a body, beside its own bytes
MOST_HEADERS = 200
STRETCH = 0.001  # seconds of arithmetic between two looks at who else is ready
FRAMING = 9  # bytes at most around one byte of a body that is sent byte by byte
PLAIN = re.compile(short_path.PATH.pattern.encode())
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Line:
    """Whole requests that wait for the loop's own arithmetic, in the order in which they came.

    Answering each as soon as it is read is not fair: the loop sees who is ready once a round, so whoever was answered
    last in one round sends the next request too late for the following one, comes last again, and always waits twice
    as long as everybody else. So the loop looks for new requests in between.
    """

    def __init__(self) -> None:
        self._waiting: deque[Connection] = deque()
        self._is_served = False

    def join(self, connection: "Connection") -> None:
        self._waiting.append(connection)
        if not self._is_served:
            self._is_served = True
            connection.loop.call_soon(self._serve, connection.loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        until = time.perf_counter() + STRETCH
        try:
            self._waiting.popleft().answer()
            while self._waiting and time.perf_counter() < until:
                self._waiting.popleft().answer()
        finally:
            self._is_served = bool(self._waiting)
            if self._is_served:
                loop.call_soon(self._serve, loop)


class Connection(HttpToolsProtocol):
    """One client's connection, its requests one after the other."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._line: Line = self.app_state.setdefault("line", Line())
        self._body: bytearray | None = None  # of a request that may be answered here, as far as it has come
        self._whole: bytes | None = None  # of one that waits in the line
        self._is_kept = True  # after the answer to that one
        self._is_deaf = False
        self._is_within = self._is_in_head = True  # a message has begun, or should have
        self._heard_at = self.loop.time()
        self._framing = 0  # bytes of this message, less those that its body accounts for
        self._unsent = sys.maxsize  # bytes, when somebody last looked
        self._next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._next_look = self.loop.call_later(SILENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._whole = None
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Let go of clients that do not say what they want, do not go, or do not take what they were given."""
        silent = self.loop.time() - self._heard_at
        if self.transport.is_closing() or self.flow.write_paused:
            self._abort_if_stuck()
        elif not self._is_busy() and silent > (SILENCE if self._is_within else IDLE):
            self.transport.close()
        self._next_look = self.loop.call_later(SILENCE, self._look)

    def _abort_if_stuck(self) -> None:
        unsent = self.transport.get_write_buffer_size() + _unsent_by_kernel(self.transport)
        if unsent >= self._unsent:
            self.transport.abort()
        self._unsent = unsent

    def resume_writing(self) -> None:
        self._unsent = sys.maxsize
        super().resume_writing()

    def _is_busy(self) -> bool:
        """A request of this connection waits for its answer."""
        return self._whole is not None or (self.cycle is not None and not self.cycle.response_complete)

    # --- what the parser tells ---

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self.answer()
        self._heard_at = self.loop.time()
        self._framing += len(data)
        super().data_received(data)
        self._framing = max(self._framing, 0)  # who has sent a long body may not send long trailers for it
        if self._framing > LONGEST_HEAD and not self.transport.is_closing():
            self._refuse(TOO_LONG)

    def eof_received(self) -> None:
        """Who has said all may still listen; the transport closes after this."""
        self.answer()

    def _refuse(self, answer: bytes) -> None:
        """Not in the place of an answer that another request still waits for."""
        if self._is_busy():
            self.transport.abort()
            return
        self.transport.write(answer)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._is_busy():
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        """The parser takes what follows for another protocol's. It is the request's own body, and never a request."""
        self._is_deaf = True
        self.cycle.keep_alive = False

    def on_message_begin(self) -> None:
        self.answer()
        self._is_within = self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            return  # a trailer comes too late to say who calls
        if len(self.headers) >= MOST_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._may_be_short():
            self._body = bytearray()
        else:
            super().on_headers_complete()
        self._framing = 0

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body) * FRAMING
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        self._is_within = False
        self._framing = 0
        if self._body is None:
            super().on_message_complete()
            return
        self._whole, self._body = bytes(self._body), None
        self._is_kept = self._is_kept and self.parser.should_keep_alive()
        self._line.join(self)

    # --- the short path ---

    def _may_be_short(self) -> bool:
        """A prediction whose body is announced as a short one, and nobody's answer is before it in the line."""
        return (
            PLAIN.fullmatch(self.url) is not None
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not (self._is_busy() or self.pipeline or self.flow.write_paused)
            and not (self.expect_100_continue or self.parser.should_upgrade())
            and self._is_announced_as_short()
        )

    def _is_announced_as_short(self) -> bool:
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        return length.isdigit() and len(length) < 9 and int(length) <= LONGEST_BODY

    def answer(self) -> None:
        """Answer what waits in the line, if anything does: in its turn, or before more of this connection is read."""
        if self._whole is None or self.transport.is_closing():
            return
        body, self._whole = self._whole, None
        response = self._at_once(body)
        if response is not None:
            self._send(response)
            return
        super().on_headers_complete()
        self.cycle.keep_alive = self._is_kept
        super().on_body(body)
        super().on_message_complete()

    def _at_once(self, body: bytes) -> Response | None:
        try:
            self.scope["method"] = "POST"
            self.scope["path"] = self.url.decode("ascii")
            self.scope["query_string"] = b""
            return short_path.at_once(environ_of(cast(Scope, self.scope), io.BytesIO(body)))
        except Exception:  # whatever it is, the threads meet it too and tell it better
            logger.warning("short_path_failed", exc_info=True)
            return None

    def _send(self, response: Response) -> None:
        head = [STATUS_LINE[int(response.status[:3])]]
        for name, value in [*self.server_state.default_headers, *encoded(response.headers)]:
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n" if self._is_kept else b"connection: close\r\n\r\n")
        self.transport.write(b"".join([*head, response.body]))
        self.server_state.total_requests += 1
        if not self._is_kept:
            self.transport.close()

    def shutdown(self) -> None:
        """The server ends: a request that is here, if only half, is still answered."""
        if self._body is None and self._whole is None:
            super().shutdown()
        else:
            self._is_kept = False


def _unsent_by_kernel(transport: asyncio.Transport) -> int:
    """Bytes that are on their way to the client; where the system does not tell, none."""
    connection = transport.get_extra_info("socket")
    try:
        told = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError):
        return 0
    return int.from_bytes(told, sys.byteorder)
