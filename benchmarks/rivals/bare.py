"""The limit: the same compiled form behind a bare ASGI handler. No key, no check of the rows, no record.

FORM=form-file POSITIVE=1 uvicorn benchmarks.rivals.bare:app
"""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import django
import orjson

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from inference.compiled import CompiledForm  # noqa: E402 - the package beside it reads settings

form = CompiledForm(Path(os.environ["FORM"]).read_bytes(), json.loads(os.environ["POSITIVE"]))
HEADERS = [(b"content-type", b"application/json")]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": _answer(body)})


def _answer(body: bytes) -> bytes:
    if not body:
        return b"{}"
    asked = orjson.loads(body)
    found = form.answer_rows(asked.get("rows", [asked]))
    assert found.labels is not None and found.values is not None
    pairs = zip(found.labels, found.values.tolist(), strict=True)
    return orjson.dumps(
        {"predictions": [{"prediction": label, "probability": share} for label, share in pairs]}
    )
