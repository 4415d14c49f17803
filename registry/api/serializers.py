"""What the registry's record looks like from outside. Reads only: it changes through the verbs."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from registry import audit
from registry.history import Answered
from registry.models import (
    Admission,
    ApiKey,
    AuditEvent,
    CheckResult,
    Dataset,
    Decision,
    Environment,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
)
from registry.serving import Approvers, approvers_of


def email() -> serializers.SlugRelatedField:
    """Somebody's address; null when they are gone or nobody has done it yet."""
    return serializers.SlugRelatedField(slug_field="email", read_only=True, allow_null=True)


def maybe(slug_field: str) -> serializers.SlugRelatedField:
    """The name of another thing, or null where there is none."""
    return serializers.SlugRelatedField(slug_field=slug_field, read_only=True, allow_null=True)


class EnvironmentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Environment
        fields = ["slug", "name"]


class ServingSerializer(serializers.Serializer):
    """What answers in one environment."""

    version = serializers.IntegerField()
    release = serializers.IntegerField()
    since = serializers.DateTimeField()
    approved_by = serializers.ListField(child=serializers.EmailField())


@extend_schema_field(serializers.DictField(child=ServingSerializer(allow_null=True)))
class ServingField(serializers.Field):
    """`{environment: null or what answers there}`; the view looks it up for all rows at once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="*", read_only=True, **kwargs)

    def to_representation(self, model: RegisteredModel) -> dict[str, Any]:
        found = self.context["serving"].get(model.pk, {})
        return {name: release and ServingSerializer(release).data for name, release in found.items()}


class ModelSerializer(serializers.ModelSerializer):
    owners: serializers.Field = serializers.SlugRelatedField(slug_field="email", many=True, read_only=True)
    groups: serializers.Field = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)
    created_by: serializers.Field = email()
    serving = ServingField()

    class Meta:
        model = RegisteredModel
        fields = [
            "slug",
            "name",
            "question",
            "description",
            "task",
            "risk",
            "owners",
            "groups",
            "policy",
            "serving",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class DatasetSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="public_id")
    columns = serializers.ListField(child=serializers.CharField())
    profile = serializers.DictField()
    created_by: serializers.Field = email()

    class Meta:
        model = Dataset
        fields = [
            "id",
            "name",
            "role",
            "sha256",
            "size",
            "format",
            "rows",
            "columns",
            "target",
            "profile",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class DatasetUseSerializer(serializers.Serializer):
    """A version, and what the dataset is to it."""

    version = serializers.IntegerField(source="version.number")
    role = serializers.ChoiceField(["reference", "evaluation"])


class DatasetDetailSerializer(DatasetSerializer):
    used_by = DatasetUseSerializer(source="uses", many=True)
    replaces: serializers.Field = maybe("public_id")
    replaced_by: serializers.Field = maybe("public_id")

    class Meta(DatasetSerializer.Meta):
        fields = [*DatasetSerializer.Meta.fields, "used_by", "replaces", "replaced_by"]
        read_only_fields = fields


class CheckSerializer(serializers.ModelSerializer):
    figures = serializers.DictField(
        help_text="Numbers: p95_ms of latency; of gates each gate and what was measured."
    )

    class Meta:
        model = CheckResult
        fields = ["name", "status", "detail", "log", "seconds", "figures"]
        read_only_fields = fields


class MetricsSerializer(serializers.Serializer):
    """What the author says, and what the checks measured."""

    declared = serializers.DictField(source="declared_metrics")
    measured = serializers.DictField(source="measured_metrics")


class AdmissionSerializer(serializers.ModelSerializer):
    """What an approver said of the names that the file needs beyond the reviewed ones."""

    names = serializers.ListField(child=serializers.CharField())
    decided_by: serializers.Field = email()

    class Meta:
        model = Admission
        fields = ["verdict", "names", "comment", "decided_by", "decided_at"]
        read_only_fields = fields


class VersionSerializer(serializers.ModelSerializer):
    model: serializers.Field = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    schema = serializers.DictField()
    environment = serializers.DictField()
    globals = serializers.DictField()
    metrics = MetricsSerializer(source="*")
    reference: serializers.Field = maybe("public_id")
    evaluation: serializers.Field = maybe("public_id")
    admission = serializers.SerializerMethodField()
    checks = CheckSerializer(many=True)
    uploaded_by: serializers.Field = email()
    url = serializers.SerializerMethodField()

    class Meta:
        model = ModelVersion
        fields = [
            "model",
            "number",
            "state",
            "sha256",
            "size",
            "filename",
            "format",
            "engine",
            "schema",
            "metrics",
            "environment",
            "globals",
            "admission",
            "reference",
            "evaluation",
            "checks",
            "card",
            "notes",
            "requirements",
            "uploaded_by",
            "uploaded_at",
            "archived_at",
            "url",
        ]
        read_only_fields = fields

    @extend_schema_field(AdmissionSerializer(allow_null=True))
    def get_admission(self, version: ModelVersion) -> dict[str, Any] | None:
        """The last word: on packages, where names were admitted before."""
        found = list(version.admissions.all())
        return dict(AdmissionSerializer(found[-1]).data) if found else None

    def get_url(self, version: ModelVersion) -> str:
        kwargs = {"slug": version.model.slug, "number": version.number}
        return reverse("api:version-detail", kwargs=kwargs, request=self.context.get("request"))


class DecisionSerializer(serializers.ModelSerializer):
    decided_by: serializers.Field = email()

    class Meta:
        model = Decision
        fields = ["verdict", "comment", "decided_by", "decided_at"]
        read_only_fields = fields


class ApprovalsSerializer(serializers.Serializer):
    needed = serializers.IntegerField(source="approvals_needed")
    given = serializers.IntegerField(source="approvals_given")


class RequestSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="public_id")
    model = serializers.CharField(source="version.model.slug")
    version = serializers.IntegerField(source="version.number")
    environment = serializers.CharField(source="environment.slug")
    bound = serializers.DictField(
        help_text="What the decision is about: hashes of file, schema, environment, metrics."
    )
    gates = serializers.ListField(
        child=serializers.DictField(), help_text="The quality gates as they stood when it was asked."
    )
    approvals = ApprovalsSerializer(source="*")
    decisions = DecisionSerializer(many=True)
    requested_by: serializers.Field = email()

    class Meta:
        model = ReleaseRequest
        fields = [
            "id",
            "model",
            "version",
            "environment",
            "state",
            "mode",
            "reason",
            "approvals",
            "decisions",
            "bound",
            "gates",
            "requested_by",
            "requested_at",
            "expires_at",
            "decided_at",
        ]
        read_only_fields = fields


class ReleaseSerializer(serializers.ModelSerializer):
    model: serializers.Field = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    environment: serializers.Field = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    version: serializers.Field = serializers.SlugRelatedField(slug_field="number", read_only=True)
    request: serializers.Field = maybe("public_id")
    restores: serializers.Field = maybe("number")
    since = serializers.DateTimeField(source="created_at")
    until = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.SerializerMethodField()
    released_by: serializers.Field = email()

    class Meta:
        model = Release
        fields = [
            "number",
            "model",
            "environment",
            "version",
            "kind",
            "mode",
            "reason",
            "request",
            "restores",
            "since",
            "until",
            "approved_by",
            "released_by",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.EmailField()))
    def get_approved_by(self, release: Release) -> list[str]:
        approvers: Approvers = self.context.get("approvers") or approvers_of([release])
        return [user.email for user in approvers[release.pk]]


class IntervalSerializer(serializers.Serializer):
    """From an instant until another; null: it lasts."""

    since = serializers.DateTimeField(source="start")
    until = serializers.DateTimeField(source="end", allow_null=True)


class ServedAtSerializer(serializers.Serializer):
    """What answered at one instant."""

    environment = serializers.CharField(source="release.environment.slug")
    release = serializers.IntegerField(source="release.number")
    version = serializers.IntegerField(source="release.version.number")
    sha256 = serializers.CharField(help_text="Of the artifact that answered")
    kind = serializers.CharField(source="release.kind")
    since = serializers.DateTimeField(source="release.created_at", help_text="This instant is part of it")
    until = serializers.DateTimeField(
        allow_null=True, help_text="This instant is not; null while it still answers"
    )
    released_by = serializers.EmailField(source="release.released_by.email")
    reason = serializers.CharField(source="release.reason")
    request = serializers.CharField(
        source="request.public_id", allow_null=True, default=None, help_text="The approval that it stands on"
    )
    approved_by = serializers.SerializerMethodField()
    quarantined = IntervalSerializer(
        source="barred", many=True, help_text="When it was barred meanwhile, and nothing answered"
    )

    @extend_schema_field(serializers.ListField(child=serializers.EmailField()))
    def get_approved_by(self, answered: Answered) -> list[str]:
        return [user.email for user in answered.approvers]


class RollbackTargetSerializer(serializers.Serializer):
    version = serializers.IntegerField(source="version.number")
    release = serializers.IntegerField(source="release.number")
    eligible = serializers.BooleanField(source="is_eligible")
    problem = serializers.CharField()


class UnusedFieldSerializer(serializers.Serializer):
    """A field that clients send now and that the earlier version does not use."""

    field = serializers.CharField()
    predictions = serializers.IntegerField(help_text="of the last 24 hours that sent it")
    clients = serializers.IntegerField(help_text="people and programs that sent it")


class RollbackPreviewSerializer(serializers.Serializer):
    """What a rollback would do, before anybody does it."""

    current = ReleaseSerializer()
    target = RollbackTargetSerializer(allow_null=True)
    targets = RollbackTargetSerializer(many=True)
    never_served = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Versions that one cannot go back to: they never answered here",
    )
    changes = serializers.ListField(child=serializers.CharField())
    stays = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())
    unused = UnusedFieldSerializer(many=True)


class FreezeSerializer(serializers.Serializer):
    environment = serializers.CharField(source="environment.slug")
    release = serializers.IntegerField(source="release.number")
    lifted_at = serializers.DateTimeField()
    lifted_by = serializers.EmailField(source="lifted_by.email")
    reason = serializers.CharField(source="lift_reason")


class AuditEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditEvent
        fields = audit.COLUMNS
        read_only_fields = fields


class VerificationSerializer(serializers.Serializer):
    """What a walk along the audit chain found."""

    ok = serializers.BooleanField()
    to = serializers.IntegerField(source="last")
    head = serializers.CharField()
    broken_at = serializers.IntegerField(allow_null=True)
    problem = serializers.CharField()
    seals = serializers.IntegerField(help_text="How many sealed heads were compared with the chain")
    sealed_to = serializers.IntegerField(help_text="The newest event that a seal vouches for; 0 for none")
    sealed_at = serializers.CharField(help_text="When that seal was made; empty for none")

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of Python, so it cannot be written as an attribute.
        fields = super().get_fields()
        return {"ok": fields.pop("ok"), "from": serializers.IntegerField(source="first"), **fields}


class KeySerializer(serializers.ModelSerializer):
    owner: serializers.Field = serializers.SlugRelatedField(source="user", slug_field="email", read_only=True)
    actions = serializers.ListField(child=serializers.CharField())
    models = serializers.SerializerMethodField(help_text="Short names, or null for all that the owner sees.")

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "owner",
            "name",
            "prefix",
            "actions",
            "models",
            "rate",
            "state",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]
        read_only_fields = fields

    def get_models(self, key: ApiKey) -> list[str] | None:
        return None if key.all_models else sorted(model.slug for model in key.only_models.all())


class NewKeySerializer(KeySerializer):
    """A key just made: the only time that its secret is seen."""

    secret = serializers.CharField(allow_null=True)

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "secret"]
        read_only_fields = fields
