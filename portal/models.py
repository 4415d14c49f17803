"""What the portal itself keeps: notices. Everything else is the record of the apps below."""

from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class NoticeQuerySet(models.QuerySet["Notice"]):
    def of(self, user: Any) -> Self:
        return self.filter(user=user)

    def unread(self) -> Self:
        return self.filter(read_at=None)

    def mark_read(self, at: datetime | None = None) -> int:
        return self.unread().update(read_at=at or timezone.now())


class Notice(models.Model):
    """One thing that one person should know: a kind and names, so that it is said in the language of who reads it.

    No input values, ever: a notice may be read over a shoulder.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=20)
    names = models.JSONField(default=dict)
    url = models.CharField(max_length=300)
    about = models.CharField(_("id"), max_length=64)  # of the request, release, batch, incident or key
    once = models.CharField(max_length=100)  # nobody is told the same thing twice
    at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        verbose_name = _("notice")
        ordering = ["-at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["user", "once"], name="portal_notice_once")]
        indexes = [models.Index(fields=["user", "read_at"], name="portal_notice_unread")]

    def __str__(self) -> str:
        return f"{self.kind} for {self.user_id}"
