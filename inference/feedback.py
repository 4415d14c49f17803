"""The verb `give_feedback`: what came true of a prediction, at any later time; a correction is a new row."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from inference import records
from inference.models import Feedback
from inference.ports import Label, PredictionRecord
from inference.signals import feedback_given
from registry import audit, permissions
from registry.errors import FieldError, Invalid
from registry.models import ModelVersion, RegisteredModel
from registry.schema import Target

MAX_ITEMS = 10_000


@dataclass
class Receipt:
    """How many outcomes were new, how many replaced an earlier word, and which ids nobody knows."""

    accepted: int = 0
    corrected: int = 0
    unknown: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "corrected": self.corrected, "unknown": self.unknown}


@dataclass(frozen=True)
class _Item:
    row: int
    prediction: str
    actual: Any
    at: datetime


def give_feedback(
    items: Sequence[Mapping[str, Any]],
    *,
    actor: Any,
    among: QuerySet[RegisteredModel] | None = None,
    as_text: bool = False,
) -> Receipt:
    """Record outcomes, all or none: `{"prediction": id, "actual": class or number, "at": time or absent}`.

    Refuses malformed items (422, one entry each). Ids that do not exist, or that this person may not know of, come back
    as `unknown`; `among` narrows it to the models of a key. Saying the same again changes nothing.
    """
    parsed = _parse(items)
    found = records.find_many((item.prediction for item in parsed), whole=False)
    models = _models(actor, found.values(), among)
    targets = _targets(found.values())
    receipt, errors, rows = Receipt(), [], []
    for item in parsed:
        record = found.get(item.prediction)
        if record is None or record.model_id not in models:
            receipt.unknown.append(item.prediction)
            continue
        actual = read_actual(targets[record.version_id], item.actual, as_text=as_text)
        if actual is None:
            errors.append(_bad_actual(item, targets[record.version_id]))
        else:
            rows.append(_row(item, record, actual, actor))
    if errors:
        raise Invalid(_("Some outcomes cannot be recorded."), code="invalid_feedback", errors=errors)
    _save(rows, receipt, models, actor)
    return receipt


def _parse(items: Sequence[Mapping[str, Any]]) -> list[_Item]:
    if not 1 <= len(items) <= MAX_ITEMS:
        fix = _("Send more as a dataset with the role feedback.") if items else _("Send at least one item.")
        error: FieldError = {
            "field": "items",
            "code": "row_count",
            "expected": f"1 … {MAX_ITEMS}",
            "fix": fix,
        }
        raise Invalid(
            _("Send 1 to %(limit)d items.") % {"limit": MAX_ITEMS}, code="row_count", errors=[error]
        )
    errors: list[FieldError] = []
    parsed = [_parse_item(row, item, errors) for row, item in enumerate(items)]
    if errors:
        raise Invalid(_("Some items cannot be read."), code="invalid_feedback", errors=errors)
    return [item for item in parsed if item is not None]


def _parse_item(row: int, item: Any, errors: list[FieldError]) -> _Item | None:
    if not isinstance(item, Mapping):
        errors.append(_problem(row, "items", "wrong_type", _("an object"), _("Write an item as {…}.")))
        return None
    prediction, at = item.get("prediction"), _time(item.get("at"))
    if not isinstance(prediction, str) or not prediction:
        errors.append(
            _problem(row, "prediction", "missing", _("an id"), _("Give the id that predict answered."))
        )
        return None
    if item.get("actual") is None:
        errors.append(
            _problem(row, "actual", "missing", _("the true outcome"), _("Give the class or the number."))
        )
        return None
    if at is None:
        fix = _("Write it like 2026-01-31T12:00:00Z, or leave it out.")
        errors.append(_problem(row, "at", "wrong_type", _("a time of the past, ISO 8601"), fix))
        return None
    known = "prediction, actual, at"
    strays = [str(name)[:80] for name in item if name not in ("prediction", "actual", "at")]
    errors.extend(_problem(row, name, "unknown_field", known, _("Remove it.")) for name in strays)
    return _Item(row, prediction, item["actual"], at)


def _time(value: Any) -> datetime | None:
    if value is None:
        return timezone.now()
    if isinstance(value, str):
        try:
            value = parse_datetime(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if timezone.is_aware(value) else timezone.make_aware(value)


def _problem(row: int, name: str, code: str, expected: str, fix: str) -> FieldError:
    return {"field": name, "row": row, "code": code, "expected": expected, "fix": fix}


def _bad_actual(item: _Item, target: Target) -> FieldError:
    expected = ", ".join(map(str, target.classes[:20])) if target.classes else _("a number")
    fix = _("Send one of the model's classes, with its own type.") if target.classes else _("Send a number.")
    code = "not_in_list" if target.classes else "not_a_number"
    return _problem(item.row, "actual", code, expected, fix)


def read_actual(target: Target, value: Any, *, as_text: bool = False) -> Label | float | None:
    """The outcome as the target has it: one of its classes, or a finite number; None when it is neither."""
    if target.task == "classification":
        if as_text:
            return next((each for each in target.classes if str(each) == str(value).strip()), None)
        known = target.class_of(value) if isinstance(value, str | int | float) else None
        return known if known is not None and isinstance(known, bool) == isinstance(value, bool) else None
    if as_text and isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number and math.isfinite(value) else None
    except OverflowError:
        return None


def _models(
    actor: Any, found: Iterable[PredictionRecord], among: QuerySet[RegisteredModel] | None
) -> dict[int, RegisteredModel]:
    visible = RegisteredModel.objects.visible_to(actor) if among is None else among
    models = visible.in_bulk({record.model_id for record in found})
    for model in models.values():
        permissions.require(
            permissions.can_give_feedback(actor, model),
            _("You may not record outcomes of “%(model)s”.") % {"model": model},
        )
    return models


def _targets(found: Iterable[PredictionRecord]) -> dict[int, Target]:
    versions = ModelVersion.objects.only("schema").in_bulk({record.version_id for record in found})
    return {pk: version.schema_object.target for pk, version in versions.items()}


def _row(item: _Item, record: PredictionRecord, actual: Label | float, actor: Any) -> Feedback:
    return Feedback(
        prediction_id=record.public_id,
        model_id=record.model_id,
        version_id=record.version_id,
        environment=record.environment,
        actual=actual,
        label=record.label,
        value=record.value,
        probabilities=record.probabilities,
        predicted_at=record.at,
        at=item.at,
        recorded_by=actor,
        recorded_by_name=str(actor),
    )


@transaction.atomic
def _save(
    rows: Sequence[Feedback], receipt: Receipt, models: Mapping[int, RegisteredModel], actor: Any
) -> None:
    # In a line for each model, so that the same word at the same time is recorded once.
    list(
        RegisteredModel.objects.select_for_update(no_key=True).filter(pk__in=models).order_by("pk").only("pk")
    )
    latest = _latest(row.prediction_id for row in rows)
    fresh = []
    for row in rows:
        before = latest.get(row.prediction_id)
        row.is_correction = before is not None and before != row.actual
        if row.is_correction:
            receipt.corrected += 1
        else:
            receipt.accepted += 1
        if before is None or row.is_correction:
            fresh.append(row)
            latest[row.prediction_id] = row.actual
    Feedback.objects.bulk_create(fresh, batch_size=500)
    for model_id in {row.model_id for row in fresh}:
        mine = [row for row in fresh if row.model_id == model_id]
        audit.record(
            audit.Action.FEEDBACK_GIVEN,
            target=models[model_id],
            actor=actor,
            outcomes=len(mine),
            corrections=sum(row.is_correction for row in mine),
        )
        transaction.on_commit(
            partial(
                feedback_given.send,
                sender=Feedback,
                model_id=model_id,
                version_ids=sorted({row.version_id for row in mine}),
                feedback_ids=[row.pk for row in mine],
            )
        )


def _latest(prediction_ids: Iterable[str]) -> dict[str, Any]:
    ids = list(dict.fromkeys(prediction_ids))
    latest: dict[str, Any] = {}
    for begin in range(0, len(ids), records.IN_ONE_QUERY):
        some = Feedback.objects.filter(prediction_id__in=ids[begin : begin + records.IN_ONE_QUERY]).order_by(
            "pk"
        )
        latest.update(some.values_list("prediction_id", "actual"))
    return latest
