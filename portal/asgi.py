"""The door for a web server: everything that is asked is answered by Django in threads.

What takes no waiting has been answered before it comes here, see `portal.server`.
"""

import gc

from django.conf import settings

from portal.threads import Receive, Scope, Send, Threads
from portal.wsgi import application as short_path
from portal.wsgi import start_warming


class Door:
    """ASGI in front of WSGI."""

    def __init__(self, threads: int) -> None:
        self._threads = Threads(short_path, threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._threads(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # What is there now stays, and is not looked through again: that would hold up every answer for a while.
        gc.collect()
        gc.freeze()
        start_warming()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._threads.close()
        await send({"type": "lifespan.shutdown.complete"})


application = Door(settings.MODELGATE_WEB_THREADS)
