"""Django's threads behind the event loop: bodies and answers of any length, clients that leave, a server that stops."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from portal.gateway import WSGI, Environ, StartResponse
from portal.threads import PART, Message, Threads

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/α/",
    "query_string": b"x=1",
    "http_version": "1.1",
    "scheme": "http",
    "server": ("example.com", 80),
    "client": ("10.0.0.9", 4711),
    "headers": [
        (b"content-type", b"text/plain"),
        (b"content-length", b"6"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x_forwarded_for", b"6.6.6.6"),
        (b"accept", b"a"),
        (b"accept", b"b"),
    ],
}
GONE: Message = {"type": "http.disconnect"}


class Client:
    """One request in parts, and what came back; `leaves_after` so many messages of the answer."""

    def __init__(
        self, *parts: bytes, is_whole: bool = True, stays: bool = True, leaves_after: int | None = None
    ) -> None:
        last = len(parts) - 1
        self.stays = stays and is_whole
        self.messages = [
            {"type": "http.request", "body": part, "more_body": place < last or not is_whole}
            for place, part in enumerate(parts or (b"",))
        ]
        self.seen: list[Message] = []
        self.leaves_after = leaves_after

    async def receive(self) -> Message:
        if not self.messages and self.stays:
            await asyncio.Event().wait()
        return self.messages.pop(0) if self.messages else GONE

    async def send(self, message: Message) -> None:
        if self.leaves_after is not None and len(self.seen) >= self.leaves_after:
            raise RuntimeError("the connection is closed")
        self.seen.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.seen)


def exchange(application: WSGI, client: Client) -> Client:
    asyncio.run(Threads(application, 1)(SCOPE, client.receive, client.send))
    return client


def answering(parts: Callable[[Environ], Iterable[bytes]]) -> WSGI:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = parts(environ)
        start_response("201 Created", [("X-Seen", "yes")])
        return answer

    return application


class Stream:
    """An answer of unknown length, as Django marks it."""

    streaming = True

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self.is_closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        self.is_closed.set()


def test_the_application_sees_the_request_as_wsgi_has_it() -> None:
    seen: list[Environ] = []
    exchange(answering(lambda environ: seen.append(environ) or []), Client(b"abcdef"))  # type: ignore[func-returns-value]

    environ = seen[0]
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/α/"
    assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("POST", "x=1")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "6")
    assert environ["REMOTE_ADDR"] == "10.0.0.9"
    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["HTTP_X_FORWARDED_FOR"] == "10.0.0.1", "a name with underscores must not take its place"


@pytest.mark.parametrize("reading", [lambda body: body.read(), b"".join])
def test_a_body_in_parts_is_read_whole(reading: Callable[[Any], bytes]) -> None:
    client = exchange(
        answering(lambda environ: [reading(environ["wsgi.input"])]), Client(b"one\nt", b"", b"wo\n", b"three")
    )

    assert client.body == b"one\ntwo\nthree"
    assert client.seen[0] == {
        "type": "http.response.start",
        "status": 201,
        "headers": [(b"x-seen", b"yes")],
    }


def test_a_body_that_ends_early_is_an_error() -> None:
    caught: list[OSError] = []

    def parts(environ: Environ) -> list[bytes]:
        try:
            return [environ["wsgi.input"].read()]
        except OSError as error:
            caught.append(error)
            return [b"never whole"]

    assert exchange(answering(parts), Client(b"abc", is_whole=False)).body == b"never whole"
    assert "before its request was whole" in str(caught[0])


def test_a_long_answer_leaves_in_parts_worth_sending() -> None:
    stream = Stream(b"x" * 1000 for _part in range(1000))

    client = exchange(answering(lambda _environ: stream), Client())

    assert len(client.body) == 1_000_000
    assert len(client.seen) <= 1_000_000 // PART + 4
    assert "more_body" not in client.seen[-1]
    assert stream.is_closed.is_set()


def test_a_long_answer_ends_when_its_reader_leaves() -> None:
    made: list[int] = []
    stream = Stream((made.append(1) or b"x" * PART) for _part in range(1000))  # type: ignore[func-returns-value]

    exchange(answering(lambda _environ: stream), Client(leaves_after=3))

    assert len(made) < 10
    assert stream.is_closed.is_set()


def test_a_long_answer_ends_when_its_reader_is_only_known_to_have_left() -> None:
    """Some servers take what is sent to nobody without a word."""
    has_left = threading.Event()

    async def receive() -> Message:
        await asyncio.sleep(0)
        has_left.set()
        return GONE

    def made() -> Iterator[bytes]:
        yield b"x" * PART
        assert has_left.wait(30)
        yield from (b"x" * PART for _part in range(1000))

    client, stream = Client(), Stream(made())
    client.receive = receive  # type: ignore[method-assign]

    exchange(answering(lambda _environ: stream), client)

    assert len(client.seen) < 10
    assert stream.is_closed.is_set()


def test_an_application_s_error_is_the_server_s_to_tell() -> None:
    def application(_environ: Environ, _start: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exchange(application, Client())


def test_a_thread_that_waits_for_a_body_ends_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never sends the rest must not keep the process from stopping."""
    monkeypatch.setattr("portal.threads.LAST_SECONDS", 0.01)
    is_reading, ended = threading.Event(), threading.Event()

    def parts(environ: Environ) -> list[bytes]:
        is_reading.set()
        try:
            return [environ["wsgi.input"].read()]
        finally:
            ended.set()

    async def serve_and_stop() -> None:
        threads = Threads(answering(parts), 1)

        async def never() -> Message:
            await asyncio.Event().wait()
            return GONE

        asked = asyncio.create_task(threads(SCOPE, never, Client().send))
        await asyncio.to_thread(is_reading.wait)
        await threads.close()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(serve_and_stop())
    assert ended.wait(30)


@pytest.mark.parametrize("is_reading", [True, False])
def test_a_silent_client_does_not_hold_a_thread(monkeypatch: pytest.MonkeyPatch, is_reading: bool) -> None:
    monkeypatch.setattr("portal.threads.SILENCE", 0.05)
    caught: list[OSError] = []
    stream = Stream(b"x" * PART for _part in range(1000))

    def parts(environ: Environ) -> Iterable[bytes]:
        if not is_reading:
            return stream
        try:
            return [environ["wsgi.input"].read()]
        except OSError as error:
            caught.append(error)
            return [b"too late"]

    async def never(*_message: Message) -> Message:
        await asyncio.Event().wait()
        return GONE

    async def ask() -> None:
        client = Client()
        receive, send = (never, client.send) if is_reading else (client.receive, never)
        await Threads(answering(parts), 1)(SCOPE, receive, send)  # type: ignore[arg-type]

    asyncio.run(ask())

    assert bool(caught) == is_reading
    assert stream.is_closed.is_set() != is_reading


def test_a_request_that_never_came_whole_is_told_so() -> None:
    def application(environ: Environ, _start: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError("never whole")

    client = exchange(application, Client(b"abc", is_whole=False))

    assert client.seen[0]["status"] == 408
