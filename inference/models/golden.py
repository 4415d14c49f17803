"""Golden rows: the answers by which a version is recognised, and each time it was asked for them again."""

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion


class GoldenSet(models.Model):
    """At most 100 rows and the answers that a version gave to them when it was checked. Written once, never changed.

    The file with rows and answers lies among the artifacts, under its hash.
    """

    class Origin(models.TextChoices):
        TRAINING = "training", _("the training environment")
        HERE = "here", _("this installation")

    version = models.OneToOneField(ModelVersion, models.CASCADE, related_name="golden")
    origin = models.CharField(max_length=8, choices=Origin)
    rows = models.PositiveIntegerField()
    classes = models.JSONField(default=list)  # of the answers, with their JSON types
    sha256 = models.CharField(max_length=64)
    frozen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.rows} golden rows of {self.version}"

    @property
    def proves(self) -> str:
        """What the rows are worth, in a sentence."""
        if self.origin == self.Origin.TRAINING:
            return str(_("They are the answers that the model gave where it was trained."))
        return str(
            _("They were frozen here at the first check, so they prove only that nothing moved since.")
        )


class Replay(models.Model):
    """The golden rows asked once, in one environment: whether the answers were the frozen ones. Append-only."""

    golden = models.ForeignKey(GoldenSet, models.CASCADE, related_name="replays")
    fingerprint = models.CharField(max_length=64)
    environment = models.JSONField(default=dict)  # what the fingerprint is of
    agreed = models.BooleanField()
    moved = models.PositiveIntegerField(default=0)  # rows with another answer
    detail = models.TextField(blank=True)
    seconds = models.FloatField(default=0)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["golden", "fingerprint", "-id"], name="inference_replay_of")]

    def __str__(self) -> str:
        return f"{self.golden}: {'agreed' if self.agreed else f'{self.moved} moved'}"

    def to_json(self) -> dict[str, Any]:
        return {"agreed": self.agreed, "moved": self.moved, "at": self.at, "detail": self.detail}
