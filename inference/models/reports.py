"""What somebody found wrong with an answer."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion, RegisteredModel


class ProblemReport(models.Model):
    """Somebody says that one prediction is wrong, surprising or unfair; for its model's owners and for operators."""

    class Reason(models.TextChoices):
        WRONG = "wrong", _("Wrong")
        SURPRISING = "surprising", _("Surprising")
        UNFAIR = "unfair", _("Unfair")
        OTHER = "other", _("Something else")

    prediction_id = models.CharField(max_length=64, blank=True)  # empty once the prediction was erased
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="problem_reports")
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+")
    reason = models.CharField(max_length=10, choices=Reason)
    text = models.TextField(blank=True)
    reported_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    reported_by_name = models.CharField(max_length=254, blank=True)
    reported_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("problem report")
        ordering = ["-reported_at", "-pk"]
        indexes = [models.Index(fields=["model", "-reported_at"], name="inference_report_model")]
        constraints = [
            models.UniqueConstraint(
                fields=["prediction_id", "reported_by", "reason"],
                condition=~Q(prediction_id=""),
                name="inference_report_once",
            ),
            models.CheckConstraint(
                condition=Q(reason__in=["wrong", "surprising", "unfair", "other"]),
                name="inference_report_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prediction_id}: {self.reason}"
