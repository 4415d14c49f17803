"""The verb `report_problem`: whoever may read a prediction may say what is wrong with it."""

from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from inference import records
from inference.models import ProblemReport
from inference.signals import problem_reported
from registry import audit, permissions
from registry.audit import Action
from registry.errors import FieldError, Invalid, Refused
from registry.models import ModelVersion, RegisteredModel, Role

LONGEST = 2_000


def report_problem(public_id: str, *, reason: str, text: str = "", actor: Any) -> ProblemReport:
    """Record that this prediction is wrong, surprising or unfair; its model's owners and operators are told.

    NotFound for whoever may not read the prediction; Invalid without a known reason, or for another reason without
    words; Refused when this person has said so of it already.
    """
    words = text.strip()
    _require_sense(reason, words)
    record = records.read(public_id, actor=actor)
    version = ModelVersion.objects.select_related("model").get(pk=record.version_id)
    try:
        with transaction.atomic():
            report = ProblemReport.objects.create(
                prediction_id=public_id,
                model=version.model,
                version=version,
                reason=reason,
                text=words,
                reported_by=actor,
                reported_by_name=str(actor),
            )
            audit.record(
                Action.PREDICTION_REPORTED,
                target=version.model,
                actor=actor,
                prediction=public_id,
                about=reason,
            )
            told = partial(problem_reported.send, sender=ProblemReport, report_id=report.pk)
            transaction.on_commit(told)
    except IntegrityError as error:
        raise Refused(
            _("You have said so of this prediction already."),
            code="reported_already",
            fix=_("Choose another reason if there is more to say."),
        ) from error
    return report


def reports_for(actor: Any, model: RegisteredModel) -> Any:
    """What was reported about a model, for who looks after it; nothing for others."""
    reports = ProblemReport.objects.filter(model=model).select_related("version", "reported_by")
    may_see = permissions.has_role(actor, Role.OPERATOR, Role.AUDITOR) or permissions.is_active_owner(
        actor, model
    )
    return reports if may_see else reports.none()


def _require_sense(reason: str, words: str) -> None:
    errors: list[FieldError] = []
    if reason not in ProblemReport.Reason.values:
        known = ", ".join(ProblemReport.Reason.values)
        errors.append({"field": "reason", "code": "unknown_reason", "value": reason[:40], "expected": known})
    if reason == ProblemReport.Reason.OTHER and len(words) < 3:
        errors.append({"field": "text", "code": "missing", "fix": _("Say what is wrong, in a few words.")})
    if len(words) > LONGEST:
        expected = _("at most %(count)d characters") % {"count": LONGEST}
        errors.append({"field": "text", "code": "too_long", "expected": expected})
    if errors:
        raise Invalid(_("Say what is wrong with this prediction."), code="invalid_report", errors=errors)
