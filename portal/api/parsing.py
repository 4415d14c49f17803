"""How bodies are read: strictly, and never more than the limit."""

import zlib
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from registry.api import strict
from registry.errors import TooLarge, Unreadable

GZIP = 31  # zlib's window bits for a gzip header
#: What the fields around a file may take.
FORM_BYTES = 4 << 20


class StrictJSONParser(BaseParser):
    """JSON without NaN, Infinity or a name twice; gzip is unpacked up to the same limit."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise _too_large(limit)
        headers = (parser_context or {})["request"].headers
        try:
            return strict.loads(_unpacked(body, headers.get("Content-Encoding", ""), limit))
        except strict.NotStrict as exc:
            raise ParseError(str(exc), code="unreadable_json") from exc


class UploadParser(MultiPartParser):
    """Forms with files. What is longer than the view takes is refused before it is read."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        context = parser_context or {}
        name = getattr(context.get("view"), "max_upload", "") or "DATA_UPLOAD_MAX_MEMORY_SIZE"
        limit = getattr(settings, name)
        try:
            length = int(context["request"].META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        if length > limit + FORM_BYTES:
            raise _too_large(limit)
        return super().parse(stream, media_type, parser_context)


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its gzip; a small body that would grow past the limit stops there."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() != "gzip":
        raise Unreadable(
            _("The encoding “%(encoding)s” is not known; send gzip or none.") % {"encoding": encoding[:20]},
            code="unknown_encoding",
        )
    unpacker = zlib.decompressobj(GZIP)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as exc:
        raise ParseError(_("The body is not gzip."), code="unreadable_gzip") from exc
    if len(unpacked) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise ParseError(_("The gzip ends too early."), code="unreadable_gzip")
    return unpacked


def _too_large(limit: int) -> TooLarge:
    return TooLarge(_("The body is larger than the limit of %(limit)d MiB.") % {"limit": limit >> 20})
