"""Connections of the web server: what is answered on them at once, what goes on to a task, and who is let go."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from portal import server
from portal.gateway import Environ, Response
from portal.server import IDLE, LONGEST_BODY, LONGEST_HEAD, MOST_HEADERS, Connection
from portal.threads import SILENCE, Receive, Scope, Send

PATH = "/api/v1/models/loans/predict/"


class Wire(asyncio.Transport):
    """What a connection writes, and whether it is still open."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.9", 4711), "sockname": ("127.0.0.1", 80)})
        self.sent = b""
        self.unsent = 0
        self.is_closed = self.is_aborted = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def bodies(self) -> list[bytes]:
        """Of the answers, each of which says how long it is."""
        found, rest = [], self.sent
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            length = int(
                next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))[15:]
            )
            found.append(rest[:length])
            rest = rest[length:]
        return found


class World:
    """One connection, and what was asked where."""

    def __init__(self, shared: dict[str, Any] | None = None) -> None:
        self.wire = Wire()
        self.shared = {} if shared is None else shared  # by all connections of a server
        self.at_once: list[Environ] = []
        self.in_tasks: list[tuple[str, bytes]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]
        config = Config(
            app=self.app,
            interface="asgi3",
            http=Connection,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
        )
        self.loop = asyncio.get_running_loop()
        self.connection = Connection(config, self.state, self.shared, self.loop)
        self.connection.connection_made(self.wire)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, has_more = b"", True
        while has_more:
            message = await receive()
            body, has_more = body + message.get("body", b""), message.get("more_body", False)
        self.in_tasks.append((scope["path"], body))
        await self.may_answer.wait()
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"task"})

    def answer(self, environ: Environ) -> Response | None:
        """In the place of the short path."""
        environ["body"] = environ["wsgi.input"].read()
        if b"wait" in environ["body"]:
            return None
        self.at_once.append(environ)
        return Response("200 OK", [("Content-Length", "5"), ("X-Request-ID", "7")], b"short")

    def hear(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.data_received(part)

    async def turn(self) -> None:
        """The loop goes round: the line is served, tasks go on."""
        for _round in range(3):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        await self.turn()
        while self.state.tasks:
            await asyncio.wait(self.state.tasks)
            await self.turn()

    def later(self, seconds: float) -> None:
        """That time passes without a sound, and the connection looks."""
        self.connection._heard_at -= seconds
        self.connection._look()


def request(
    body: bytes = b'{"a": 1}', *headers: str, method: str = "POST", path: str = PATH, version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[World], Awaitable[None]]], World]:
    """Run this in a world of its own."""

    def run(story: Callable[[World], Awaitable[None]]) -> World:
        async def told() -> World:
            world = World()
            monkeypatch.setattr(server.short_path, "at_once", world.answer)
            await story(world)
            await world.settle()
            return world

        return asyncio.run(told())

    return run


Within = Callable[[Callable[[World], Awaitable[None]]], World]


def heard(*parts: bytes) -> Callable[[World], Awaitable[None]]:
    async def story(world: World) -> None:
        world.hear(*parts)

    return story


def test_a_plain_prediction_is_answered_on_the_connection(within: Within) -> None:
    world = within(heard(request(b"{}", "Authorization: Bearer k", "X_Forwarded_For: 6.6.6.6")))

    assert world.wire.sent == (
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 5\r\nx-request-id: 7\r\n\r\nshort"
    )
    assert not world.in_tasks
    assert not world.wire.is_closed
    environ = world.at_once[0]
    assert (environ["PATH_INFO"], environ["body"], environ["CONTENT_LENGTH"]) == (PATH, b"{}", "2")
    assert (environ["HTTP_AUTHORIZATION"], environ["REMOTE_ADDR"]) == ("Bearer k", "10.0.0.9")
    assert "HTTP_X_FORWARDED_FOR" not in environ


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_it_may_come_in_parts_of_any_size(within: Within, size: int) -> None:
    whole = request(b"x" * 3000) + request(b"wait" + b"y" * 3000) + request(b"z" * 10)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]

    async def story(world: World) -> None:
        for part in parts:
            world.hear(part)
            await asyncio.sleep(0)

    world = within(story)

    assert world.wire.bodies == [b"short", b"task", b"short" if len(world.at_once) == 2 else b"task"]
    assert world.in_tasks[0] == (PATH, b"wait" + b"y" * 3000)


