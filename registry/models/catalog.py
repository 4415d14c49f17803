"""What is known about models: the question, its data, its versions and what was checked."""

import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from registry import measures
from registry.models.accounts import Role
from registry.policy import Policy
from registry.schema import Schema

#: These roles govern every model; the others see what is shared with them.
SEES_ALL = frozenset({Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.ADMIN})


class Task(models.TextChoices):
    CLASSIFICATION = "classification", _("Classification")
    REGRESSION = "regression", _("Regression")


class Risk(models.TextChoices):
    """How much harm a wrong answer does; decides how many approvers are needed."""

    LOW = "low", _("Low")
    MEDIUM = "medium", _("Medium")
    HIGH = "high", _("High")


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, user: Any) -> "RegisteredModelQuerySet":
        """Models this person may know of: all for those who govern, else shared or owned ones."""
        return self.present().would_show(user)

    def present(self) -> "RegisteredModelQuerySet":
        return self.filter(deleted_at=None)

    def tombstones(self) -> "RegisteredModelQuerySet":
        """Deleted models: auditors and administrators look at them."""
        return self.exclude(deleted_at=None)

    def would_show(self, user: Any) -> "RegisteredModelQuerySet":
        """What this person sees, and what they would see had it not been deleted."""
        if not user.is_authenticated or not user.roles:
            return self.none()
        if user.roles & SEES_ALL:
            return self
        shared = Q(groups=None) | Q(groups__in=user.groups.all()) | Q(owners=user)
        return self.filter(pk__in=self.model._base_manager.filter(shared).values("pk"))


class RegisteredModel(models.Model):
    """A named question that the business asks, with its owners and its rules."""

    slug = models.CharField(
        _("short name"),
        max_length=60,
        unique=True,
        validators=[
            RegexValidator(r"^[a-z0-9]+(-[a-z0-9]+)*\Z", _("Use lower-case letters, digits and hyphens."))
        ],
    )
    name = models.CharField(_("name"), max_length=120)
    question = models.CharField(_("question"), max_length=200, blank=True)
    description = models.TextField(_("description"), max_length=4000, blank=True)
    task = models.CharField(_("task"), max_length=14, choices=Task)
    risk = models.CharField(_("risk"), max_length=6, choices=Risk, default=Risk.MEDIUM)
    owners = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="owned_models", blank=True)
    groups = models.ManyToManyField(Group, related_name="registered_models", blank=True)
    policy = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)  # from then on it is a tombstone

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        verbose_name = _("model")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(task__in=Task.values), name="registry_task_known"),
            models.CheckConstraint(condition=Q(risk__in=Risk.values), name="registry_risk_known"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("model-detail", args=[self.slug])

    @property
    def approvals_needed(self) -> int:
        return 2 if self.risk == Risk.HIGH else 1

    @property
    def rules(self) -> Policy:
        """What holds for this model, typed; `policy` is only how it is kept."""
        return Policy.read(self.policy, self.task)

    @property
    def is_present(self) -> bool:
        """Nothing happens to a deleted model any more, nor to what belongs to it."""
        return self.deleted_at is None

    def lock_present(self) -> bool:
        """Let nobody delete the model until the transaction ends; False where somebody was faster."""
        locked = type(self).objects.select_for_update(no_key=True).only("pk")
        return locked.filter(pk=self.pk, deleted_at=None).first() is not None

    def is_owned_by(self, user: Any) -> bool:
        return self.owners.filter(pk=user.pk).exists()


def dataset_id() -> str:
    return f"d_{secrets.token_hex(8)}"


class Dataset(models.Model):
    """An immutable table, known by its SHA-256: what a model learned from or is judged on."""

    class Kind(models.TextChoices):
        REFERENCE = "reference", _("Reference (training) data")
        EVALUATION = "evaluation", _("Evaluation data")
        FEEDBACK = "feedback", _("Outcomes")

    public_id = models.CharField(max_length=24, unique=True, default=dataset_id)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="datasets")
    name = models.CharField(_("name"), max_length=200)
    role = models.CharField(_("role"), max_length=10, choices=Kind)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    format = models.CharField(max_length=8)
    rows = models.PositiveBigIntegerField()
    columns = models.JSONField(default=list)
    target = models.CharField(_("target column"), max_length=200, blank=True)
    profile = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.rows} rows)"

    def get_absolute_url(self) -> str:
        return reverse("dataset-detail", args=[self.model.slug, self.public_id])

    @property
    def uses(self) -> list["DatasetUse"]:
        """The versions that were trained on it, and those that were judged on it, newest first."""
        versions = ModelVersion.objects.filter(Q(reference=self) | Q(evaluation=self)).select_related("model")
        return [
            DatasetUse(version, role)
            for version in versions.order_by("-number")
            for role, used in (("reference", version.reference_id), ("evaluation", version.evaluation_id))
            if used == self.pk
        ]

    @property
    def replaces(self) -> "Dataset | None":
        """The one of the same role that came before it."""
        return self._of_its_kind().filter(pk__lt=self.pk).order_by("-pk").first()

    @property
    def replaced_by(self) -> "Dataset | None":
        return self._of_its_kind().filter(pk__gt=self.pk).order_by("pk").first()

    def _of_its_kind(self) -> models.QuerySet["Dataset"]:
        same = Dataset.objects.filter(model_id=self.model_id, role=self.role)
        return same.select_related("model")


