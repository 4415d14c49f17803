"""Archives from strangers, as listings: no member is ever written under a name that the archive chose.

Zip and tar (also gzipped) follow the same rules: plain files and folders only, names that stay inside, none twice, no
encryption, bounded in number, size and expansion. An archive inside an archive is a file like any other.
"""

import gzip
import itertools
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Protocol, cast

from django.conf import settings
from django.utils.translation import gettext as _

from registry.errors import Invalid
from registry.unreadable import MAX_UNPACKED, cut_off, too_big

MAX_MEMBERS = 20_000
MAX_RATIO = 1_000
TAR_RATIO = 200  # over the whole archive; a single member of a zip may be sparser
LEAST_BUDGET = 16 << 20
MAX_NAME = 1_000
MAX_DIRECTORY = 4 << 20  # bytes of a zip's list of members
MAX_HEADERS = 64 << 10
LOCAL_HEADER = 30
BLOCK = 512
IN_MEMORY = 16 << 20
FILES, FOLDER, LONG_NAME, MORE = (b"0", b"\0"), b"5", b"L", (b"x", b"g")


class Source(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class Archive(Protocol):
    """Plain files by their names, with their sizes; folders are not listed."""

    sizes: dict[str, int]

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member's bytes; Invalid where the archive breaks off."""
        ...


def read(archive: Archive, name: str, limit: int) -> bytes:
    """A small member. Its declared size is a claim: what is really read is counted."""
    found = b""
    for piece in archive.pieces(name):
        found += piece
        if len(found) > limit:
            raise too_big()
    return found


def extract(archive: Archive, name: str, limit: int) -> IO[bytes]:
    """A member as a private temporary file, at its beginning; the caller closes it."""
    out = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - the caller's
    size = 0
    try:
        for piece in archive.pieces(name):
            size += len(piece)
            if size > limit:
                raise too_big(limit)
            out.write(piece)
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return cast(IO[bytes], out)


def bad(reason: str) -> Invalid:
    return Invalid(
        _("The archive is not acceptable: %(reason)s.") % {"reason": reason},
        code="bad_archive",
        fix=_("Make it again from plain files, with zip -r or tar czf, on the folder itself."),
    )


def _require_plain_name(name: str) -> None:
    if (
        name.startswith("/")
        or "\\" in name
        or ".." in name.split("/")
        or not name.isprintable()
        or len(name) > MAX_NAME
    ):
        raise bad(_("a member's name leads out of the archive"))


def _require_known_once(name: str, known: set[str]) -> None:
    if name.lower() in known:
        raise bad(_("two members have the same name"))
    known.add(name.lower())


# --- zip ---


class Zip:
    def __init__(self, file: Source) -> None:
        self._archive = open_zip(file)
        self.sizes = {each.filename: each.file_size for each in self._archive.infolist() if not each.is_dir()}

    def pieces(self, name: str) -> Iterator[bytes]:
        try:
            with self._archive.open(name) as member:
                while piece := member.read(1 << 20):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
            raise cut_off() from None


def open_zip(file: Source) -> zipfile.ZipFile:
    """An archive whose members are plain, apart from each other, and not much larger than they seem."""
    guarded = _Guarded(file)
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], guarded))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise cut_off() from None
    guarded.limit = None
    members = archive.infolist()
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED:
        raise too_big()
    known: set[str] = set()
    for member in members:
        _require_known_once(member.filename, known)
        _check_member(member)
    _refuse_overlap(members)
    return archive


class _Guarded:
    """A file whose list of members is refused before it is read, where it is too long.

    `zipfile` makes an object of every member before anybody can count them: 46 bytes of a file cost 600 of memory.
    """

    def __init__(self, file: Source) -> None:
        self._file = file
        self.limit: int | None = MAX_DIRECTORY
        self.tell = cast(IO[bytes], file).tell
        self.seek = file.seek

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self.limit is not None and size > self.limit:
            raise bad(_("it has too many members"))
        return self._file.read(size)


