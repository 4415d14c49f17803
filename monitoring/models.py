"""What was observed after the release: counts that add up, and the verdicts drawn from them."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion, RegisteredModel, Role


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


def incident_id() -> str:
    return f"i_{secrets.token_hex(8)}"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def visible_to(self, user: Any) -> "IncidentQuerySet":
        return self.filter(model__in=RegisteredModel.objects.visible_to(user))

    def unresolved(self) -> "IncidentQuerySet":
        return self.filter(resolved_at=None)

    def needing_somebody(self) -> "IncidentQuerySet":
        """Neither resolved nor muted: what a number in the navigation counts."""
        return self.unresolved().filter(Q(muted_until=None) | Q(muted_until__lte=timezone.now()))

    def for_handler(self, user: Any) -> "IncidentQuerySet":
        """Those that need somebody and that this person may act on: for operators all, for owners their own."""
        open_ones = self.visible_to(user).needing_somebody()
        return open_ones if Role.OPERATOR in user.roles else open_ones.filter(model__owners=user)

    def in_state(self, state: str) -> "IncidentQuerySet":
        """What `Incident.state` says of one, for many."""
        if state == Incident.State.RESOLVED:
            return self.exclude(resolved_at=None)
        if state == Incident.State.MUTED:
            return self.unresolved().filter(muted_until__gt=timezone.now())
        return self.needing_somebody().filter(acknowledged_at__isnull=state == Incident.State.OPEN)

    def with_context(self) -> "IncidentQuerySet":
        return self.select_related(
            "model", "version", "version__model", "acknowledged_by", "muted_by", "resolved_by"
        )


class Incident(models.Model):
    """What a person must act on. One open per model and kind: what comes again is written into the open one."""

    class Kind(models.TextChoices):
        QUARANTINE = "quarantine", _("Version quarantined")
        CRASH_LOOP = "crash_loop", _("Model keeps crashing")
        DRIFT = "drift", _("Drift")
        PERFORMANCE = "performance", _("Performance")
        SERVICE = "service", _("Service")

    class Severity(models.TextChoices):
        """In this order on every page."""

        CRITICAL = "critical", _("Critical")
        WARNING = "warning", _("Warning")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        ACKNOWLEDGED = "acknowledged", _("Acknowledged")
        MUTED = "muted", _("Muted")
        RESOLVED = "resolved", _("Resolved")

    public_id = models.CharField(max_length=24, unique=True, default=incident_id)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="incidents")
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity)
    sentence = models.TextField(help_text=_("what was found last, as it was said at the time"))
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="incidents")
    history = models.JSONField(default=list)  # [{at, version, sentence}], oldest first
    opened_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    acknowledged_reason = models.TextField(blank=True)
    muted_until = models.DateTimeField(null=True)
    muted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    muted_reason = models.TextField(blank=True)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )  # None: it ended by itself
    resolved_reason = models.TextField(blank=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        verbose_name = _("incident")
        ordering = ["-opened_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "kind"], condition=Q(resolved_at=None), name="monitoring_one_open_incident"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.slug}: {self.get_kind_display()}"

    def get_absolute_url(self) -> str:
        return reverse("incident", args=[self.public_id])

    @property
    def is_muted(self) -> bool:
        return self.muted_until is not None and self.muted_until > timezone.now()

    @property
    def state(self) -> str:
        if self.resolved_at:
            return self.State.RESOLVED
        if self.is_muted:
            return self.State.MUTED
        return self.State.ACKNOWLEDGED if self.acknowledged_at else self.State.OPEN
