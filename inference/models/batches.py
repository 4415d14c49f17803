"""Files that are scored in the background: the job row is the truth, messages are only hints."""

import secrets
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion, RegisteredModel, Release, Role


def batch_id() -> str:
    return secrets.token_hex(10)


class LeaseQuerySet(models.QuerySet[Any]):
    """Claims by compare-and-set: one UPDATE decides who works on a row, on every database."""

    def claim(self, row: "Leased", owner: str, seconds: float, **changes: Any) -> bool:
        """Take the row as it was read; False when somebody else was faster."""
        now = timezone.now()
        taken = self.filter(pk=row.pk, token=row.token).update(
            owner=owner, lease_until=now + timedelta(seconds=seconds), token=F("token") + 1, **changes
        )
        if taken:
            row.refresh_from_db()
        return bool(taken)

    def held(self, row: "Leased") -> Self:
        """The row, if its fencing token is still ours: what a late worker writes through this changes nothing."""
        return self.filter(pk=row.pk, token=row.token)


class Leased(models.Model):
    """Something that one worker at a time works on, and that outlives the worker."""

    owner = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    token = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True


class BatchJobQuerySet(LeaseQuerySet):
    def visible_to(self, user: Any) -> "BatchJobQuerySet":
        """A person's own jobs; operators and auditors know of all, which does not open the rows to them."""
        if not user.is_authenticated or not user.roles:
            return self.none()
        if user.roles & {Role.OPERATOR, Role.AUDITOR}:
            return self
        return self.filter(Q(created_by=user) | Q(model__owners=user)).distinct()

    def move(self, *, old: Any, new: str, **changes: Any) -> bool:
        """Change the state, unless somebody else changed it first."""
        states = [old] if isinstance(old, str) else list(old)
        return self.filter(state__in=states).update(state=new, **changes) == 1

    def unfinished(self) -> "BatchJobQuerySet":
        return self.filter(state__in=BatchJob.UNFINISHED)


class BatchJob(Leased):
    """One file scored with one pinned version. Always: total = scored + invalid + ignored + unscored."""

    class State(models.TextChoices):
        UPLOADED = "uploaded", _("Waiting")
        CHECKING = "checking", _("Checking")
        READY = "ready", _("Ready")
        REJECTED = "rejected", _("Not accepted")
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Done")
        SUCCEEDED_WITH_ERRORS = "succeeded_with_errors", _("Done, some rows skipped")
        FAILED = "failed", _("Failed")
        CANCELLING = "cancelling", _("Stopping")
        CANCELLED = "cancelled", _("Stopped")
        EXPIRED = "expired", _("Expired")

    #: States in which something still has to happen by itself.
    UNFINISHED = (State.UPLOADED, State.CHECKING, State.QUEUED, State.RUNNING, State.CANCELLING)
    #: States whose scored rows can be downloaded.
    WITH_RESULT = (State.SUCCEEDED, State.SUCCEEDED_WITH_ERRORS, State.CANCELLED)

    public_id = models.CharField(max_length=24, unique=True, default=batch_id)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="batches")
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+")
    environment = models.CharField(max_length=20)
    state = models.CharField(_("state"), max_length=21, choices=State, default=State.UPLOADED)
    filename = models.CharField(_("file"), max_length=200)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    options = models.JSONField(default=dict)
    reading = models.JSONField(default=dict)  # how the file was read: encoding, delimiter, header, notes
    total = models.PositiveBigIntegerField(null=True)
    scored = models.PositiveBigIntegerField(default=0)
    invalid = models.PositiveBigIntegerField(default=0)
    ignored = models.PositiveBigIntegerField(default=0)
    problems = models.JSONField(default=list)  # rows with problems grouped by cause, worst first
    summary = models.JSONField(default=dict)  # answers counted, for the job page
    files = models.JSONField(default=dict)  # what the finaliser wrote: name → storage key
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("started"), auto_now_add=True)
    as_of = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)  # when somebody last worked on it
    published_at = models.DateTimeField(null=True, blank=True)  # when the tick last asked for workers
    expires_at = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    tries = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    objects = BatchJobQuerySet.as_manager()

    class Meta:
        verbose_name = _("batch job")
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["state"], name="inference_batch_state")]
        constraints = [
            models.CheckConstraint(
                condition=Q(total=None) | Q(total__gte=F("scored") + F("invalid") + F("ignored")),
                name="inference_batch_adds_up",
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    def get_absolute_url(self) -> str:
        return reverse("batch-detail", args=[self.public_id])

    @property
    def on_invalid(self) -> str:
        return str(self.options.get("on_invalid", "skip"))

    @property
    def unscored(self) -> int:
        """Rows of the file that nobody has looked at yet."""
        return max(0, (self.total or 0) - self.scored - self.invalid - self.ignored)

    @property
    def handled(self) -> int:
        return self.scored + self.invalid + self.ignored

    @property
    def percent(self) -> int:
        if self.state in {self.State.SUCCEEDED, self.State.SUCCEEDED_WITH_ERRORS}:
            return 100
        return int(100 * self.handled / self.total) if self.total else 0

    @property
    def is_finished(self) -> bool:
        return self.state not in {*self.UNFINISHED, self.State.READY}

    @property
    def has_result(self) -> bool:
        return self.state in self.WITH_RESULT and "result" in self.files

    @property
    def can_be_cancelled(self) -> bool:
        return self.state in {
            self.State.UPLOADED,
            self.State.CHECKING,
            self.State.READY,
            self.State.QUEUED,
            self.State.RUNNING,
        }

    @property
    def can_be_retried(self) -> bool:
        return self.state in {self.State.FAILED, self.State.CANCELLED} and self.total is not None

    @property
    def eta_seconds(self) -> int | None:
        """How long the rest takes at the speed so far; None while nobody can know."""
        if self.state != self.State.RUNNING or not self.handled or self.started_at is None:
            return None
        spent = (timezone.now() - self.started_at).total_seconds()
        return round(spent * self.unscored / self.handled)

    @property
    def quiet_since(self) -> datetime | None:
        """Since when a running job shows no progress, once that is worth saying."""
        last = self.heartbeat_at or self.created_at
        overdue = timezone.now() - last > timedelta(seconds=60)
        return last if overdue and self.state in self.UNFINISHED else None


class BatchChunk(Leased):
    """A run of rows of one job that one worker scores as a whole; its part is stored under index and token."""

    class State(models.TextChoices):
        TODO = "todo", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")

    job = models.ForeignKey(BatchJob, models.CASCADE, related_name="chunks")
    index = models.PositiveIntegerField()
    state = models.CharField(max_length=7, choices=State, default=State.TODO)
    first_row = models.PositiveBigIntegerField()
    rows = models.PositiveIntegerField()
    source_key = models.CharField(max_length=200)
    part_key = models.CharField(max_length=200, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(default=0)
    scored = models.PositiveIntegerField(default=0)
    invalid = models.PositiveIntegerField(default=0)
    ignored = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list)
    summary = models.JSONField(default=dict)
    done_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = LeaseQuerySet.as_manager()

    class Meta:
        ordering = ["job", "index"]
        indexes = [models.Index(fields=["job", "state"], name="inference_chunk_state")]
        constraints = [
            models.UniqueConstraint(fields=["job", "index"], name="inference_chunk_once"),
            models.CheckConstraint(
                condition=~Q(state="done") | Q(rows=F("scored") + F("invalid") + F("ignored")),
                name="inference_chunk_adds_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.index} {self.state}"
