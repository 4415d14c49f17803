"""Answers to creating calls, kept for a day, so that a client may safely send the same call twice."""

from django.db import models
from django.utils import timezone


class IdempotencyRecord(models.Model):
    """One call under one `Idempotency-Key`. The unique row is the lock: of two calls at once, one gets to act."""

    credential = models.CharField(max_length=40)  # whose key it is: "key:7" or "user:7"
    method = models.CharField(max_length=7)
    path = models.CharField(max_length=300)
    key = models.CharField(max_length=200)
    body = models.CharField(max_length=64)  # SHA-256 of what was sent
    status = models.PositiveSmallIntegerField(null=True)  # None while the call is being worked on
    response = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "method", "path", "key"], name="registry_idempotency_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.key}"
