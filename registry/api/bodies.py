"""What calls to the registry send."""

from rest_framework import serializers

from registry.api.fields import (
    Body,
    DatasetField,
    EnvironmentField,
    JSONTextField,
    ModelField,
    Query,
    TextOrFileField,
    VersionField,
    WordsField,
    people,
    teams,
)
from registry.models import Dataset, Release, Risk, Task


class ModelBody(Body):
    slug = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    question = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    task = serializers.ChoiceField(Task.choices)
    risk = serializers.ChoiceField(Risk.choices, default=Risk.MEDIUM)
    owners = people()
    groups = teams()


class ModelChanges(Body):
    name = serializers.CharField(max_length=120, required=False)
    question = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    owners = people()
    groups = teams()
    policy = JSONTextField()


class DatasetBody(Body):
    file = serializers.FileField(use_url=False, allow_empty_file=True, help_text="CSV or Parquet")
    role = serializers.ChoiceField(Dataset.Kind.choices, default=Dataset.Kind.REFERENCE)
    target = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="The column to predict"
    )


class UploadQuery(Query):
    draft = serializers.BooleanField(default=False, help_text="Leave it a draft; checks start later.")


class ArchivedQuery(Query):
    archived = serializers.BooleanField(default=False, help_text="The archived ones too")


class VersionBody(Body):
    artifact = serializers.FileField(use_url=False, allow_empty_file=True)
    format = serializers.CharField(default="auto", help_text="auto, joblib, pickle, skops, onnx, mlflow")
    schema = JSONTextField(help_text="Else it is taken from the reference data.")
    reference = DatasetField(help_text="Id of a dataset")
    evaluation = DatasetField(help_text="Id of a dataset")
    target = serializers.CharField(required=False, allow_blank=True, max_length=200)
    metrics = JSONTextField(help_text="accuracy, auc, log_loss, f1, mae, rmse, r2 as declared by the author")
    expected = serializers.FileField(
        required=False,
        use_url=False,
        help_text="CSV: the training environment's answers on the first reference rows",
    )
    card = TextOrFileField(help_text="Markdown")
    requirements = TextOrFileField()
    notes = TextOrFileField(max_length=4000)


class VersionChanges(Body):
    schema = JSONTextField()
    metrics = JSONTextField()
    reference = DatasetField(allow_null=True)
    evaluation = DatasetField(allow_null=True)
    card = TextOrFileField()
    requirements = TextOrFileField()
    notes = TextOrFileField(max_length=4000)


class AdmitBody(Body):
    names = serializers.ListField(child=serializers.CharField(max_length=300), required=False, default=list)
    comment = WordsField()


class ReasonBody(Body):
    reason = WordsField()


class DeleteBody(ReasonBody):
    confirm = serializers.CharField(
        required=False, max_length=60, help_text="The model's short name; needed while it serves."
    )


class CommentBody(Body):
    comment = WordsField()


class RequestBody(Body):
    environment = EnvironmentField()
    reason = WordsField()
    mode = serializers.ChoiceField(Release.Mode.choices, default=Release.Mode.FULL)


class ReleaseBody(Body):
    environment = EnvironmentField()
    version = VersionField()
    reason = WordsField()
    mode = serializers.ChoiceField(Release.Mode.choices, default=Release.Mode.FULL)
    expect = serializers.IntegerField(required=False, help_text="The release number that you saw; 0 for none")


class RollbackBody(Body):
    environment = EnvironmentField()
    reason = WordsField()
    to = serializers.IntegerField(required=False, help_text="A version; the previous one unless given")
    expect = serializers.IntegerField(required=False, help_text="The release number that you saw")


class UnfreezeBody(Body):
    environment = EnvironmentField()
    reason = WordsField()


class EnvironmentQuery(Query):
    environment = EnvironmentField()


class AtQuery(EnvironmentQuery):
    time = serializers.DateTimeField()


class KeyBody(Body):
    name = serializers.CharField(max_length=100)
    actions = serializers.ListField(child=serializers.CharField(max_length=20))
    models = serializers.ListField(
        child=ModelField(),
        required=False,
        allow_null=True,
        help_text="Short names; all that the owner sees unless given",
    )
    days = serializers.IntegerField(default=90)
    rate = serializers.IntegerField(
        required=False, allow_null=True, help_text="Predictions calls a minute; null: as many as it likes"
    )
    owner = serializers.EmailField(required=False, help_text="A service account; yourself unless given")


class RotateBody(Body):
    keep_hours = serializers.IntegerField(default=0, help_text="0, 1, 24 or 168")
    rate = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="Calls a minute; as before unless given"
    )
