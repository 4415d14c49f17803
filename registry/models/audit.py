"""Who did what to which, when, from where and why."""

from typing import Any, NoReturn, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.verify_audit import GENESIS


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def mentioning(self, text: str) -> Self:
        """Events with `text` in the object's name or the reason, or whose action or result is called so.

        Pages write `version.checks_failed` as “Version checks failed”: both are found.
        """
        words = text.strip().casefold()
        called = Q(action__icontains=text) | Q(action__icontains=words.replace(" ", "_"))
        called |= Q(action__icontains=words.replace(" ", ".", 1).replace(" ", "_"))
        labels = ((value, str(label).casefold()) for value, label in AuditEvent.Result.choices)
        results = [value for value, label in labels if words in (value, label)]
        return self.filter(
            Q(target_name__icontains=text) | Q(reason__icontains=text) | called | Q(result__in=results)
        )

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("audit events are append-only")

    def delete(self) -> NoReturn:
        raise TypeError("audit events are append-only")


class AuditEvent(models.Model):
    """One fact, written in the transaction of what it records, chained to the one before by SHA-256.

    Names are copied, nothing refers by foreign key: the event outlives what it mentions.
    """

    class Result(models.TextChoices):
        DONE = "done", _("Done")
        REFUSED = "refused", _("Refused")

    seq = models.PositiveBigIntegerField("#", unique=True)
    at = models.DateTimeField(_("time"), db_index=True)
    action = models.CharField(_("action"), max_length=40, db_index=True)
    result = models.CharField(_("result"), max_length=7, choices=Result)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(_("who"), max_length=254)
    channel = models.CharField(_("channel"), max_length=10)
    ip = models.CharField("IP", max_length=45, blank=True)
    request_id = models.CharField(_("request id"), max_length=64, blank=True)
    model_slug = models.CharField(_("model"), max_length=60, blank=True, db_index=True)
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(_("object"), max_length=200)
    reason = models.TextField(_("reason"), blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    details = models.JSONField(default=dict)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit event")
        ordering = ["-seq"]

    def __str__(self) -> str:
        return f"#{self.seq} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("audit events are append-only")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("audit events are append-only")


class AuditHead(models.Model):
    """The end of the chain: one row, locked while a link is added, so that two writers never fork it."""

    seq = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=GENESIS)

    def __str__(self) -> str:
        return f"#{self.seq}"
