"""JSON of answers: one function writes it for the view and for the short path in front of it."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer


class AnswerRenderer(JSONRenderer):
    """The framework's JSON, several times faster."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return as_json(data)


def as_json(answer: Any) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # a class beyond 64 bits
        written: bytes = JSONRenderer().render(answer)
        return written
