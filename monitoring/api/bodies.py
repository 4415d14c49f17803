"""What calls to monitoring send."""

import json
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.api.fields import Body, EnvironmentField, JSONTextField, Query, VersionField, WordsField

MOST_NAMES = 2_000


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class NamesField(serializers.Field):
    """Names of columns: a JSON list, or the field given several times."""

    def get_value(self, dictionary: Any) -> Any:
        if not hasattr(dictionary, "getlist"):
            return super().get_value(dictionary)
        given = dictionary.getlist(self.field_name)
        if len(given) == 1 and given[0].lstrip().startswith("["):
            return given[0]
        return given or serializers.empty

    def to_internal_value(self, data: Any) -> list[str]:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except ValueError:
                data = None
        if (
            not isinstance(data, list)
            or not all(isinstance(name, str) for name in data)
            or len(data) > MOST_NAMES
        ):
            raise serializers.ValidationError(_("A list of column names."), code="wrong_type")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class EvaluateBody(Body):
    file = serializers.FileField(use_url=False, allow_empty_file=True, help_text="CSV or Parquet")
    version = VersionField(required=False, help_text="The one that serves in production, unless given")
    columns = NamesField(required=False, help_text="Every input of the version, unless given")


class NoteBody(Body):
    reason = WordsField()


class MuteBody(Body):
    until = serializers.DateTimeField(help_text="UTC, ISO 8601; at most 90 days from now")
    reason = WordsField()


class CheckBody(Body):
    environment = EnvironmentField()


class WindowQuery(Query):
    """A stretch of time in an environment."""

    environment = EnvironmentField()
    segment = serializers.CharField(required=False, default="", allow_blank=True, max_length=80)

    def get_fields(self) -> dict[str, serializers.Field]:
        """`from` is a word of Python, so these two cannot be written as attributes."""
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField(
            required=False, help_text="UTC, ISO 8601; this instant included"
        )
        fields["to"] = serializers.DateTimeField(
            required=False, help_text="UTC, ISO 8601; this instant excluded"
        )
        return fields


@extend_schema_field(OpenApiTypes.OBJECT)
class ThresholdsField(JSONTextField):
    """`{"": {"watch": 0.1, "drift": 0.2}, "income": {…}}`: for every column, and for single ones."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict) or not all(isinstance(limits, dict) for limits in value.values()):
            raise serializers.ValidationError(_("An object of limits by column."), code="wrong_type")
        return value


class MonitoringBody(Body):
    enabled = serializers.BooleanField(required=False)
    window_hours = serializers.IntegerField(required=False)
    every_minutes = serializers.IntegerField(required=False)
    thresholds = ThresholdsField()
