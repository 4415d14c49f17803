"""The same call sent twice is acted on once: claim a key, keep the answer, replay it for a day."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from registry.errors import Refused
from registry.models import IdempotencyRecord

KEPT = timedelta(hours=24)
#: A call that has not ended by then lost its process: the key is free again.
LONGEST_CALL = timedelta(minutes=15)


def claim(*, credential: str, method: str, path: str, key: str, body: str) -> IdempotencyRecord:
    """The row of this call. Its `status` is None when the caller is the one to act; else it holds the answer.

    Refused (409) when the key came with another body, or when the first call is still being worked on.
    """
    fields = {"credential": credential, "method": method, "path": path[:300], "key": key}
    _forget_over(fields)
    try:
        with transaction.atomic():
            return IdempotencyRecord.objects.create(**fields, body=body)
    except IntegrityError:
        known = IdempotencyRecord.objects.filter(**fields).first()
    if known is not None and known.body != body:
        raise Refused(
            _("This Idempotency-Key was used for another body."),
            code="idempotency_key_reused",
            fix=_("Take a new key for a new call."),
        )
    if known is None or known.status is None:
        raise Refused(
            _("The first call with this Idempotency-Key is still being worked on."),
            code="idempotency_in_progress",
            fix=_("Wait a moment and send it again."),
        )
    return known


def finish(record: IdempotencyRecord, *, status: int, response: Any) -> None:
    """Keep the answer of a call that succeeded."""
    IdempotencyRecord.objects.filter(pk=record.pk).update(status=status, response=response)


def drop(record: IdempotencyRecord) -> None:
    """Nothing was done, so the same key may try again."""
    IdempotencyRecord.objects.filter(pk=record.pk, status=None).delete()


def purge() -> int:
    """Forget what is older than a day; the periodic tick calls this. Returns how many."""
    over = IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - KEPT)
    return over.delete()[0]


def forget_answers(path: str, mentioned: Iterable[str]) -> int:
    """Drop kept answers under paths that end so and that mention any of these texts; how many. Their keys are free."""
    texts = list(mentioned)
    kept = IdempotencyRecord.objects.filter(path__endswith=path, status__isnull=False)
    found = [
        record.pk
        for record in kept.only("pk", "response").iterator()
        if any(text in told for told in [json.dumps(record.response)] for text in texts)
    ]
    return IdempotencyRecord.objects.filter(pk__in=found).delete()[0]


def _forget_over(fields: dict[str, str]) -> None:
    now = timezone.now()
    known = IdempotencyRecord.objects.filter(**fields)
    known.filter(created_at__lt=now - KEPT).delete()
    known.filter(status=None, created_at__lt=now - LONGEST_CALL).delete()
