"""Django's WSGI in threads, behind an event loop.

An ordinary answer leaves its thread whole, and the loop sends it. Where a thread has to wait for the loop (the next
part of a long body, room for the next part of a long answer), it looks up every second whether the loop has ended, and
gives up on a client that is silent. Ready adapters wait without an end: one answer under way kept the whole process
from stopping, and a few silent clients could hold all threads.
"""

import asyncio
import io
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from portal.gateway import WSGI, Environ, Header, Response

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Result = TypeVar("Result")

PART = 64 << 10  # bytes of a long answer that are sent together
SILENCE = 30.0  # seconds that a client may let a thread wait for the next part
TOO_LATE = Response("408 Request Timeout", [("Content-Length", "0"), ("Connection", "close")], b"")
LAST_SECONDS = 3.0  # for what is under way when the server is told to stop


class ClientGone(ConnectionError):
    """Nobody sends the rest of this request, or reads the rest of its answer."""


class Threads:
    """ASGI in front of WSGI."""

    def __init__(self, application: WSGI, count: int) -> None:
        self._application = application
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="web")
        self._is_over = threading.Event()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            exchange = _Exchange(_Bridge(loop, self._is_over), receive, send)
            whole = await loop.run_in_executor(self._pool, exchange.answer, self._application, scope)
            if whole is not None:
                await send_whole(send, whole)
        finally:
            self._under_way.discard(task)

    async def close(self) -> None:
        """Let what is under way come to its end, for a while."""
        if self._under_way:
            _done, late = await asyncio.wait(self._under_way, timeout=LAST_SECONDS)
            for task in late:
                task.cancel()
        self._is_over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


async def send_whole(send: Send, response: Response) -> None:
    await send(_start(response.status, response.headers))
    await send({"type": "http.response.body", "body": response.body})


def environ_of(scope: Scope, body: Any) -> Environ:
    """PEP 3333. Names with an underscore are dropped: `X_Forwarded_For` would take the place of `X-Forwarded-For`."""
    host, port = scope.get("server") or ("localhost", 80)
    client = scope.get("client")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw, value in scope["headers"]:
        if b"_" not in raw:
            name = raw.decode("latin-1").upper().replace("-", "_")
            name = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
            text = value.decode("latin-1")
            environ[name] = f"{environ[name]},{text}" if name in environ else text
    return environ


class _Bridge:
    """From a thread to the loop and back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_over: threading.Event) -> None:
        self._loop = loop
        self._is_over = is_over

    def begin(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def wait_for(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """ClientGone when the loop ends first, or the client lets it wait for too long: threads are few."""
        future = self.begin(coroutine)
        until = time.monotonic() + SILENCE
        while True:
            try:
                return future.result(timeout=min(1.0, SILENCE))
            except TimeoutError:
                if future.done():  # the coroutine's own
                    raise
                if self._is_over.is_set() or time.monotonic() > until:
                    future.cancel()
                    raise ClientGone("nothing came or went for too long") from None


class _Exchange:
    """One request and its answer, in a thread."""

    def __init__(self, bridge: _Bridge, receive: Receive, send: Send) -> None:
        self._bridge = bridge
        self._receive = receive
        self._send = send
        self._begun: tuple[str, list[Header]] | None = None
        self._is_sending = False

    def answer(self, application: WSGI, scope: Scope) -> Response | None:
        """The whole answer; None where it was long and has been sent."""
        body = io.BufferedReader(_Body(self._bridge, self._receive), PART)
        try:
            return self._passed_on(application(environ_of(scope, body), self._begin))
        except ClientGone:
            return None if self._is_sending else TOO_LATE

    def _passed_on(self, parts: Iterable[bytes]) -> Response | None:
        try:
            if not getattr(parts, "streaming", False):
                content = b"".join(parts)
                return Response(*self._head(), content)
            self._send_parts(parts)
            return None
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _send_parts(self, parts: Iterable[bytes]) -> None:
        """ClientGone as soon as there is nobody to read the rest: making it may take long."""
        self._is_sending = True
        has_left = self._bridge.begin(_left(self._receive))
        try:
            for message in self._messages(parts):
                if has_left.done():
                    raise ClientGone("the client left before its answer was whole")
                self._bridge.wait_for(_sent(self._send, message))
        finally:
            has_left.cancel()

    def _begin(self, status: str, headers: list[Header], exc_info: Any = None) -> None:
        self._begun = status, headers

    def _head(self) -> tuple[str, list[Header]]:
        assert self._begun is not None, "an application begins its answer before it ends it"
        return self._begun

    def _messages(self, parts: Iterable[bytes]) -> Iterator[Message]:
        yield _start(*self._head())
        for part in _together(parts):
            yield {"type": "http.response.body", "body": part, "more_body": True}
        yield {"type": "http.response.body", "body": b""}


class _Body(io.RawIOBase):
    """The request's body as it comes; one that ends early is an error, and never a shorter body."""

    def __init__(self, bridge: _Bridge, receive: Receive) -> None:
        self._bridge = bridge
        self._receive = receive
        self._left = memoryview(b"")
        self._has_more = True

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._left and self._has_more:
            message = self._bridge.wait_for(_received(self._receive))
            if message["type"] == "http.disconnect":
                raise ClientGone("the client left before its request was whole")
            self._left = memoryview(message.get("body", b""))
            self._has_more = message.get("more_body", False)
        count = min(len(target), len(self._left))
        target[:count], self._left = self._left[:count], self._left[count:]
        return count


async def _received(receive: Receive) -> Message:
    return await receive()


async def _left(receive: Receive) -> None:
    """Ends when the client does; what it still sends is not wanted."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sent(send: Send, message: Message) -> None:
    try:
        await send(message)
    except Exception as error:  # servers differ in what they raise when there is nobody to send to
        raise ClientGone("the client left before its answer was whole") from error


def _start(status: str, headers: list[Header]) -> Message:
    return {"type": "http.response.start", "status": int(status[:3]), "headers": encoded(headers)}


def encoded(headers: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    """As servers send them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _together(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts that are worth sending."""
    gathered, size = [], 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= PART:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
