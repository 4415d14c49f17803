"""The verbs of monitoring: check a window, check what is due, say how a model is to be watched."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import structlog
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from inference.dispatch import enqueue
from monitoring import columns, compaction, drift, performance, profiles, reference, windows, words
from monitoring.drift import ColumnVerdict, Thresholds
from monitoring.models import MonitoringSettings, ProfilePart, ReferenceProfile, ServicePart, State, Verdict
from monitoring.windows import Service, Window
from registry import audit, permissions
from registry.audit import Action
from registry.errors import FieldError, Invalid, NothingServing, Refused
from registry.models import PRODUCTION, ModelVersion, RegisteredModel, Release, Role

logger = structlog.get_logger(__name__)

LEAST_REQUESTS = 20
WATCH_ERRORS, ALERT_ERRORS = 0.01, 0.05
LEAST_SHARE = 0.01  # of rows, before an odd value is more than an accident
DEFAULTS = Thresholds()
REFERENCE_LIMIT = 20  # reference profiles that one tick asks for

_BREAKS = frozenset({"missing_column", "type_changed", "all_missing"})
_REMARKS = frozenset({"missing_values", "new_category", "wrong_type", "out_of_range", "invalid", "constant"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """The inputs and the answers of some rows against the reference, judged together."""

    inputs: list[ColumnVerdict]
    outputs: list[ColumnVerdict]

    @property
    def state(self) -> str:
        return drift.worst(verdict.state for verdict in (*self.inputs, *self.outputs))


# ---------------------------------------------------------------------------------------------- checks


def run_check(
    model: RegisteredModel,
    environment: str = PRODUCTION,
    *,
    as_of: datetime | None = None,
    window: timedelta | None = None,
    actor: Any = None,
) -> Verdict:
    """Judge the window that ends at `as_of` (default: now) for the version that was serving then, and store it.

    Refuses with NothingServing where nothing was. The same window again replaces its verdict, so that late
    outcomes and late rows count. A person's check is audited; those that run by themselves are not.
    """
    moment = as_of or timezone.now()
    release = Release.objects.at(model, moment, environment)
    if release is None:
        raise NothingServing(
            _("Nothing was serving in %(environment)s at that time.") % {"environment": environment},
            fix=_("Choose a time after the first release."),
        )
    settings = settings_of(model)
    span = Window.up_to(moment, window or settings.window)
    verdict = _judge_window(release.version, environment, span, settings)
    with transaction.atomic():
        stored = _store(verdict, moment)
        if actor is not None:
            moved: dict[str, Any] = {"as_of": as_of} if as_of else {}
            audit.record(
                Action.CHECK_RUN,
                target=model,
                actor=actor,
                state=stored.state,
                rows=stored.rows,
                environment=environment,
                window_start=stored.window_start,
                window_end=stored.window_end,
                **moved,
            )
    return stored


def _store(verdict: Verdict, as_of: datetime) -> Verdict:
    key = ("model", "version", "environment", "window_start", "window_end")
    verdict.as_of = as_of
    names = [field.name for field in Verdict._meta.concrete_fields if field.name not in (*key, "id")]
    stored, _created = Verdict.objects.update_or_create(
        **{name: getattr(verdict, name) for name in key},
        defaults={name: getattr(verdict, name) for name in names},
    )
    return stored


def _judge_window(
    version: ModelVersion, environment: str, window: Window, settings: MonitoringSettings
) -> Verdict:
    judgement, rows = _judge_counts(version, environment, window, settings)
    service = windows.service(version.model, environment, window)
    realized, performance_state = _judge_performance(version, environment, window, rows)
    verdict = Verdict(
        model=version.model,
        version=version,
        environment=environment,
        window_start=window.start,
        window_end=window.end,
        rows=rows,
        columns=[each.to_json() for each in judgement.inputs],
        outputs=[each.to_json() for each in judgement.outputs],
        performance=realized,
        performance_state=performance_state,
        service=service.to_json(),
        service_state=service_state(service),
        data_state=data_state(judgement.inputs),
        drift_state=drift_state(judgement),
        created_at=timezone.now(),
    )
    verdict.state = model_state(verdict)
    with override("en"):
        verdict.sentence = words.sentence(verdict)
    return verdict


def _judge_counts(
    version: ModelVersion, environment: str, window: Window, settings: MonitoringSettings
) -> tuple[Judgement, int]:
    known = reference.of(version)
    if known is None:
        return Judgement([], []), 0
    inputs, outputs = windows.counts(version, environment, window)
    limits = thresholds_of(settings)
    measured = drift.measure_all(known.inputs, inputs, limits)
    answers = drift.measure_all(known.outputs, outputs, limits) if known.outputs else []
    drift.judge([*measured, *answers])  # one run: corrected over all columns together
    return Judgement(measured, answers), inputs.rows


def _judge_performance(
    version: ModelVersion, environment: str, window: Window, rows: int
) -> tuple[dict[str, Any], str]:
    outcomes = windows.outcomes(version, environment, window)
    target = version.schema_object.target
    expected, n_expected = expected_metrics(version)
    realized = reference.realized(target, outcomes)
    state = performance.state(target.task, realized, expected, n_expected)
    realized |= {
        "main": "mae" if target.task == "regression" else "accuracy",
        "reference": expected,
        "coverage": min(1.0, len(outcomes.actual) / rows) if rows else 0.0,
    }
    return realized, state


def expected_metrics(version: ModelVersion) -> tuple[dict[str, Any], int]:
    """How well the version did when it was checked (on evaluation data where given), and on how many rows."""
    known = reference.of(version)
    measured = version.evaluation or version.reference
    if version.measured_metrics and measured is not None:
        return _numbers(version.measured_metrics), measured.rows
    return (dict(known.metrics.get("metrics", {})), known.rows) if known else ({}, 0)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Only what is a number: very small ones are kept as text in the record."""
    found = {}
    for name, value in metrics.items():
        with suppress(TypeError, ValueError):
            found[name] = float(value)
    return found


