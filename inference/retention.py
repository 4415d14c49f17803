"""What a model's policy says about keeping inputs: older ones leave the database; answers and counts stay.

A row that lets go of its columnar file cannot be read back from it any more; the file itself goes with the last row
that needs it, which is of the same day (`cold.drop_unneeded`).
"""

from datetime import timedelta

import structlog
from django.utils import timezone

from inference.models import Prediction
from registry.models import RegisteredModel

logger = structlog.get_logger(__name__)

AT_ONCE = 2_000
MOST = 100_000  # of one model in one tick


def forget_old_inputs() -> int:
    """Empty the inputs that are older than their model's policy allows; how many rows. Twice changes nothing more."""
    forgotten = 0
    for model in RegisteredModel.objects.filter(policy__has_key="input_days"):
        days = model.rules.input_days
        if days:
            forgotten += _forget(model, days)
    return forgotten


def _forget(model: RegisteredModel, days: int) -> int:
    now, count = timezone.now(), 0
    old = Prediction.objects.filter(model=model, at__lt=now - timedelta(days=days), inputs_removed_at=None)
    while count < MOST:
        ids = list(old.order_by("at").values_list("pk", flat=True)[:AT_ONCE])
        if not ids:
            break
        # Reasons and warnings quote the inputs.
        Prediction.objects.filter(pk__in=ids).update(
            inputs={}, warnings=[], why=None, cold_file=None, inputs_removed_at=now
        )
        count += len(ids)
    if count:
        logger.info("inputs_forgotten", model=model.slug, rows=count, days=days)
    return count
