"""Usage over HTTP: what keys, models and people asked in the last 30 days."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inference import log
from inference.models import Call
from monitoring import usage
from registry.api.access import key_of
from registry.api.base import Endpoint
from registry.api.fields import Query


class UsageQuery(Query):
    by = serializers.ChoiceField(["key", "model", "person"], default="key")


class UseSerializer(serializers.Serializer):
    day = serializers.DateField()
    name = serializers.CharField(help_text="Of the key, model or person")
    calls = serializers.IntegerField()
    rows = serializers.IntegerField()
    refused = serializers.IntegerField()
    p95_ms = serializers.FloatField(allow_null=True)


class UsageSerializer(serializers.Serializer):
    by = serializers.CharField()
    results = UseSerializer(many=True)


class Usage(Endpoint):
    key_action = "read"
    serializer_class = UsageSerializer

    @extend_schema(parameters=[UsageQuery], responses=UsageSerializer)
    def get(self, request: Request) -> Response:
        """Calls, rows, refusals and p95 of the last 30 days, newest day first, as far as you may see them."""
        by: str = self.read_query(UsageQuery)["by"]
        log.ingest(wait=True)
        calls = Call.objects.visible_to(self.actor)
        key = key_of(request)
        if key is not None and not key.all_models:
            calls = calls.filter(model__in=key.only_models.values("pk"))
        results: list[dict[str, Any]] = [use.to_json() for use in usage.daily(calls, by)]
        return Response({"by": by, "results": results})
