"""Sealed heads of the audit chain, kept outside the database: what a holder of the database alone cannot forge.

A seal says “the chain ended at event n with this hash at that time”, as an HMAC with a key that the database never
sees. `registry/verify_audit.py` says what each part proves, and to whom.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Protocol, TypedDict

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from registry import storage
from registry.models import AuditHead
from registry.verify_audit import seal_mac

#: The tick seals a moved head this often: how many of the newest events a forger with the database might rewrite.
EVERY = timedelta(minutes=1)
PREFIX = "audit-seals"
_LAST = "audit-last-seal"


class Seal(TypedDict):
    seq: int
    hash: str
    at: str
    mac: str


class SealStore(Protocol):
    """Where seals go: append, never rewrite."""

    def append(self, seal: Seal) -> None: ...

    def lines(self) -> Iterator[bytes]:
        """Every seal as a line of JSON, oldest first, as of this call."""
        ...


def seal_head() -> Seal | None:
    """Seal the end of the chain, unless it has not moved since the last seal; returns the newest seal.

    Call it outside of a transaction: a seal is for ever, and must not vouch for what may yet be rolled back.
    """
    head = AuditHead.objects.filter(pk=1).first()
    last = _last_seal()
    if head is None or head.seq == 0 or (last and last["seq"] >= head.seq):
        return last
    _make_durable()
    at = timezone.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    mac = seal_mac(key(), head.seq, head.hash, at)
    made = Seal(seq=head.seq, hash=head.hash, at=at, mac=mac)
    _store().append(made)
    cache.set(_LAST, made, timeout=None)
    return made


def seal_due() -> Seal | None:
    """The tick's part: a seal when the last one is old enough."""
    last = _last_seal()
    if last and timezone.now() - datetime.fromisoformat(last["at"].replace("Z", "+00:00")) < EVERY:
        return last
    return seal_head()


def lines(up_to: int | None = None) -> Iterator[bytes]:
    """The seals as lines, oldest first; those of events after `up_to` are left out."""
    for line in _store().lines():
        if up_to is None or _seq_in(line) <= up_to:
            yield line


def key() -> bytes:
    """The installation's own key, from the environment or a file that only we can read, made when first needed."""
    if settings.MODELGATE_AUDIT_KEY:
        return str(settings.MODELGATE_AUDIT_KEY).encode()
    path = Path(settings.DATA_DIR) / "audit_key"
    if not path.exists():
        _make_key(path)
    return path.read_bytes().strip()


def _make_key(path: Path) -> None:
    """Whole or not at all: two processes that start at once end with the same key."""
    with storage.scratch() as made:
        made.write_text(secrets.token_urlsafe(48))
        made.chmod(0o600)
        try:
            os.link(made, path)
        except FileExistsError:
            return


def _seq_in(line: bytes) -> int:
    """The number that a seal is about; 0 for a line that cannot be read, so that the verifier sees it."""
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError):
        return 0


def _last_seal() -> Seal | None:
    known: Seal | None = cache.get(_LAST)
    if known is None:
        for line in _store().lines():
            known = json.loads(line) if _seq_in(line) else known
        if known is not None:
            cache.set(_LAST, known, timeout=None)
    return known


def _make_durable() -> None:
    """SQLite may lose its last second in a power cut; what a seal vouches for must not be among that."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _store() -> SealStore:
    return ObjectSeals() if settings.MODELGATE_S3_BUCKET else FileSeals(path())


def path() -> Path:
    """Where the seals are, when they are a file: name another disk, and the log is proven against this one's holder."""
    return Path(settings.MODELGATE_AUDIT_SEALS or Path(settings.DATA_DIR) / "audit-seals.jsonl")


class FileSeals:
    """A file that is only ever appended to, written through to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, seal: Seal) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "rb+") as file, _locked(file):
            if _last_number(file) < seal["seq"]:  # else another process was faster, with a later event
                file.write(json.dumps(seal).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def lines(self) -> Iterator[bytes]:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return iter(())
        return _up_to(file, os.fstat(file.fileno()).st_size)


class ObjectSeals:
    """One object a seal, its name the seal itself: one listing tells them all, and a bucket's lock keeps them."""

    def append(self, seal: Seal) -> None:
        with storage.scratch() as file:
            file.write_text(json.dumps(seal))
            storage.put(f"{PREFIX}/{seal['seq']:015d}_{seal['hash']}_{seal['at']}_{seal['mac']}", file)

    def lines(self) -> Iterator[bytes]:
        return iter([_line_of(name) for name in sorted(storage.names(PREFIX))])


def _line_of(name: str) -> bytes:
    parts = name.split("_")
    if len(parts) != 4 or not parts[0].isdecimal():
        return b"null"
    seal = Seal(seq=int(parts[0]), hash=parts[1], at=parts[2], mac=parts[3])
    return json.dumps(seal).encode()


def _up_to(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The whole lines among the first `size` bytes: a seal that is being written belongs to the next reader."""
    with file:
        read = 0
        for line in file:
            read += len(line)
            if read > size or not line.endswith(b"\n"):
                return
            yield line


def _last_number(file: IO[bytes]) -> int:
    """The event that the last seal is about; half a line, as a power cut may leave it, is dropped first.

    Nobody was ever told that half a line is a seal.
    """
    tail_at = max(0, file.seek(0, os.SEEK_END) - 1024)
    file.seek(tail_at)
    whole, newline, rest = file.read().rpartition(b"\n")
    if rest:
        file.truncate(tail_at + len(whole) + len(newline))
    file.seek(0, os.SEEK_END)
    return _seq_in(whole.rpartition(b"\n")[2])


@contextmanager
def _locked(file: IO[Any]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