def _check_member(member: zipfile.ZipInfo) -> None:
    _require_plain_name(member.filename)
    kind = member.external_attr >> 28
    if kind not in (0, 0o10, 0o4):  # unset, a regular file, a folder
        raise bad(_("a member is not a plain file"))
    if member.flag_bits & 1:
        raise bad(_("a member is encrypted"))
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise bad(_("a member is compressed in an unusual way"))
    if member.file_size > 1 << 20 and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        raise too_big()


def _refuse_overlap(members: list[zipfile.ZipInfo]) -> None:
    spans = sorted((member.header_offset, member.compress_size) for member in members)
    for (start, size), (following, _size) in itertools.pairwise(spans):
        if start + LOCAL_HEADER + size > following:
            raise bad(_("members overlap"))


# --- tar ---


class Tar:
    """Read by its headers, front to back. Only names and sizes are taken from them."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self.sizes: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._list()

    def pieces(self, name: str) -> Iterator[bytes]:
        stream = _Stream(self._file)
        stream.skip(self._places[name])
        left = self.sizes[name]
        while left:
            piece = stream.exactly(min(left, 1 << 20))
            left -= len(piece)
            yield piece

    def _list(self) -> None:
        stream, known, longer = _Stream(self._file), set[str](), ""
        for _count in range(MAX_MEMBERS):
            header = stream.exactly(BLOCK)
            if not any(header):
                return
            member = _header(header)
            padded = -(-member.size // BLOCK) * BLOCK
            if member.type in MORE or member.type == LONG_NAME:
                longer = _longer_name(stream, member.size, padded, is_long=member.type == LONG_NAME) or longer
                continue
            name, longer = (longer or member.name).removeprefix("./").rstrip("/"), ""
            self._note(name, member, stream.place, known)
            stream.skip(padded)
        raise bad(_("it has too many members"))

    def _note(self, name: str, member: tarfile.TarInfo, place: int, known: set[str]) -> None:
        if member.type not in (*FILES, FOLDER):
            raise bad(_("a member is not a plain file"))
        _require_plain_name(name)
        if member.type == FOLDER:
            return
        _require_known_once(name, known)
        self.sizes[name], self._places[name] = member.size, place


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError):
        raise cut_off() from None
    if member.size < 0:
        raise bad(_("a member has an impossible size"))
    return member


def _longer_name(stream: "_Stream", size: int, padded: int, *, is_long: bool) -> str:
    """The name in a header of its own, if there is one; nothing else of such headers is taken."""
    if size > MAX_HEADERS:
        raise bad(_("a header is too long"))
    content = stream.exactly(padded)[:size]
    try:
        if is_long:
            return content.rstrip(b"\0").decode()
        records = dict(each.partition(b" ")[2].partition(b"=")[::2] for each in content.split(b"\n") if each)
        if b"size" in records or any(key.startswith(b"GNU.sparse") for key in records):
            raise bad(_("a member is not a plain file"))
        return records.get(b"path", b"").decode()
    except UnicodeDecodeError:
        raise bad(_("a name is not text")) from None


class _Stream:
    """The bytes of a tar below its compression, counted."""

    def __init__(self, file: Source) -> None:
        file.seek(0, 2)
        size = cast(IO[bytes], file).tell()
        self._most = min(MAX_UNPACKED, max(LEAST_BUDGET, TAR_RATIO * size))
        file.seek(0)
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        self._stream: Source = gzip.GzipFile(fileobj=cast(IO[bytes], file)) if is_packed else file
        self.place = 0

    def exactly(self, size: int) -> bytes:
        self._advance(size)
        try:
            found = self._stream.read(size)
        except (OSError, EOFError, zlib.error):
            raise cut_off() from None
        if len(found) < size:
            raise cut_off()
        return found

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.exactly(min(size, 1 << 20)))

    def _advance(self, size: int) -> None:
        self.place += size
        if self.place > self._most:
            raise too_big()
