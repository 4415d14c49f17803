"""Names beyond the reviewed list: somebody uploads a file that needs them, an approver lets them in or not."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models.catalog import ModelVersion


class Admission(models.Model):
    """One approver's word on what one version needs: unknown names before its checks, packages after. Append-only."""

    class Verdict(models.TextChoices):
        ADMITTED = "admitted", _("Admitted")
        REFUSED = "refused", _("Refused")

    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="admissions")
    verdict = models.CharField(max_length=8, choices=Verdict)
    sha256 = models.CharField(max_length=64)
    names = models.JSONField(default=list)
    comment = models.TextField(max_length=2000)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["admitted", "refused"]), name="registry_admission_verdict_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decided_by} {self.verdict} {self.version}"
