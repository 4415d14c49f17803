"""What monitoring answers: verdicts as facts with the words of the API, messages in the reader's language."""

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers

from monitoring import drift, words
from monitoring.models import State, Verdict


class FindingSerializer(serializers.Serializer):
    code = serializers.CharField()
    count = serializers.IntegerField()
    share = serializers.FloatField()
    reference_share = serializers.FloatField()
    examples = serializers.ListField(child=serializers.CharField())
    is_sure = serializers.BooleanField(help_text="false where chance alone may explain it")


class ColumnSerializer(serializers.Serializer):
    """One column's verdict; null where a statistic does not apply."""

    name = serializers.CharField()
    type = serializers.CharField()
    state = serializers.ChoiceField(State.choices)
    psi = serializers.FloatField(allow_null=True)
    js = serializers.FloatField(allow_null=True)
    ks = serializers.FloatField(allow_null=True)
    wasserstein = serializers.FloatField(allow_null=True)
    chi2 = serializers.FloatField(allow_null=True)
    p = serializers.FloatField(allow_null=True)
    p_adjusted = serializers.FloatField(allow_null=True)
    n_reference = serializers.IntegerField()
    n_current = serializers.IntegerField()
    noise_floor = serializers.FloatField(allow_null=True)
    missing = serializers.IntegerField()
    missing_share = serializers.FloatField()
    missing_reference = serializers.FloatField()
    new_categories = serializers.ListField(child=serializers.CharField())
    out_of_range = serializers.IntegerField(allow_null=True)
    findings = FindingSerializer(many=True)
    message = serializers.SerializerMethodField()

    def get_message(self, column: Mapping[str, Any]) -> str:
        return words.message(column)


class DatasetVerdictSerializer(serializers.Serializer):
    rows = serializers.IntegerField()
    rows_reference = serializers.IntegerField()
    columns = serializers.IntegerField()
    drifted = serializers.IntegerField()
    watched = serializers.IntegerField()
    share_drifted = serializers.FloatField()
    insufficient_data = serializers.IntegerField()
    not_comparable = serializers.IntegerField()


class EvaluationSerializer(serializers.Serializer):
    """A file against the reference of a version."""

    state = serializers.ChoiceField(State.choices)
    version = serializers.IntegerField()
    dataset = DatasetVerdictSerializer()
    columns = ColumnSerializer(many=True)


class VerdictSerializer(serializers.ModelSerializer[Verdict]):
    """The verdict of a stored window."""

    version = serializers.IntegerField(source="version.number")
    sentence = serializers.SerializerMethodField()
    columns = ColumnSerializer(many=True)
    outputs = ColumnSerializer(many=True)

    class Meta:
        model = Verdict
        fields = [
            "id",
            "version",
            "environment",
            "window_start",
            "window_end",
            "state",
            "service_state",
            "data_state",
            "drift_state",
            "performance_state",
            "sentence",
            "rows",
            "columns",
            "outputs",
            "as_of",
            "created_at",
        ]
        read_only_fields = fields

    def get_sentence(self, verdict: Verdict) -> str:
        return words.sentence(verdict)


class PerformanceSerializer(serializers.ModelSerializer[Verdict]):
    """How well the answers of a window came true, as far as outcomes are known."""

    version = serializers.IntegerField(source="version.number")
    state = serializers.CharField(source="performance_state")
    predictions = serializers.IntegerField(source="rows")
    outcomes = serializers.IntegerField(source="performance.n", default=0)
    coverage = serializers.FloatField(source="performance.coverage", default=0.0)
    realized = serializers.DictField(source="performance.metrics", default=dict)
    estimated = serializers.SerializerMethodField(help_text="not measured yet")
    reference = serializers.DictField(source="performance.reference", default=dict)
    confusion = serializers.ListField(source="performance.confusion", default=list)
    calibration = serializers.ListField(source="performance.calibration", default=list)

    class Meta:
        model = Verdict
        fields = [
            "version",
            "environment",
            "window_start",
            "window_end",
            "state",
            "predictions",
            "outcomes",
            "coverage",
            "realized",
            "estimated",
            "reference",
            "confusion",
            "calibration",
        ]
        read_only_fields = fields

    def get_estimated(self, verdict: Verdict) -> dict[str, float] | None:
        return None


class ServiceFiguresSerializer(serializers.Serializer):
    requests = serializers.IntegerField()
    rows = serializers.IntegerField()
    batch_rows = serializers.IntegerField(help_text="rows of batches; their chunks are no requests")
    errors = serializers.IntegerField(help_text="failed and refused")  # type: ignore[assignment]
    failed = serializers.IntegerField(help_text="5xx")
    refused = serializers.IntegerField(help_text="4xx")
    by_status = serializers.DictField(child=serializers.IntegerField(), help_text="errors by HTTP status")
    p50 = serializers.FloatField(allow_null=True, help_text="milliseconds")
    p95 = serializers.FloatField(allow_null=True)
    p99 = serializers.FloatField(allow_null=True)


class ServiceStepSerializer(ServiceFiguresSerializer):
    at = serializers.DateTimeField()


class ServiceSerializer(ServiceFiguresSerializer):
    environment = serializers.CharField()
    window_start = serializers.DateTimeField()
    window_end = serializers.DateTimeField()
    steps = ServiceStepSerializer(many=True)


class MonitoringSerializer(serializers.Serializer):
    enabled = serializers.BooleanField()
    window_hours = serializers.IntegerField()
    every_minutes = serializers.IntegerField()
    thresholds = serializers.DictField()
    segments = serializers.ListField(child=serializers.CharField(), default=list)


def dataset_of(verdicts: Sequence[drift.ColumnVerdict], rows: int, rows_reference: int) -> dict[str, Any]:
    """The columns of a file, counted by state."""
    states = [verdict.state for verdict in verdicts]
    return {
        "rows": rows,
        "rows_reference": rows_reference,
        "columns": len(states),
        "drifted": states.count(drift.DRIFT),
        "watched": states.count(drift.WATCH),
        "share_drifted": states.count(drift.DRIFT) / len(states) if states else 0.0,
        "insufficient_data": states.count(drift.INSUFFICIENT),
        "not_comparable": states.count(drift.NOT_COMPARABLE),
    }
