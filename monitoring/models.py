"""What was observed after the release: counts that add up, and the verdicts drawn from them."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion, RegisteredModel


class State(models.TextChoices):
    """The words of the API; pages say Healthy, Watch, Alert, Not enough data, Not comparable."""

    OK = "ok", _("Healthy")
    WATCH = "watch", _("Watch")
    DRIFT = "drift", _("Alert")
    INSUFFICIENT_DATA = "insufficient_data", _("Not enough data")
    NOT_COMPARABLE = "not_comparable", _("Not comparable")


class ReferenceProfile(models.Model):
    """What a version's reference data looked like, and what the version answered on it. Written once."""

    version = models.OneToOneField(ModelVersion, models.CASCADE, related_name="reference_profile")
    rows = models.PositiveIntegerField()
    inputs = models.JSONField()
    outputs = models.JSONField(null=True, help_text=_("absent while the model could not answer"))
    metrics = models.JSONField(default=dict)
    built_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"reference of {self.version}"


class CountedSource(models.Model):
    """A piece of traffic that has been counted: coming again, it adds nothing."""

    source = models.CharField(max_length=200, unique=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.source


class WindowQuerySet(models.QuerySet[Any]):
    def within(self, start: datetime, end: datetime) -> "WindowQuerySet":
        return self.filter(hour__gte=start, hour__lt=end)


class ProfilePart(models.Model):
    """The counts of one hour of one version's answers, as they arrived from one source; parts add up."""

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="+")
    environment = models.CharField(max_length=20)
    segment = models.CharField(max_length=80, blank=True)
    hour = models.DateTimeField()
    source = models.CharField(max_length=200)
    rows = models.PositiveIntegerField()
    inputs = models.JSONField()
    outputs = models.JSONField(null=True)

    objects = WindowQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["version", "environment", "segment", "hour", "source"], name="monitoring_part_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rows} rows of {self.version} at {self.hour:%Y-%m-%d %H}h"


class ServicePart(models.Model):
    """How calls went in one minute, or in one hour once it is past: how many, how fast, which errors."""

    model = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="+")
    version = models.ForeignKey(ModelVersion, models.CASCADE, null=True, related_name="+")
    environment = models.CharField(max_length=20)
    channel = models.CharField(max_length=10)
    hour = models.DateTimeField()
    minute = models.DateTimeField()
    source = models.CharField(max_length=200)
    requests = models.PositiveIntegerField()
    rows = models.PositiveIntegerField()
    errors = models.JSONField(default=dict)  # by HTTP status
    latencies = models.JSONField(default=dict)  # monitoring.latency

    objects = WindowQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["model", "environment", "minute"], name="monitoring_service_window")]

    def __str__(self) -> str:
        return f"{self.requests} calls of {self.model} at {self.minute:%Y-%m-%d %H:%M}"


class MonitoringSettings(models.Model):
    """How a model is watched: the window of a check, how often, and from which PSI on a column is told."""

    model = models.OneToOneField(RegisteredModel, models.CASCADE, related_name="monitoring")
    window_hours = models.PositiveIntegerField(
        _("window (hours)"), default=168, validators=[MinValueValidator(1), MaxValueValidator(24 * 366)]
    )
    every_minutes = models.PositiveIntegerField(
        _("check every (minutes)"),
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(7 * 24 * 60)],
    )
    is_enabled = models.BooleanField(_("check by itself"), default=True)
    thresholds = models.JSONField(_("thresholds"), default=dict)  # {"": {watch, drift}, column: {…}}
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        verbose_name = _("monitoring settings")
        verbose_name_plural = _("monitoring settings")

    def __str__(self) -> str:
        return f"monitoring of {self.model}"

    @property
    def window(self) -> timedelta:
        return timedelta(hours=self.window_hours)

    def to_json(self) -> dict[str, Any]:
        return {
            "enabled": self.is_enabled,
            "window_hours": self.window_hours,
            "every_minutes": self.every_minutes,
            "thresholds": self.thresholds,
        }


class VerdictQuerySet(models.QuerySet["Verdict"]):
    def of(self, model: RegisteredModel, environment: str) -> "VerdictQuerySet":
        return self.filter(model=model, environment=environment)

    def latest(self, *fields: Any) -> "Verdict":  # type: ignore[override]
        return super().latest(*(fields or ("window_end", "pk")))

    def newest(self) -> "Verdict | None":
        return self.select_related("version", "version__model").order_by("-window_end", "-pk").first()


class Verdict(models.Model):
    """One evaluation of one window: computed once, read everywhere. Checking the same window again replaces it."""

    model = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="verdicts")
    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="verdicts")
    environment = models.CharField(max_length=20)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    state = models.CharField(max_length=17, choices=State)
    service_state = models.CharField(max_length=17, choices=State)
    data_state = models.CharField(max_length=17, choices=State)
    drift_state = models.CharField(max_length=17, choices=State)
    performance_state = models.CharField(max_length=17, choices=State)
    sentence = models.TextField(help_text=_("as it was said at the time, in English"))
    rows = models.PositiveIntegerField()
    columns = models.JSONField(default=list)  # monitoring.drift.ColumnVerdict of every input
    outputs = models.JSONField(default=list)  # the same of every answer
    performance = models.JSONField(default=dict)
    service = models.JSONField(default=dict)
    as_of = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    objects = VerdictQuerySet.as_manager()

    class Meta:
        verbose_name = _("verdict")
        ordering = ["-window_end", "-pk"]
        indexes = [
            models.Index(fields=["model", "environment", "-window_end"], name="monitoring_verdict_recent")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "environment", "version", "window_start", "window_end"],
                name="monitoring_verdict_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} {self.window_start:%Y-%m-%d}–{self.window_end:%Y-%m-%d}: {self.state}"

    @property
    def shown_end(self) -> datetime:
        """Windows end with their hour, which may not be over yet."""
        return min(self.window_end, self.as_of)

    @property
    def drifted(self) -> list[dict[str, Any]]:
        return [column for column in self.columns if column["state"] == State.DRIFT]
