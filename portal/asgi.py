"""The door for a web server: the event loop answers what takes no waiting, threads do everything else.

Threads that compute in short turns take Python's lock from each other in the middle of every turn: measured, eight
callers of a compiled form cost twice the processor time that they cost one after the other. So the loop answers those
by itself (`ShortPath.at_once`), and hands over whatever has to wait: for the database, a model's runner, a slow client.
"""

import io

from django.conf import settings

from portal.threads import Message, Receive, Scope, Send, Threads, environ_of, send_whole
from portal.wsgi import application as short_path
from portal.wsgi import start_warming

LONGEST_BODY = 256 << 10  # bytes; reading a longer one takes the loop from others for too long


class Door:
    """ASGI in front of WSGI."""

    def __init__(self, threads: int) -> None:
        self._threads = Threads(short_path, threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        start_warming()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._threads.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _may_be_short(scope):
            body = await _body(receive)
            if body is None:
                return
            response = short_path.at_once(environ_of(scope, io.BytesIO(body)))
            if response is not None:
                await send_whole(send, response)
                return
            receive = _again(body)
        await self._threads(scope, receive, send)


def _may_be_short(scope: Scope) -> bool:
    """A prediction whose body is announced as a short one."""
    if scope["method"] != "POST" or not scope["path"].endswith("/predict/"):
        return False
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return length.isdigit() and len(length) < 9 and int(length) <= LONGEST_BODY


async def _body(receive: Receive) -> bytes | None:
    """None when the client left before it was whole."""
    parts, has_more = [], True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        has_more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


application = Door(settings.MODELGATE_WEB_THREADS)
