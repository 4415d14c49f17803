"""What versions answered on whole datasets, and what a comparison of two of them found."""

from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import Dataset, ModelVersion


class Measurement(models.Model):
    """A version's answers on a dataset, asked once: both are immutable, so the answers are too."""

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="measurements")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="measurements")
    rows = models.PositiveIntegerField(help_text=_("rows that the version answers"))
    labelled = models.PositiveIntegerField(default=0, help_text=_("of these, rows whose outcome is known"))
    classes = models.JSONField(default=list)
    metrics = models.JSONField(default=dict)
    note = models.TextField(blank=True, help_text=_("why there are no figures"))
    answers = models.BinaryField(help_text=_("Arrow, compressed: place in the dataset, label or value"))
    measured_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "dataset"], name="inference_measured_once"),
        ]

    def __str__(self) -> str:
        return f"{self.version} on {self.dataset.name}"


class Comparison(models.Model):
    """Two versions on the same rows of one dataset. Computed by a worker, shown when it is there."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    #: A worker that holds it for longer is dead.
    LEASE = timedelta(minutes=10)
    #: A message that was not taken up by then was lost.
    PATIENCE = timedelta(seconds=60)
    #: Workers that may die over it.
    TRIES = 3

    a = models.ForeignKey(ModelVersion, models.CASCADE, related_name="+")
    b = models.ForeignKey(ModelVersion, models.CASCADE, related_name="+")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="+")
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    result = models.JSONField(default=dict)
    note = models.TextField(blank=True)
    tries = models.PositiveSmallIntegerField(default=0, help_text=_("workers that have begun with it"))
    asked_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["a", "b", "dataset"], name="inference_compared_once"),
        ]

    def __str__(self) -> str:
        return f"{self.a} against {self.b}"

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.WAITING, self.State.RUNNING)
