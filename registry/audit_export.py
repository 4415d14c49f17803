"""The audit log as a file: what a filter finds, oldest first, below a line that names the filter and the chain's head.

Each line holds every fact that its hash covers, so whoever has the file can compute the chain again; the bundle
brings the seals and the script that does it.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from registry import audit, permissions, seals, spreadsheet, verify_audit
from registry.audit import Action
from registry.models import AuditEvent, AuditHead, Role

KINDS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "zip": "application/zip"}
SCRIPT = Path(verify_audit.__file__)


def export(
    events: QuerySet[AuditEvent], kind: str, *, chosen: Mapping[str, object], actor: Any
) -> StreamingHttpResponse:
    """Stream `events`, found by the filter `chosen`; the export is itself an event. Only who sees the whole log."""
    permissions.require_role(permissions.can_see_audit(actor), Role.AUDITOR)
    sealed, at = seals.seal_head(), timezone.now()
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    # Up to the head that the file names: what is written while it streams is not part of it.
    events = events.filter(seq__lte=head.seq).order_by("seq")
    rows = events.count()
    with transaction.atomic():
        audit.record(Action.AUDIT_EXPORTED, target=None, actor=actor, format=kind, filter=chosen, rows=rows)
    about = {
        "exported_at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "filter": chosen,
        "rows": rows,
        "chain_head": {"seq": head.seq, "hash": head.hash},
        "seal": sealed,
    }
    answer = StreamingHttpResponse(_WRITERS[kind](events, about), content_type=KINDS[kind])
    answer["Content-Disposition"] = f'attachment; filename="audit-{at:%Y%m%d-%H%M}.{kind}"'
    return answer


def _rows(events: QuerySet[AuditEvent]) -> Iterator[dict[str, Any]]:
    return map(audit.row, events.iterator(chunk_size=1000))


def _as_jsonl(events: QuerySet[AuditEvent], about: dict[str, Any]) -> Iterator[str]:
    yield _json(about) + "\n"
    for row in _rows(events):
        yield _json(row) + "\n"


def _as_zip(events: QuerySet[AuditEvent], about: dict[str, Any]) -> Iterator[bytes]:
    """The events as JSON lines, the seals up to them, and the script that verifies both; packed while it streams."""
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.write(SCRIPT, SCRIPT.name)
        known = (line.decode() for line in seals.lines(up_to=about["chain_head"]["seq"]))
        for name, lines in (
            (verify_audit.SEALS_NAME, known),
            (verify_audit.EVENTS_NAME, _as_jsonl(events, about)),
        ):
            entry = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            yield from _pack(bundle, entry, lines, out)
    yield out.take()


def _pack(
    bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, lines: Iterable[str], out: "_Outlet"
) -> Iterator[bytes]:
    with bundle.open(entry, "w", force_zip64=True) as file:
        for line in lines:
            file.write(line.encode())
            if out.is_full:
                yield out.take()


class _Outlet(io.RawIOBase):
    """A file that cannot be rewound, whose bytes are taken away while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    @property
    def is_full(self) -> bool:
        return len(self._parts) >= 16

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _as_csv(events: QuerySet[AuditEvent], about: dict[str, Any]) -> Iterator[str]:
    head = [_json(about[name]) for name in ("filter", "chain_head", "seal")]
    yield "\ufeff" + _line([f"# exported {about['exported_at']}", *head])
    yield _line(audit.COLUMNS)
    for row in _rows(events):
        yield _line([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return spreadsheet.escape(value if isinstance(value, str) else _json(value))


_WRITERS: dict[str, Any] = {"csv": _as_csv, "jsonl": _as_jsonl, "zip": _as_zip}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
