"""The audit log as a file: what a filter finds, oldest first, below a line that names the filter and the chain's head.

Each line holds every fact that its hash covers, so whoever has the file can compute the chain again.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from registry import audit, permissions, spreadsheet
from registry.audit import Action
from registry.models import AuditEvent, AuditHead, Role

KINDS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def export(
    events: QuerySet[AuditEvent], kind: str, *, chosen: Mapping[str, object], actor: Any
) -> StreamingHttpResponse:
    """Stream `events`, found by the filter `chosen`; the export is itself an event. Only who sees the whole log."""
    permissions.require_role(permissions.can_see_audit(actor), Role.AUDITOR)
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    # Up to the head that the file names: what is written while it streams is not part of it.
    events = events.filter(seq__lte=head.seq).order_by("seq")
    with transaction.atomic():
        audit.record(
            Action.AUDIT_EXPORTED, target=None, actor=actor, format=kind, filter=chosen, rows=events.count()
        )
    at = timezone.now()
    about = {
        "exported_at": at.isoformat(timespec="seconds"),
        "filter": chosen,
        "chain_head": {"seq": head.seq, "hash": head.hash},
    }
    lines = _as_csv(events, about) if kind == "csv" else _as_jsonl(events, about)
    answer = StreamingHttpResponse(lines, content_type=KINDS[kind])
    answer["Content-Disposition"] = f'attachment; filename="audit-{at:%Y%m%d-%H%M}.{kind}"'
    return answer


def _rows(events: QuerySet[AuditEvent]) -> Iterator[dict[str, Any]]:
    for event in events.iterator(chunk_size=1000):
        known = {**audit.facts(event), "prev_hash": event.prev_hash, "hash": event.hash}
        yield {name: known[name] for name in audit.COLUMNS}


def _as_jsonl(events: QuerySet[AuditEvent], about: dict[str, Any]) -> Iterator[str]:
    yield _json(about) + "\n"
    for row in _rows(events):
        yield _json(row) + "\n"


def _as_csv(events: QuerySet[AuditEvent], about: dict[str, Any]) -> Iterator[str]:
    yield "\ufeff" + _line(
        [f"# exported {about['exported_at']}", _json(about["filter"]), _json(about["chain_head"])]
    )
    yield _line(audit.COLUMNS)
    for row in _rows(events):
        yield _line([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return spreadsheet.escape(value if isinstance(value, str) else _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