# ---------------------------------------------------------------------------------------------- lights


def service_state(service: Service) -> str:
    """Alert from 5 % failed calls on, watch from 1 %; fewer than twenty calls say nothing."""
    if service.requests < LEAST_REQUESTS:
        return State.INSUFFICIENT_DATA
    share = service.failed / service.requests
    if share >= ALERT_ERRORS:
        return State.DRIFT
    return State.WATCH if share >= WATCH_ERRORS else State.OK


def data_state(inputs: Sequence[ColumnVerdict]) -> str:
    """Is this still the data that the model was made for? A lost column is an alert, odd values are to watch."""
    if all(verdict.state == State.INSUFFICIENT_DATA for verdict in inputs):
        return State.INSUFFICIENT_DATA
    if any(verdict.reason in _BREAKS for verdict in inputs):
        return State.DRIFT
    remarks = (finding for verdict in inputs for finding in verdict.findings)
    is_odd = any(
        finding.code in _REMARKS and finding.is_sure and finding.share >= LEAST_SHARE for finding in remarks
    )
    return State.WATCH if is_odd else State.OK


def drift_state(judgement: Judgement) -> str:
    """The predictions decide. Inputs that drift while the answers stay are to watch, not to act on."""
    answers = drift.worst(verdict.state for verdict in judgement.outputs)
    inputs = drift.worst(verdict.state for verdict in judgement.inputs)
    if answers in (State.DRIFT, State.WATCH):
        return answers
    if inputs in (State.DRIFT, State.WATCH, State.NOT_COMPARABLE):
        return State.WATCH
    return State.OK if State.OK in (answers, inputs) else State.INSUFFICIENT_DATA


def model_state(verdict: Verdict) -> str:
    """Realized performance, where known, decides over drift. Failing calls and lost columns always count."""
    known = (State.OK, State.WATCH, State.DRIFT)
    main = verdict.performance_state if verdict.performance_state in known else verdict.drift_state
    hard = [verdict.service_state, verdict.data_state if verdict.data_state == State.DRIFT else State.OK]
    alarms = [state for state in (main, *hard) if state in (State.WATCH, State.DRIFT)]
    return drift.worst(alarms) if alarms else main


# ---------------------------------------------------------------------------------------------- a file


def evaluate_table(
    version: ModelVersion, table: pa.Table, names: Iterable[str] | None = None
) -> tuple[list[ColumnVerdict], str]:
    """Judge the rows of a file against the version's reference; nothing is stored and nothing is scored."""
    known = reference.of(version)
    if known is None:
        raise Refused(
            _("%(version)s has no reference data to compare with.") % {"version": version},
            code="no_reference",
            fix=_("Upload a version with reference data."),
        )
    wanted = list(names) if names is not None else list(known.inputs.columns)
    unknown = [name for name in wanted if name not in known.inputs.columns]
    if unknown:
        raise Invalid(
            _("The reference has no such column."),
            code="unknown_column",
            errors=[_unknown_column(name, known.inputs.columns) for name in unknown],
        )
    profile = profiles.Profile(known.rows, {name: known.inputs.columns[name] for name in wanted})
    counts = profiles.count(columns.of_table(table), profile, len(table))
    verdicts = drift.evaluate(profile, counts, thresholds_of(settings_of(version.model)))
    return verdicts, drift.worst(verdict.state for verdict in verdicts)


def _unknown_column(name: str, known: Iterable[str]) -> FieldError:
    return {
        "field": "columns",
        "code": "unknown_column",
        "value": name,
        "expected": ", ".join(list(known)[:20]),
        "fix": _("Choose columns of the version's schema."),
    }


