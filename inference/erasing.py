"""The verb `erase`: what was asked about a person goes away; that it went, and every count, stays.

The row leaves the look-up table and the columnar file that holds its bulk, which is written anew without it; a row of
a batch leaves the parts and the result of its job in the same way, and the uploaded file goes whole. Its outcomes lose
the id that led to them, and its bytes leave the segments of the log that are still on disk. A tombstone with nothing
but the id keeps the log from being read in again, and tells the other machines, whose ticks clean their own segments.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from inference import cold, log, logged, records, segments
from inference.batches import rewriting
from inference.leftovers import Overtaken, Replacement
from inference.models import Erasure, Feedback, LogSegment, Prediction, ProblemReport
from registry import audit, idempotency, permissions
from registry.errors import FieldError, Invalid, Refused
from registry.models import RegisteredModel

logger = structlog.get_logger(__name__)

MAX_IDS = 1_000
ATTEMPTS = 5  # where workers move the very rows meanwhile
MARK = "erased.mark"  # beside the segments: the last tombstone that this machine has dealt with


@dataclass
class Erased:
    """How many predictions and outcomes lost their person, and which ids nobody knows (any more)."""

    predictions: int = 0
    outcomes: int = 0
    unknown: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"predictions": self.predictions, "outcomes": self.outcomes, "unknown": self.unknown}


def erase(
    ids: Iterable[str], *, actor: Any, reason: str, among: QuerySet[RegisteredModel] | None = None
) -> Erased:
    """Erase those predictions for good. Owners of the model, and administrators, with a reason.

    Refuses who may not (403), and rows of a batch that is not finished (409). Ids that do not exist, that were erased
    before, or that this person may not know of, come back as `unknown`; `among` narrows it to a key's models.
    """
    wanted = list(dict.fromkeys(ids))
    _require_sense(wanted, reason)
    found = records.find_many(wanted, whole=False)
    visible = RegisteredModel.objects.visible_to(actor) if among is None else among
    models = visible.in_bulk({record.model_id for record in found.values()})
    for model in models.values():
        permissions.require(
            permissions.can_erase(actor, model),
            _("Only an owner of “%(model)s” or an administrator may erase its predictions.")
            % {"model": model},
            code="not_owner",
        )
    by_model: dict[int, list[str]] = defaultdict(list)
    for public_id, record in found.items():
        by_model[record.model_id].append(public_id)
    erased = _erase({models[each]: by_model[each] for each in models}, actor, reason.strip())
    known = {each for model_id in models for each in by_model[model_id]}
    erased.unknown = [each for each in wanted if each not in known]
    return erased


def _require_sense(ids: Sequence[str], reason: str) -> None:
    errors: list[FieldError] = []
    if not reason.strip():
        errors.append({"field": "reason", "code": "missing", "fix": _("Say why, for the audit log.")})
    if not 1 <= len(ids) <= MAX_IDS:
        expected = f"1 … {MAX_IDS}"
        errors.append({"field": "predictions", "code": "row_count", "expected": expected})
    if errors:
        raise Invalid(_("These predictions cannot be erased so."), code="invalid_erasure", errors=errors)


def _erase(by_model: Mapping[RegisteredModel, list[str]], actor: Any, reason: str) -> Erased:
    """All or nothing. New files are written first, and put in place by the transaction that deletes the rows."""
    ids = [each for some in by_model.values() for each in some]
    for _attempt in range(ATTEMPTS):
        erased = Erased()
        try:
            with _prepared(ids) as (places, replacements), transaction.atomic():
                _require_places(places)
                for model, mine in by_model.items():
                    files = [each for each in replacements if each.model_id == model.pk]
                    _erase_of(model, mine, files, actor, reason, erased)
                transaction.on_commit(partial(_clean_here, erased.predictions))
        except Overtaken as overtaken:
            logger.info("erasure_overtaken", by=str(overtaken))
            continue
        return erased
    raise Refused(
        _("These predictions are being moved right now."), code="being_moved", fix=_("Try again in a minute.")
    )


@contextmanager
def _prepared(ids: Sequence[str]) -> Iterator[tuple[dict[str, int | None], list[Replacement]]]:
    """Where each row's bulk lies, and the files that will hold the rest; gone again if the act fails."""
    replacements: list[Replacement] = []
    rows = Prediction.objects.filter(public_id__in=ids)
    places: dict[str, int | None] = dict(rows.values_list("public_id", "cold_file_id"))
    try:
        for file_id in sorted({each for each in places.values() if each is not None}):
            replacements += [cold.without(file_id, ids)]
        for rewrite in rewriting.without(ids):
            replacements += [rewrite]
        yield places, replacements
    except BaseException:
        for each in replacements:
            each.give_up()
        raise


