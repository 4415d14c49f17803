"""The door for a web server: everything that is asked is answered by Django in threads.

What takes no waiting has been answered before it comes here, see `portal.server`.
"""

import gc
import multiprocessing
import sys

from django.conf import settings

from portal import launcher
from portal.threads import Receive, Scope, Send, Threads
from portal.wsgi import application as short_path
from portal.wsgi import start_warming

TURN = 0.001  # seconds that a thread may compute while others wait


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
        _let_nothing_hold_up_answers()
        if (parent := multiprocessing.parent_process()) is not None:
            assert parent.pid is not None
            launcher.end_with_parent(parent.pid)
        start_warming()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._threads.close()
        await send({"type": "lifespan.shutdown.complete"})


def _let_nothing_hold_up_answers() -> None:
    # What is there now stays; looking through all of it for garbage takes a fifth of a second.
    gc.collect()
    gc.freeze()
    # Beside a thread that computes, each turn of the loop would wait for 5 ms.
    sys.setswitchinterval(TURN)


application = Door(settings.MODELGATE_WEB_THREADS)
