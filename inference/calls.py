"""The request log: calls that were refused before the verb was asked, and how long all of them are kept."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from inference import log
from inference.log import LoggedCall
from inference.models import Call
from registry.errors import Unavailable
from registry.models import ApiKey, RegisteredModel

KEPT = timedelta(days=30)
AT_ONCE = 5_000
MOST = 500_000  # in one tick


def record_refused(
    *,
    actor: Any,
    key: ApiKey | None,
    slug: str,
    status: int,
    code: str,
    request_id: str,
    environment: str = "",
) -> None:
    """A call that ended at the door: no key that counts, a body that cannot be read, a model that is not there.

    A model that the caller may not know of is none here either: who asked reads the line, too.
    A disk that takes no more loses this line, and nothing else: the caller was refused as it is.
    """
    model = RegisteredModel.objects.visible_to(actor).filter(slug=slug).values_list("pk", flat=True).first()
    call = LoggedCall(
        request_id=request_id,
        at=timezone.now(),
        model_id=model,
        version_id=None,
        release_id=None,
        release_number=None,
        environment=environment,
        channel="api",
        user_id=actor.pk,
        user_name=str(actor),
        key_id=key.pk if key else None,
        key_name=str(key) if key else "",
        status=status,
        code=code,
        latency_ms=None,
        asked=0,
    )
    try:
        log.record(call)
    except Unavailable:
        return


def forget_old() -> int:
    """Delete what is older than it is kept; the tick calls this. Returns how many."""
    old = Call.objects.filter(at__lt=timezone.now() - KEPT)
    count = 0
    while count < MOST:
        ids = list(old.order_by("at").values_list("pk", flat=True)[:AT_ONCE])
        if not ids:
            break
        count += Call.objects.filter(pk__in=ids).delete()[0]
    return count
