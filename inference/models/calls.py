"""The request log: one row a call, answered or refused. Who asked what when, and never what was in it."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.models import ApiKey, ModelVersion, RegisteredModel, Role


class CallQuerySet(models.QuerySet["Call"]):
    def visible_to(self, user: Any) -> "CallQuerySet":
        """All for who runs and audits the house; an integrator's service accounts; one's own; one's models."""
        if user.roles & {Role.ADMIN, Role.OPERATOR, Role.AUDITOR}:
            return self
        seen = Q(user_id=user.pk)
        if Role.INTEGRATOR in user.roles:
            known = Q(model=None) | Q(model__in=RegisteredModel.objects.visible_to(user))
            seen |= Q(user__is_service=True) & known
        if Role.AUTHOR in user.roles:
            seen |= Q(model__in=user.owned_models.values("pk"))
        return self.filter(seen)

    def refused(self) -> "CallQuerySet":
        return self.filter(status__gte=400)


class Call(models.Model):
    """One question to a model as the caller saw it: status and time. Written by ingestion, forgotten after 30 days."""

    at = models.DateTimeField()
    request_id = models.CharField(max_length=64, blank=True)
    model = models.ForeignKey(RegisteredModel, models.PROTECT, null=True, related_name="+")
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+")
    environment = models.CharField(max_length=20, blank=True)
    channel = models.CharField(max_length=5)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    user_name = models.CharField(max_length=254, blank=True)
    key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="calls")
    key_name = models.CharField(max_length=200, blank=True)
    status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=60, blank=True, help_text=_("of a refusal"))
    rows = models.PositiveIntegerField(default=0, help_text=_("how many were asked"))
    latency_ms = models.FloatField(null=True, help_text=_("empty where it was refused at the door"))

    objects = CallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call")
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["-at"], name="inference_call_at"),
            models.Index(fields=["key", "-at"], name="inference_call_key"),
            models.Index(fields=["user", "-at"], name="inference_call_user"),
            models.Index(fields=["model", "-at"], name="inference_call_model"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.status}"

    @property
    def is_refused(self) -> bool:
        return self.status >= 400
