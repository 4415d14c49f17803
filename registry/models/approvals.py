"""Somebody asks that a version may answer; somebody else decides."""

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models.catalog import ModelVersion, RegisteredModel
from registry.models.releases import Environment


def request_id() -> str:
    return f"r_{secrets.token_hex(8)}"


class ReleaseRequestQuerySet(models.QuerySet["ReleaseRequest"]):
    def visible_to(self, user: Any) -> "ReleaseRequestQuerySet":
        return self.filter(version__model__in=RegisteredModel.objects.visible_to(user))

    def waiting(self) -> "ReleaseRequestQuerySet":
        return self.filter(state=ReleaseRequest.State.WAITING)

    def open(self) -> "ReleaseRequestQuerySet":
        """Requests that something may still come of: waiting, or approved and not yet released."""
        return self.filter(
            state__in=[ReleaseRequest.State.WAITING, ReleaseRequest.State.APPROVED], releases=None
        )

    def with_context(self) -> "ReleaseRequestQuerySet":
        return self.select_related("version__model", "environment", "requested_by", "version__uploaded_by")

    def move(self, *, old: str, new: str, at: datetime | None = None) -> bool:
        """Change the state (`at` a time, else now), unless somebody else changed it first."""
        return self.filter(state=old).update(state=new, decided_at=at or timezone.now()) == 1


class ReleaseRequest(models.Model):
    """A question to the approvers, bound to exactly what was looked at when it was asked."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        CHANGES_ASKED = "changes_asked", _("Changes asked")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        STALE = "stale", _("Stale")
        EXPIRED = "expired", _("Expired")

    public_id = models.CharField(max_length=24, unique=True, default=request_id)
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="requests")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    state = models.CharField(_("state"), max_length=13, choices=State, default=State.WAITING)
    mode = models.CharField(_("mode"), max_length=8, default="full")
    reason = models.TextField(_("reason"), max_length=2000)
    bound = models.JSONField(default=dict)
    gates = models.JSONField(_("quality gates"), default=list, blank=True)  # as they stood when it was asked
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(_("asked"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = ReleaseRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("approval request")
        ordering = ["-requested_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "environment"],
                condition=Q(state="waiting"),
                name="registry_one_waiting_request",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} → {self.environment.slug}"

    def get_absolute_url(self) -> str:
        return reverse("approval-detail", args=[self.public_id])

    @property
    def approvals_needed(self) -> int:
        return self.version.approvals_needed

    @property
    def approvals_given(self) -> int:
        return self.decisions.filter(verdict=Decision.Verdict.APPROVED).count()


class Decision(models.Model):
    """One approver's word on one request. Append-only."""

    class Verdict(models.TextChoices):
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        CHANGES_ASKED = "changes_asked", _("Asked for changes")

    request = models.ForeignKey(ReleaseRequest, models.PROTECT, related_name="decisions")
    verdict = models.CharField(max_length=13, choices=Verdict)
    comment = models.TextField(max_length=2000, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["decided_at"]
        constraints = [
            models.UniqueConstraint(fields=["request", "decided_by"], name="registry_one_decision_each"),
        ]

    def __str__(self) -> str:
        return f"{self.decided_by} {self.verdict} {self.request}"
