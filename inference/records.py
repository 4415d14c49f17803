"""One prediction by its id, wherever its row lives, readable as soon as it was answered."""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from inference import cold, log, ports
from inference.ids import PREFIX
from inference.models import Prediction
from inference.ports import PredictionRecord
from registry import audit, permissions
from registry.errors import NotFound
from registry.models import RegisteredModel

logger = structlog.get_logger(__name__)

IN_ONE_QUERY = 500


def find(public_id: str, *, whole: bool = True) -> PredictionRecord | None:
    """The record of that id, or None. A fresh one is taken in from the log first."""
    return find_many([public_id], whole=whole).get(public_id)


def find_many(public_ids: Iterable[str], *, whole: bool = True) -> dict[str, PredictionRecord]:
    """The records of those ids that exist.

    Old ones come out of columnar files; `whole=False` spares that where nobody needs inputs and reasons, and then
    they may be empty. Raises `cold.Damaged` (503) for a file that cannot be read.
    """
    # PostgreSQL does not even look for a text with a zero byte.
    wanted = [each for each in dict.fromkeys(public_ids) if "\x00" not in each]
    online = [each for each in wanted if each.startswith(PREFIX)]
    found = _in_table(online, whole)
    if len(found) < len(online):
        log.ingest(wait=True)
        found |= _in_table([each for each in online if each not in found], whole)
    for prefix, resolve in ports.resolvers.items():
        found |= resolve([each for each in wanted if each.startswith(f"{prefix}_")])
    return found


def _in_table(ids: Sequence[str], whole: bool) -> dict[str, PredictionRecord]:
    found: list[Prediction] = []
    for begin in range(0, len(ids), IN_ONE_QUERY):
        found += Prediction.objects.filter(public_id__in=ids[begin : begin + IN_ONE_QUERY])
    if whole:
        cold.recall(found)
    return {prediction.public_id: prediction.as_record() for prediction in found}


def read(public_id: str, *, actor: Any) -> PredictionRecord:
    """The record for a person who may see it; NotFound for everybody else. Reading another's row is audited."""
    missing = NotFound(_("There is no prediction “%(id)s” that you may see.") % {"id": public_id[:80]})
    try:
        record = find(public_id)
    except cold.Damaged:
        known = find(public_id, whole=False)
        if known is None or not can_read(actor, known):
            raise missing from None
        raise
    if record is None or not can_read(actor, record):
        raise missing
    if record.user_id != actor.pk:
        with transaction.atomic():
            audit.record(
                audit.Action.PREDICTION_READ,
                target=RegisteredModel.objects.get(pk=record.model_id),
                actor=actor,
                prediction=public_id,
            )
    return record


def can_read(user: Any, record: PredictionRecord) -> bool:
    """One's own, or another's where role and policy allow it; never of a model that one may not know of."""
    model = RegisteredModel.objects.visible_to(user).filter(pk=record.model_id).first()
    if model is None:
        return False
    return record.user_id == user.pk or permissions.can_see_others_inputs(user, model)
