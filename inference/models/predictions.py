"""Answered questions, what came true of them, and how far our own log has been read."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from inference.models.cold import ColdFile
from inference.ports import PredictionRecord
from registry.models import ApiKey, ModelVersion, RegisteredModel, Release


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def hot(self) -> "PredictionQuerySet":
        """Rows that hold inputs of their own."""
        return self.filter(cold_file=None, inputs_removed_at=None)

    def of(self, user: Any) -> "PredictionQuerySet":
        """What this person asked, in the browser or with their own keys."""
        return self.filter(user_id=user.pk)

    def for_list(self) -> "PredictionQuerySet":
        return self.select_related("model", "version").defer("inputs", "why", "version__schema")


class Prediction(models.Model):
    """One answered question: who asked what of which version, and what it answered. Written once, by ingestion.

    What people look up stays here; after a day or two inputs and reasons move into a columnar file.
    """

    class Channel(models.TextChoices):
        PAGE = "page", _("Page")
        API = "api", _("API")
        BATCH = "batch", _("Batch")

    public_id = models.CharField(max_length=64, unique=True)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="predictions")
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="predictions")
    release = models.ForeignKey(Release, models.PROTECT, null=True, related_name="predictions")
    release_number = models.PositiveIntegerField(null=True)
    environment = models.CharField(max_length=20)
    channel = models.CharField(max_length=5, choices=Channel)
    # Names are copied: the row says who asked even when the person or the key is gone.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="predictions")
    user_name = models.CharField(max_length=254, blank=True)
    key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="predictions")
    key_name = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()
    inputs = models.JSONField()
    label = models.JSONField(null=True)
    value = models.FloatField(null=True)
    probabilities = models.JSONField(null=True)
    warnings = models.JSONField(default=list)
    why = models.JSONField(null=True, help_text=_("reasons, base and scale, where they were asked for"))
    latency_ms = models.FloatField()
    request_id = models.CharField(max_length=64, blank=True)
    inputs_removed_at = models.DateTimeField(
        null=True, help_text=_("when the model's policy emptied the inputs")
    )

    # Inputs and reasons of older rows lie there, and are empty here; `inference.cold` puts them back.
    cold_file = models.ForeignKey(
        ColdFile, models.PROTECT, null=True, db_index=False, related_name="predictions"
    )

    objects = PredictionQuerySet.as_manager()

    class Meta:
        verbose_name = _("prediction")
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["user", "-at"], name="inference_prediction_user"),
            models.Index(fields=["model", "-at"], name="inference_prediction_model"),
            models.Index(fields=["version", "-at"], name="inference_prediction_version"),
            models.Index(
                fields=["version", "at"],
                condition=Q(cold_file=None, inputs_removed_at=None),
                name="inference_prediction_hot",
            ),
            models.Index(
                fields=["cold_file"], condition=Q(cold_file__isnull=False), name="inference_prediction_cold"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def get_absolute_url(self) -> str:
        return reverse("prediction", args=[self.public_id])

    def as_record(self) -> PredictionRecord:
        return PredictionRecord(
            public_id=self.public_id,
            model_id=self.model_id,
            version_id=self.version_id,
            environment=self.environment,
            channel=self.channel,
            at=self.at,
            label=self.label,
            value=self.value,
            probabilities=self.probabilities,
            inputs=self.inputs,
            warnings=self.warnings,
            why=self.why,
            release_number=self.release_number,
            user_id=self.user_id,
            user_name=self.user_name,
            request_id=self.request_id,
            latency_ms=self.latency_ms,
            inputs_removed_at=self.inputs_removed_at,
        )


class Erasure(models.Model):
    """A prediction that was erased: nothing is left of it but this id, which keeps the log from bringing it back."""

    public_id = models.CharField(max_length=64, unique=True)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.public_id


class LogSegment(models.Model):
    """How far one file of the prediction log has been read into the database."""

    name = models.CharField(max_length=200, unique=True)
    offset = models.PositiveBigIntegerField(default=0)
    lost = models.PositiveBigIntegerField(default=0, help_text=_("bytes that were damaged and skipped"))
    finished = models.BooleanField(default=False)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.name} @ {self.offset}"


class FeedbackQuerySet(models.QuerySet["Feedback"]):
    def current(self) -> "FeedbackQuerySet":
        """The latest word on each prediction: a correction replaces what was said before."""
        newer = self.model._base_manager.filter(
            prediction_id=OuterRef("prediction_id"), pk__gt=OuterRef("pk")
        )
        return self.filter(~Exists(newer))


class Feedback(models.Model):
    """The true outcome of a prediction, as somebody recorded it; a correction is a new row and the latest wins."""

    prediction_id = models.CharField(max_length=64)  # a public id: batch rows have no row of their own here
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="feedback")
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="feedback")
    environment = models.CharField(max_length=20)
    actual = models.JSONField()
    # Copied, so that performance over any window is one query without the predictions.
    label = models.JSONField(null=True)
    value = models.FloatField(null=True)
    probabilities = models.JSONField(null=True)
    predicted_at = models.DateTimeField()
    at = models.DateTimeField(help_text=_("when the outcome became known"))
    is_correction = models.BooleanField(default=False)
    recorded_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    recorded_by_name = models.CharField(max_length=254, blank=True)
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        verbose_name = _("outcome")
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["prediction_id", "id"], name="inference_feedback_latest"),
            models.Index(fields=["version", "predicted_at"], name="inference_feedback_window"),
        ]

    def __str__(self) -> str:
        return f"{self.prediction_id}: {self.actual}"