@pytest.mark.parametrize(
    "asked",
    [
        request(method="GET"),
        request(method="PUT"),
        request(path="/models/loans/"),
        request(path=PATH + "?x=1"),
        request(path="/%61pi/v1/models/loans/predict/"),
        request(path="http://x" + PATH),
        request(b"x" * (LONGEST_BODY + 1)),
        request(version="1.0"),
        request(b"{}", "Expect: 100-continue"),
        request(b"wait"),
        b"POST "
        + PATH.encode()
        + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_everything_else_is_a_task(within: Within, asked: bytes) -> None:
    world = within(heard(asked))

    assert not world.at_once
    assert len(world.in_tasks) == 1
    assert world.in_tasks[0][1] == (b"{}" if b"chunked" in asked else asked.partition(b"\r\n\r\n")[2])
    assert world.wire.sent.endswith(b"task")


def test_answers_keep_the_order_of_their_requests(within: Within) -> None:
    async def story(world: World) -> None:
        world.may_answer.clear()
        world.hear(request(b"1") + request(b"wait 2") + request(b"3") + request(b"4"))
        await world.turn()
        assert world.wire.bodies == [b"short"], "the third must not pass the second, which waits"
        world.may_answer.set()

    world = within(story)

    assert [body for _path, body in world.in_tasks] == [b"wait 2", b"3", b"4"]
    assert world.wire.bodies == [b"short", b"task", b"task", b"task"]


def test_requests_of_all_connections_are_answered_in_the_order_in_which_they_came(
    within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRETCH", 0.0)

    async def story(world: World) -> None:
        others = [World(world.shared) for _each in range(2)]
        for name, each in zip("abc", [world, *others], strict=True):
            each.hear(request(name.encode() + b"1"))
        await asyncio.sleep(0)
        assert world.wire.bodies == [b"short"]
        assert others[0].wire.bodies == [], "the loop looks for others first"
        world.hear(request(b"a2"))
        await asyncio.gather(*(each.turn() for each in [world, *others]))

    world = within(story)

    assert [environ["body"] for environ in world.at_once] == [b"a1", b"b1", b"c1", b"a2"]


def test_an_error_of_the_short_path_is_for_a_task(within: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        monkeypatch.setattr(server.short_path, "at_once", lambda _environ: 1 / 0)
        world.hear(request(b"{}"))

    assert within(story).wire.bodies == [b"task"]


def test_a_connection_that_is_not_to_be_kept_is_closed(within: Within) -> None:
    world = within(heard(request(b"{}", "Connection: close")))

    assert b"\r\nconnection: close\r\n" in world.wire.sent
    assert world.wire.is_closed


def test_a_request_that_is_half_here_is_answered_before_the_server_ends(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request(b"half")[:-2])
        world.connection.shutdown()
        assert not world.wire.is_closed
        world.hear(b"lf")

    world = within(story)

    assert world.wire.bodies == [b"short"]
    assert world.wire.is_closed


def test_who_says_no_more_is_answered_before_the_connection_closes(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request())
        world.connection.eof_received()
        assert world.wire.bodies == [b"short"]

    within(story)


def test_nothing_is_computed_for_who_has_left(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request())
        world.wire.close()
        world.connection.connection_lost(None)

    assert not within(story).at_once


def test_a_half_request_that_needs_a_task_is_the_last_one_too(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request(b"wait half")[:-2])
        world.connection.shutdown()
        world.hear(b"lf")
        await world.turn()

    world = within(story)

    assert world.wire.bodies == [b"task"]
    assert world.wire.is_closed


def test_who_is_idle_when_the_server_ends_is_let_go(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request())
        world.connection.shutdown()

    assert within(story).wire.is_closed


@pytest.mark.parametrize(
    "endless",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=",
    ],
)
def test_heads_and_trailers_without_an_end_are_refused(within: Within, endless: bytes) -> None:
    async def story(world: World) -> None:
        world.hear(endless)
        for _part in range(LONGEST_HEAD // 1000 + 2):
            if not world.wire.is_closed:
                world.hear(b"x" * 1000)
        assert world.wire.is_closed
        if world.state.tasks:  # a task waits for the rest of the body
            assert world.wire.is_aborted
        else:
            assert b"HTTP/1.1 431 " in world.wire.sent
        world.connection.connection_lost(None)

    within(story)


def test_a_long_body_buys_no_long_trailers(within: Within) -> None:
    async def story(world: World) -> None:
        body = b"x" * 100_000
        world.hear(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body)
        world.hear(b"\r\n0\r\n")
        for _part in range(LONGEST_HEAD // 1000 + 2):
            if not world.wire.is_closed:
                world.hear(b"a: b\r\n" * 200)
        assert world.wire.is_aborted, "a task answers already: nobody else may"
        world.connection.connection_lost(None)

    within(story)


def test_a_trailer_is_no_header(within: Within) -> None:
    seen: list[Scope] = []

    async def story(world: World) -> None:
        app = world.connection.app

        async def spying(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)  # type: ignore[arg-type]
            seen.append(scope)

        world.connection.app = spying  # type: ignore[assignment]
        world.hear(b"POST / HTTP/1.1\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        world.hear(b"0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")

    assert within(story).in_tasks == [("/", b"{}")]
    assert [name for name, _value in seen[0]["headers"]] == [b"a", b"transfer-encoding"]


def test_too_many_headers_are_refused(within: Within) -> None:
    many = b"".join(b"X-%d: 1\r\n" % each for each in range(MOST_HEADERS + 1))

    world = within(heard(b"GET / HTTP/1.1\r\n" + many + b"\r\n"))

    assert world.wire.sent.startswith(b"HTTP/1.1 400 ")
    assert world.wire.is_closed
    assert not world.in_tasks


def test_what_follows_an_upgrade_is_no_request(within: Within) -> None:
    """The parser stops at the head, whatever length the head announces."""
    hidden = request(b"hidden", path="/hidden/")

    async def story(world: World) -> None:
        world.hear(
            b"POST /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            b"Content-Length: %d\r\n\r\n" % len(hidden)
        )
        world.hear(hidden)

    world = within(story)

    assert [path for path, _body in world.in_tasks] == ["/x"]
    assert b"\r\nconnection: close\r\n" in world.wire.sent
    assert world.wire.is_closed


def test_nonsense_gets_no_answer_in_the_place_of_another(within: Within) -> None:
    async def story(world: World) -> None:
        world.may_answer.clear()
        world.hear(request(b"wait"))
        await world.turn()
        world.hear(b"\x00nonsense\r\n\r\n")
        assert world.wire.is_aborted
        world.connection.connection_lost(None)
        world.may_answer.set()

    assert within(story).wire.sent == b""


def test_a_body_sent_byte_by_byte_is_no_head(within: Within) -> None:
    body = b"1\r\nx\r\n" * 30_000

    async def story(world: World) -> None:
        world.hear(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 6000):
            world.hear(body[at : at + 6000])
        world.hear(b"0\r\n\r\n")

    assert within(story).in_tasks == [("/", b"x" * 30_000)]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(b"", SILENCE), (b"POST /x HTTP/1.1\r\nHo", SILENCE), (request()[:-1], SILENCE), (request(), IDLE)],
)
def test_the_silent_are_let_go(within: Within, said: bytes, seconds: float) -> None:
    async def story(world: World) -> None:
        if said:
            world.hear(said)
        await world.turn()
        world.later(seconds - 1)
        assert not world.wire.is_closed
        world.later(2)

    assert within(story).wire.is_closed


def test_who_waits_for_an_answer_may_be_silent(within: Within) -> None:
    async def story(world: World) -> None:
        world.may_answer.clear()
        world.hear(request(b"wait"))
        await world.turn()
        world.later(IDLE * 10)
        assert not world.wire.is_closed
        world.may_answer.set()

    assert within(story).wire.bodies == [b"task"]


def test_who_does_not_take_the_last_answer_is_cut_off(within: Within) -> None:
    async def story(world: World) -> None:
        world.hear(request(b"{}", "Connection: close"))
        await world.turn()
        for unsent in (500, 400, 300):
            world.wire.unsent = unsent
            world.later(SILENCE)
            assert not world.wire.is_aborted
        world.later(SILENCE)
        assert world.wire.is_aborted

    within(story)


def test_who_reads_slowly_is_not_cut_off(within: Within) -> None:
    async def story(world: World) -> None:
        world.may_answer.clear()
        world.hear(request(b"wait"))
        await world.turn()
        for _part in range(3):
            world.wire.unsent = 500
            world.connection.pause_writing()
            world.later(SILENCE)
            world.connection.resume_writing()
        assert not world.wire.is_closed
        world.connection.pause_writing()
        world.later(SILENCE)
        world.later(SILENCE)
        assert world.wire.is_aborted, "it has read nothing for that long"
        world.connection.connection_lost(None)
        world.may_answer.set()

    within(story)


def test_what_the_kernel_has_not_sent_yet_counts() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x" * 1000)
        wire = Wire()
        wire._extra["socket"] = ours  # type: ignore[attr-defined]

        before = server._unsent_by_kernel(wire)
        theirs.recv(1000)

        assert before >= 1000
        assert server._unsent_by_kernel(wire) == 0
