"""What calls about predictions and batches send, and what they are answered."""

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inference.batches import problems_for, summary_for
from inference.models import BatchJob, ProblemReport
from registry.api.fields import Body, EnvironmentField, JSONTextField, Query

# --- predictions ---


@extend_schema_field({"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 10_000})
class RowsField(serializers.Field):
    """Rows as they are: the version's schema judges them, not this."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise serializers.ValidationError(_("A list of objects."), code="wrong_type")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class PredictBody(Body):
    """Either `inputs` for one row or `rows` for several."""

    inputs = serializers.DictField(required=False)
    rows = RowsField(required=False)
    environment = EnvironmentField()
    version = serializers.IntegerField(required=False, help_text="One that serves or has served there")
    explain = serializers.BooleanField(default=False, help_text="With the reasons of each answer")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("inputs" in attrs) == ("rows" in attrs):
            message = _("Send either “inputs” (one object) or “rows” (a list of objects).")
            raise serializers.ValidationError(
                {"inputs": [serializers.ErrorDetail(message, code="inputs_or_rows")]}
            )
        return attrs


class WarningSerializer(serializers.Serializer):
    field = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ReasonSerializer(serializers.Serializer):
    field = serializers.CharField()
    value = serializers.JSONField()
    contribution = serializers.FloatField()


class LabelField(serializers.JSONField):
    """A class with its own JSON type, or null."""


class PredictedSerializer(serializers.Serializer):
    id = serializers.CharField()
    label = LabelField(allow_null=True)  # type: ignore[assignment]
    value = serializers.FloatField(allow_null=True)
    probabilities = serializers.DictField(child=serializers.FloatField(), allow_null=True)
    warnings = WarningSerializer(many=True)
    reasons = ReasonSerializer(many=True)
    base = serializers.FloatField(allow_null=True, help_text="What the reasons are added to")
    scale = serializers.ChoiceField(["probability", "margin", "value"], allow_null=True)


class AnswerSerializer(serializers.Serializer):
    """The answer to a prediction, in the order asked."""

    model = serializers.CharField()
    version = serializers.IntegerField()
    release = serializers.IntegerField()
    environment = serializers.CharField()
    predictions = PredictedSerializer(many=True)
    request_id = serializers.CharField()


class PredictionSerializer(serializers.Serializer):
    """One answered question."""

    id = serializers.CharField(source="public_id")
    model = serializers.CharField()
    version = serializers.IntegerField()
    release = serializers.IntegerField(source="release_number", allow_null=True)
    environment = serializers.CharField()
    channel = serializers.CharField()
    at = serializers.DateTimeField()
    inputs = serializers.DictField()
    label = LabelField(allow_null=True)  # type: ignore[assignment]
    value = serializers.FloatField(allow_null=True)
    probabilities = serializers.DictField(child=serializers.FloatField(), allow_null=True)
    warnings = WarningSerializer(many=True)
    reasons = ReasonSerializer(many=True)
    base = serializers.FloatField(allow_null=True)
    scale = serializers.CharField(allow_null=True)
    asked_by = serializers.CharField(source="user_name")
    request_id = serializers.CharField()
    latency_ms = serializers.FloatField(allow_null=True)


class ReportBody(Body):
    reason = serializers.ChoiceField(ProblemReport.Reason.choices)
    text = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class ReportSerializer(serializers.ModelSerializer):
    """What somebody found wrong with a prediction."""

    prediction = serializers.CharField(source="prediction_id")

    class Meta:
        model = ProblemReport
        fields = ["prediction", "reason", "text", "reported_at"]
        read_only_fields = fields


class EraseBody(Body):
    reason = serializers.CharField(max_length=2000)


class ErasedSerializer(serializers.Serializer):
    predictions = serializers.IntegerField()
    outcomes = serializers.IntegerField()
    unknown = serializers.ListField(child=serializers.CharField())


class FeedbackItem(serializers.Serializer):
    """What came true of one prediction."""

    prediction = serializers.CharField()
    actual = LabelField()
    at = serializers.DateTimeField(required=False)


@extend_schema_field(FeedbackItem(many=True))
class ItemsField(RowsField):
    """Outcomes as they are: the verb judges each and says what is wrong with which."""


class FeedbackBody(Body):
    items = ItemsField()


class ReceiptSerializer(serializers.Serializer):
    accepted = serializers.IntegerField()
    corrected = serializers.IntegerField()
    unknown = serializers.ListField(child=serializers.CharField())


# --- batches ---


class BatchBody(Body):
    file = serializers.FileField(use_url=False, allow_empty_file=True, help_text="CSV, .csv.gz or Parquet")
    options = JSONTextField(
        help_text="encoding, delimiter, decimal, dates, mapping, on_invalid: skip or stop, explain, hold"
    )
    environment = EnvironmentField()

    def validate_options(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise serializers.ValidationError(_("An object of options."), code="wrong_type")
        return value


class BatchStartBody(BatchBody):
    version = serializers.IntegerField(required=False)


class RerunBody(Body):
    version = serializers.IntegerField(required=False, help_text="The one that answers now unless given")


class ResultQuery(Query):
    """`as`, because the framework takes `format` for itself."""

    def get_fields(self) -> dict[str, Any]:
        return {"as": serializers.ChoiceField(["csv", "csv-raw", "parquet"], default="csv")}


class BatchRowsSerializer(serializers.Serializer):
    """Every line of the file is one of these: total = scored + invalid + ignored + unscored."""

    total = serializers.IntegerField(allow_null=True)
    scored = serializers.IntegerField()
    invalid = serializers.IntegerField()
    ignored = serializers.IntegerField()
    unscored = serializers.IntegerField(help_text="0 once the job has succeeded")


class BatchSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="public_id")
    model: serializers.Field = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    version: serializers.Field = serializers.SlugRelatedField(
        slug_field="number", read_only=True, allow_null=True
    )
    release: serializers.Field = serializers.SlugRelatedField(
        slug_field="number", read_only=True, allow_null=True
    )
    rows = BatchRowsSerializer(source="*")
    problems = serializers.SerializerMethodField(help_text="By cause, worst first")
    summary = serializers.SerializerMethodField(
        help_text="Counts of answers; empty for who may not read the rows"
    )
    options = serializers.DictField()
    created = serializers.DateTimeField(source="created_at")
    started = serializers.DateTimeField(source="started_at", allow_null=True)
    finished = serializers.DateTimeField(source="finished_at", allow_null=True)
    expires = serializers.DateTimeField(source="expires_at", allow_null=True)
    eta_seconds = serializers.IntegerField(allow_null=True)
    percent = serializers.IntegerField()
    created_by: serializers.Field = serializers.SlugRelatedField(
        slug_field="email", read_only=True, allow_null=True
    )

    class Meta:
        model = BatchJob
        fields = [
            "id",
            "model",
            "version",
            "release",
            "environment",
            "state",
            "filename",
            "size",
            "sha256",
            "options",
            "rows",
            "percent",
            "eta_seconds",
            "problems",
            "summary",
            "error",
            "created",
            "started",
            "finished",
            "expires",
            "created_by",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.DictField()))
    def get_problems(self, job: BatchJob) -> list[dict[str, Any]]:
        return problems_for(self.context["request"].user, job)

    @extend_schema_field(serializers.DictField())
    def get_summary(self, job: BatchJob) -> dict[str, Any]:
        return summary_for(self.context["request"].user, job)


class FileCheckSerializer(serializers.Serializer):
    """What would become of a file."""

    version = serializers.IntegerField()
    rows = serializers.DictField(child=serializers.IntegerField())
    columns = serializers.DictField(child=serializers.CharField())
    problems = serializers.ListField(child=serializers.DictField())
    first_rows = serializers.ListField(child=serializers.DictField())


class CompareQuery(Query):
    a = serializers.IntegerField()
    b = serializers.IntegerField()


class ComparisonSerializer(serializers.Serializer):
    """Two versions side by side."""

    a = serializers.IntegerField()
    b = serializers.IntegerField()
    state = serializers.CharField(
        help_text="none, waiting, running, done, failed: of what needs answers of both"
    )
    verdict = serializers.CharField()
    dataset = serializers.DictField(allow_null=True, help_text="The rows that both were asked")
    measured_rows = serializers.IntegerField(
        help_text="Rows with an outcome; 0: each was measured on its own"
    )
    metrics = serializers.ListField(child=serializers.DictField())
    facts = serializers.ListField(child=serializers.DictField())
    schema = serializers.ListField(child=serializers.DictField())
    schema_words = serializers.ListField(child=serializers.DictField())
    clients = serializers.DictField(help_text="Keys whose calls of the last days would be refused")
    environment = serializers.ListField(child=serializers.DictField())
    globals = serializers.DictField()
    card = serializers.ListField(child=serializers.DictField())
    slices = serializers.ListField(child=serializers.DictField())
    agreement = serializers.DictField()
