"""The audit log: read, verified, exported. There is no way to change it from here."""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry import audit, audit_export, permissions
from registry.api.access import key_of
from registry.api.base import Endpoint
from registry.api.fields import Query
from registry.api.filters import AuditFilter
from registry.api.serializers import AuditEventSerializer, VerificationSerializer
from registry.audit import Action
from registry.models import AuditEvent, Role


class ExportQuery(Query):
    """`as`, because the framework takes `format` for itself."""

    def get_fields(self) -> dict[str, Any]:
        return {"as": serializers.ChoiceField(list(audit_export.KINDS), default="jsonl")}


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
        parameters=[OpenApiParameter("as", OpenApiTypes.STR, enum=list(audit_export.KINDS), default="jsonl")],
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/zip"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """What the filter finds, oldest first, as one stream. The first line names the filter and the chain's head.

        The zip holds the JSON lines, the seals, and a script that verifies both on a machine without us.
        """
        kind = self.read_query(ExportQuery)["as"]
        events = self.filter_queryset(self.rows())
        chosen: dict[str, Any] = {name: value for name, value in request.query_params.items() if name != "as"}
        key = key_of(request)
        if key is not None and not key.all_models:
            chosen["key_models"] = sorted(self.models().values_list("slug", flat=True))
        return audit_export.export(events, kind, chosen=chosen, actor=self.actor)
