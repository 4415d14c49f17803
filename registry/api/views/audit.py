"""The audit log: read, verified, exported. There is no way to change it from here."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry import audit, permissions
from registry.api.access import key_of
from registry.api.base import Endpoint
from registry.api.fields import Query
from registry.api.filters import AuditFilter
from registry.api.serializers import AuditEventSerializer, VerificationSerializer
from registry.audit import Action
from registry.models import AuditEvent, AuditHead, Role

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


class ExportQuery(Query):
    """`as`, because the framework takes `format` for itself."""

    def get_fields(self) -> dict[str, Any]:
        return {"as": serializers.ChoiceField(["jsonl", "csv"], default="jsonl")}


class Audit(Endpoint):
    key_action = "audit"
    filterset_class = AuditFilter

    def rows(self) -> QuerySet[AuditEvent]:
        permissions.require_role(permissions.can_see_audit(self.actor), Role.AUDITOR)
        events = AuditEvent.objects.order_by("-seq")
        key = key_of(self.request)
        if key is not None and not key.all_models:
            return events.filter(Q(model_slug__in=self.models().values("slug")))
        return events


class AuditList(Audit, ListAPIView):
    """Events, newest first."""

    serializer_class = AuditEventSerializer


class AuditVerify(Endpoint):
    key_action = "audit"
    serializer_class = VerificationSerializer

    def get(self, request: Request) -> Response:
        """Walk the whole chain and say whether anybody touched it, and where."""
        permissions.require_role(permissions.can_see_audit(self.actor), Role.AUDITOR)
        return self.answer(audit.verify())


class AuditExport(Audit):
    serializer_class = AuditEventSerializer
    attempts = {"GET": Action.AUDIT_EXPORTED}

    @extend_schema(
        parameters=[OpenApiParameter("as", OpenApiTypes.STR, enum=["jsonl", "csv"], default="jsonl")],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """What the filter finds, oldest first, as one stream. The first line names the filter and the chain's head."""
        kind = self.read_query(ExportQuery)["as"]
        head = AuditHead.objects.filter(pk=1).first()
        last = head.seq if head else 0
        events = self.filter_queryset(self.rows()).filter(seq__lte=last).order_by("seq")
        chosen = {name: value for name, value in request.query_params.items() if name != "as"}
        with transaction.atomic():
            audit.record(
                Action.AUDIT_EXPORTED,
                target=None,
                actor=self.actor,
                format=kind,
                filter=chosen,
                rows=events.count(),
            )
        first = {
            "exported_at": timezone.now().isoformat(timespec="seconds"),
            "filter": chosen,
            "chain_head": {"seq": last, "hash": head.hash if head else ""},
        }
        lines = _as_csv(events, first) if kind == "csv" else _as_jsonl(events, first)
        answer = StreamingHttpResponse(
            lines, content_type="text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
        )
        answer["Content-Disposition"] = f'attachment; filename="audit-{timezone.now():%Y%m%d-%H%M}.{kind}"'
        return answer


def _as_jsonl(events: QuerySet[AuditEvent], first: dict[str, Any]) -> Iterator[str]:
    yield json.dumps(first, ensure_ascii=False) + "\n"
    for event in events.iterator(chunk_size=1000):
        yield json.dumps(AuditEventSerializer(event).data, ensure_ascii=False) + "\n"


def _as_csv(events: QuerySet[AuditEvent], first: dict[str, Any]) -> Iterator[str]:
    yield _line([f"# {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in first.items()])
    yield _line(AuditEventSerializer.Meta.fields)
    for event in events.iterator(chunk_size=1000):
        yield _line([_cell(value) for value in AuditEventSerializer(event).data.values()])


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if value is None or isinstance(value, int):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return f"'{text}" if text.startswith(FORMULA) else text


def _line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