# ---------------------------------------------------------------------------------------------- settings


def settings_of(model: RegisteredModel) -> MonitoringSettings:
    """How the model is watched; the defaults where nobody has said anything."""
    return MonitoringSettings.objects.filter(model=model).first() or MonitoringSettings(model=model)


def thresholds_of(settings: MonitoringSettings) -> dict[str, Thresholds]:
    return {name: Thresholds(**limits) for name, limits in settings.thresholds.items()}


@transaction.atomic
def set_monitoring(
    model: RegisteredModel,
    *,
    window_hours: int | None = None,
    every_minutes: int | None = None,
    enabled: bool | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    actor: Any,
) -> MonitoringSettings:
    """Change how a model is watched: operators and the model's owners. Audited with before and after."""
    permissions.require_role(permissions.can_set_monitoring(actor, model), Role.OPERATOR)
    settings = settings_of(model)
    before = settings.to_json()
    _set(settings, "window_hours", window_hours, 1, 24 * 366)
    _set(settings, "every_minutes", every_minutes, 5, 7 * 24 * 60)
    if enabled is not None:
        settings.is_enabled = enabled
    if thresholds is not None:
        settings.thresholds = _checked_thresholds(thresholds)
    settings.changed_by = actor
    settings.save()
    audit.record(
        Action.MONITORING_CHANGED, target=model, actor=actor, before=before, after=settings.to_json()
    )
    return settings


def _set(settings: MonitoringSettings, name: str, value: int | None, least: int, most: int) -> None:
    if value is None:
        return
    if not least <= value <= most:
        error: FieldError = {
            "field": name,
            "code": "out_of_range",
            "value": value,
            "expected": f"{least} … {most}",
        }
        raise Invalid(_("The settings cannot be used as they are."), code="invalid_settings", errors=[error])
    setattr(settings, name, value)


def _checked_thresholds(given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    errors: list[FieldError] = []
    checked: dict[str, dict[str, float]] = {}
    for name, limits in given.items():
        watch, alert = limits.get("watch", DEFAULTS.watch), limits.get("drift", DEFAULTS.drift)
        if isinstance(watch, int | float) and isinstance(alert, int | float) and 0 < watch <= alert <= 100:
            checked[name] = {"watch": float(watch), "drift": float(alert)}
        else:
            errors.append(
                {
                    "field": f"thresholds.{name}",
                    "code": "out_of_range",
                    "value": str(dict(limits)),
                    "expected": "0 < watch ≤ drift ≤ 100",
                    "fix": _("Give two positive numbers, watch not above drift."),
                }
            )
    if errors:
        raise Invalid(_("The thresholds cannot be used as they are."), code="invalid_settings", errors=errors)
    return checked


# ---------------------------------------------------------------------------------------------- the tick


def tick(now: datetime | None = None) -> None:
    """Hand on what is due: reference profiles that are missing, checks, hours to compact."""
    moment = now or timezone.now()
    for version_id in missing_references():
        enqueue("monitoring.tasks.build_reference", version_id)
    for model_id, environment in due_checks(moment):
        enqueue("monitoring.tasks.run_check", model_id, environment)
    compaction.compact(moment)


def due_checks(now: datetime) -> list[tuple[int, str]]:
    """Serving models whose last check is older than their schedule and that have something to judge."""
    due = []
    for model, environment in _serving():
        settings = settings_of(model)
        if not settings.is_enabled:
            continue
        last = Verdict.objects.of(model, environment).order_by("-created_at").first()
        is_late = last is None or now - last.created_at >= timedelta(minutes=settings.every_minutes)
        if is_late and has_traffic(model, environment, Window.up_to(now, settings.window)):
            due.append((model.pk, environment))
    return due


def has_traffic(model: RegisteredModel, environment: str, window: Window) -> bool:
    rows = ProfilePart.objects.within(window.start, window.end)
    calls = ServicePart.objects.within(window.start, window.end)
    return (
        rows.filter(version__model=model, environment=environment).exists()
        or calls.filter(model=model, environment=environment).exists()
    )


def _serving() -> list[tuple[RegisteredModel, str]]:
    pairs = Release.objects.order_by().values_list("model_id", "environment__slug").distinct()
    models = RegisteredModel.objects.in_bulk({model_id for model_id, _slug in pairs})
    return [(models[model_id], slug) for model_id, slug in pairs]


def missing_references() -> list[int]:
    """Checked versions with reference data whose profile is missing, or was built without their answers."""
    complete = ReferenceProfile.objects.filter(outputs__isnull=False).values("version")
    wanted = ModelVersion.objects.filter(state=ModelVersion.State.CHECKED, reference__isnull=False)
    return list(
        wanted.exclude(pk__in=complete).order_by("-pk").values_list("pk", flat=True)[:REFERENCE_LIMIT]
    )
