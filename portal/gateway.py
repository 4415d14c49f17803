"""WSGI (PEP 3333) as types."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Environ = dict[str, Any]
Header = tuple[str, str]
StartResponse = Callable[[str, list[Header]], Any]
WSGI = Callable[[Environ, StartResponse], Iterable[bytes]]


class Response(NamedTuple):
    """A whole answer; the status with its words, as WSGI has it."""

    status: str
    headers: list[Header]
    body: bytes