class DatasetUse(NamedTuple):
    """A version, and what the dataset is to it: `reference` or `evaluation`."""

    version: "ModelVersion"
    role: str


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def visible_to(self, user: Any) -> "ModelVersionQuerySet":
        return self.filter(model__in=RegisteredModel.objects.visible_to(user))

    def awaiting_review(self) -> "ModelVersionQuerySet":
        """Those whose file needs names that an approver has to look at."""
        return self.filter(state=ModelVersion.State.NEEDS_REVIEW)

    def listed(self) -> "ModelVersionQuerySet":
        """What lists show unless one asks for the archived ones too."""
        return self.filter(archived_at=None)

    def move(self, *, old: str | Iterable[str], new: str, **fields: Any) -> bool:
        """Change the state, unless somebody else changed it first."""
        states = [old] if isinstance(old, str) else list(old)
        return self.filter(state__in=states).update(state=new, **fields) == 1


class ModelVersion(models.Model):
    """An uploaded artifact. Its bytes never change; its state moves only through the verbs."""

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        CHECKING = "checking", _("Checking")
        NEEDS_REVIEW = "needs_review", _("Needs review")
        CHECKS_FAILED = "checks_failed", _("Checks failed")
        CHECKED = "checked", _("Checked")
        RETIRED = "retired", _("Retired")
        QUARANTINED = "quarantined", _("Quarantined")

    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    state = models.CharField(_("state"), max_length=13, choices=State, default=State.DRAFT)
    sha256 = models.CharField("SHA-256", max_length=64)
    size = models.PositiveBigIntegerField(_("size"))
    filename = models.CharField(_("file"), max_length=200)
    format = models.CharField(_("format"), max_length=8)
    engine = models.CharField(_("engine"), max_length=8, default="runner")
    schema = models.JSONField(_("schema"), default=dict)
    environment = models.JSONField(_("environment"), default=dict)
    declared_metrics = models.JSONField(_("declared metrics"), default=dict)
    measured_metrics = models.JSONField(_("measured metrics"), default=dict)
    globals = models.JSONField(_("what the file would import"), default=dict)
    admitted = models.JSONField(_("admitted names"), default=list, blank=True)
    expected = models.JSONField(null=True, blank=True)
    card = models.TextField(_("card"), max_length=20_000, blank=True)
    notes = models.TextField(_("notes"), max_length=4000, blank=True)
    requirements = models.TextField(_("requirements"), max_length=20_000, blank=True)
    reference = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="+")
    evaluation = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="+")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    uploaded_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    checks_started_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)  # since then lists leave it out

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("version")
        ordering = ["model", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="registry_version_number_once"),
        ]

    @property
    def approvals_needed(self) -> int:
        """By the model's risk; one more for a file that is a program, where the model's policy says so."""
        is_pickle = self.opened[1] in ("joblib", "pickle")
        return self.model.approvals_needed + (is_pickle and self.model.rules.extra_approval_for_pickle)

    @property
    def opened(self) -> tuple[str, str]:
        """SHA-256 and format of the file that a runner opens: the one inside a folder, else the artifact itself."""
        payload = self.globals.get("payload")
        return (payload["sha256"], payload["format"]) if payload else (self.sha256, self.format)

    def __str__(self) -> str:
        return f"{self.model.slug} v{self.number}"

    def get_absolute_url(self) -> str:
        return reverse("version-detail", args=[self.model.slug, self.number])

    def lock(self) -> None:
        """Let nobody else retire, release or go back to this version until the transaction ends; read its state."""
        type(self).objects.select_for_update(no_key=True).only("pk").get(pk=self.pk)
        self.refresh_from_db(fields=["state"])

    @property
    def label(self) -> str:
        return f"v{self.number}"

    @property
    def schema_object(self) -> Schema:
        return Schema.from_json(self.schema)

    @property
    def unknown_names(self) -> list[str]:
        """What the file would import beyond the reviewed list, as long as nobody has admitted it."""
        return [name for name in self.globals.get("unknown", []) if name not in self.admitted]

    @property
    def foreign_packages(self) -> list[str]:
        """Packages of another version than ours that made the model, as long as nobody has admitted them."""
        return [name for name in self.environment.get("to_review", []) if name not in self.admitted]

    @property
    def names_to_review(self) -> list[str]:
        """What an approver must admit: names before anything is loaded, packages after everything was tried."""
        return self.unknown_names or self.foreign_packages

    @property
    def admitted_names(self) -> list[str]:
        """What an approver let into the jail. No name of Python's has `==` in it."""
        return [name for name in self.admitted if "==" not in name]

    @property
    def figures(self) -> dict[str, Any]:
        """Measured where the checks could measure, else as declared."""
        return {**self.declared_metrics, **measures.numbers(self.measured_metrics)}

    @property
    def is_draft(self) -> bool:
        return self.state == self.State.DRAFT

    @property
    def is_editable(self) -> bool:
        """May its papers still be corrected? Afterwards it must pass all its checks (again)."""
        return self.state in EDITABLE

    @property
    def may_be_requested(self) -> bool:
        return self.state == self.State.CHECKED


#: The states in which a version's papers may be corrected.
EDITABLE = (ModelVersion.State.DRAFT, ModelVersion.State.CHECKS_FAILED)


class CheckResult(models.Model):
    """One check of one version: what was looked at, how long it took, what a person can do about it."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        PASSED = "passed", _("Passed")
        FAILED = "failed", _("Failed")
        SKIPPED = "skipped", _("Skipped")

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="checks")
    name = models.CharField(max_length=30)
    position = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=7, choices=Status, default=Status.WAITING)
    detail = models.TextField(blank=True)
    log = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True)
    figures = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="registry_check_once"),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.name} {self.status}"