def _require_places(places: Mapping[str, int | None]) -> None:
    """From here on nobody moves the rows; Overtaken when somebody moved one into a file that is not being replaced."""
    rows = Prediction.objects.select_for_update().filter(public_id__in=places).order_by("public_id")
    for public_id, file_id in rows.values_list("public_id", "cold_file_id"):
        if file_id not in (None, places[public_id]):
            raise Overtaken(public_id)


def _erase_of(
    model: RegisteredModel,
    ids: list[str],
    files: Sequence[Replacement],
    actor: Any,
    reason: str,
    erased: Erased,
) -> None:
    outcomes = sum(_unlink_outcomes(each) for each in ids)
    ProblemReport.objects.filter(prediction_id__in=ids).update(prediction_id="", text="")
    count = Prediction.objects.filter(public_id__in=ids).delete()[0]
    count += sum(each.swap() for each in files)
    idempotency.forget_answers(f"/models/{model.slug}/predict/", ids)
    if not count:
        return
    audit.record(
        audit.Action.PREDICTION_ERASED,
        target=model,
        actor=actor,
        reason=reason,
        predictions=ids[:100],
        count=count,
        outcomes=outcomes,
        files=[replaced for each in files for replaced in each.history()],
    )
    # Behind the event, whose writers wait for each other: tombstones become seen in the order of their numbers, and
    # no machine's mark passes one that it has not seen.
    Erasure.objects.bulk_create(
        [Erasure(public_id=each, model=model) for each in ids], ignore_conflicts=True, batch_size=500
    )
    erased.predictions += count
    erased.outcomes += outcomes


def _unlink_outcomes(public_id: str) -> int:
    """Performance stays as it was measured; nothing leads from the outcome to the person any more."""
    outcomes = Feedback.objects.filter(prediction_id=public_id)
    return outcomes.update(prediction_id=f"erased_{secrets.token_hex(12)}")


# --- the segments ---


def _clean_here(count: int) -> None:
    """Right after the act; where it fails, the tick does it."""
    if not count:
        return
    try:
        clean_segments()
    except OSError:
        logger.exception("erasure_waits_for_the_tick")


def clean_segments() -> int:
    """Overwrite what was erased since the last time in this machine's segments; how many frames were."""
    folder = log.folder()
    if not folder.is_dir():
        return 0
    with segments.turn(folder / "ingest.lock", wait=True):
        mark = folder / MARK
        last = int(mark.read_text() or 0) if mark.exists() else 0
        fresh = dict(Erasure.objects.filter(pk__gt=last).order_by("pk").values_list("public_id", "pk"))
        if not fresh:
            return 0
        cleaned = sum(_clean(path, set(fresh)) for path in segments.segments(folder))
        _write(mark, str(max(fresh.values())))
    return cleaned


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def _clean(path: Path, ids: set[str]) -> int:
    """Only what is in the database already: what comes later is measured against the tombstones as it comes in."""
    segment = LogSegment.objects.filter(name=path.name).first()
    return segments.overwrite(path, partial(_without, ids=ids)) if segment else 0


def _without(payload: bytes, ids: set[str]) -> bytes | None:
    """The call without those rows, as long as it was; None when it holds none of them."""
    call = orjson.loads(payload)
    if not logged.erase(call, ids):
        return None
    if not logged.rows_of(call):
        call |= {"user": None, "user_name": "", "key": None, "key_name": "", "request_id": ""}
    return orjson.dumps(call).ljust(len(payload))
