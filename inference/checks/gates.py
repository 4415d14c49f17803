"""The quality gates of a model's policy, judged on what we measured ourselves and never on an uploader's word.

Each is judged against what serves; a version that changed hands of the serving one is judged again. Results are kept
with the check called `gates`, by the number of the version that they were judged against, so that a request is
answered from what is there and the web process measures nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from django.utils.translation import gettext as _

from inference import dispatch
from inference.checks import measuring, slices
from inference.checks.measuring import Answers
from inference.checks.outcome import Problem
from inference.models import Measurement
from inference.runners import ModelError
from registry import measures, tables
from registry.errors import Refused
from registry.models import CheckResult, Dataset, Environment, ModelVersion, RegisteredModel, Release
from registry.policy import Gate, LatencyGate, MetricGate, SliceGate, gate_json

CHECK = "gates"
TASK = "inference.checks.tasks.judge_model"
#: Versions of a model that are judged again when its policy or what serves has changed: the newest ones.
MOST_VERSIONS = 20
#: Two figures that differ by less are the same: answers may differ in the last digit from one machine to the next.
TINY = 1e-9


@dataclass(frozen=True)
class Judged:
    """One gate, whether it was passed, and the numbers that say so."""

    gate: Gate
    passed: bool
    detail: str
    value: float | None = None
    serving: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "gate": gate_json(self.gate),
            "words": self.gate.words,
            "passed": self.passed,
            "detail": self.detail,
            "value": self.value,
            "serving": self.serving,
        }


@dataclass(frozen=True)
class _Case:
    """What a version is judged by."""

    version: ModelVersion
    serving: ModelVersion | None
    dataset: Dataset | None
    own: Measurement | None
    other: Measurement | None
    why_not: str  # why there is no figure of the serving version, where there should be one


def judge(version: ModelVersion, serving: ModelVersion | None) -> list[Judged]:
    """Every gate of the model's policy. Asks the serving version the same rows, if that was not done before."""
    gates = version.model.rules.gates
    dataset = measuring.judged_on(version)
    own = measuring.of(version, dataset) if dataset else None
    other, why_not = None, ""
    if serving is not None and dataset is not None and any(_compares(gate) for gate in gates):
        other, why_not = _measured(serving, dataset)
    case = _Case(version, serving, dataset, own, other, why_not)
    return [_judge(gate, case) for gate in gates]


def serving_in(model: RegisteredModel, environment: str) -> ModelVersion | None:
    current = Release.objects.current(model, environment)
    return current.version if current else None


def _compares(gate: Gate) -> bool:
    return isinstance(gate, SliceGate) or (
        isinstance(gate, MetricGate) and gate.not_worse_than_serving_by is not None
    )


def _measured(serving: ModelVersion, dataset: Dataset) -> tuple[Measurement | None, str]:
    """The same rows, the same code; or why that could not be done."""
    try:
        return measuring.of(serving, dataset), ""
    except ModelError:
        raise  # the service is away or the version is broken: nobody can say, so nothing is kept
    except (Problem, Refused) as error:
        return None, str(error)


def _judge(gate: Gate, case: _Case) -> Judged:
    if isinstance(gate, LatencyGate):
        return _judge_latency(gate, case)
    if case.dataset is None or case.own is None or not case.own.labelled:
        why = case.own.note if case.own else ""
        return Judged(gate, False, why or _("There is no data with outcomes to measure on."))
    if case.serving is not None and _compares(gate) and (case.other is None or not case.other.labelled):
        why = case.why_not or (case.other.note if case.other else "") or _("It answers none of these rows.")
        return Judged(gate, False, _("%(version)s could not be measured: %(why)s") % _named(case, why=why))
    return _judge_metric(gate, case) if isinstance(gate, MetricGate) else _judge_slices(gate, case)


def _named(case: _Case, **more: Any) -> dict[str, Any]:
    return {"version": case.serving.label if case.serving else "", **more}


def _judge_latency(gate: LatencyGate, case: _Case) -> Judged:
    check = CheckResult.objects.filter(version=case.version, name="latency").first()
    value = check.figures.get("p95_ms") if check else None
    if value is None:
        return Judged(gate, False, _("The time of one row was not measured."))
    return Judged(gate, value <= gate.p95_ms, _("Measured: %(ms).1f ms.") % {"ms": value}, value)


def _judge_metric(gate: MetricGate, case: _Case) -> Judged:
    assert case.own is not None and case.dataset is not None
    value = case.own.metrics.get(gate.metric)
    if value is None:
        return Judged(gate, False, _("It could not be measured on this data."))
    passed = (gate.at_least is None or value >= gate.at_least - TINY) and (
        gate.at_most is None or value <= gate.at_most + TINY
    )
    detail = _("Measured: %(value).4g on %(rows)d rows.") % {"value": value, "rows": case.own.labelled}
    allowed, other = gate.not_worse_than_serving_by, None
    if allowed is not None and case.other is not None:
        other = case.other.metrics.get(gate.metric)
        if other is None:
            return Judged(
                gate, False, detail + " " + _("%(version)s has no such figure.") % _named(case), value
            )
        loss = value - other if measures.is_less_better(gate.metric) else other - value
        passed = passed and loss <= allowed + TINY
        detail += " " + _("%(version)s on the same rows: %(other).4g.") % _named(case, other=other)
    elif allowed is not None:
        detail += " " + _("Nothing serves that it could be compared with.")
    return Judged(gate, passed, detail, value, other)


def _judge_slices(gate: SliceGate, case: _Case) -> Judged:
    if case.other is None:
        return Judged(gate, True, _("Nothing serves that it could lose against."))
    assert case.own is not None and case.dataset is not None and case.serving is not None
    table = tables.read_dataset(case.dataset)
    absent = [name for name in gate.slices if name not in table.column_names]
    if absent:
        why = _("The data has no column %(names)s.") % {"names": ", ".join(absent)}
        return Judged(gate, False, why)
    losses, few = [], 0
    for each in compared_groups(
        case.own, case.other, case.version, table, case.dataset, gate.slices, gate.metric
    ):
        if each["rows"] < gate.min_rows:
            few += 1
        else:
            losses.append((each["loss"], each))
    if not losses:
        why = _("No group of %(names)s has %(rows)d rows.") % {
            "names": ", ".join(gate.slices),
            "rows": gate.min_rows,
        }
        return Judged(gate, False, why)
    loss, worst = max(losses, key=lambda pair: pair[0])
    words = {
        "group": f"{worst['column']} = {worst['group']}",
        "rows": worst["rows"],
        "own": worst["b"],
        "other": worst["a"],
        "count": len(losses),
        "few": few,
    }
    detail = _(
        "Of %(count)d groups the worst is %(group)s (%(rows)d rows): %(other).4g → %(own).4g; "
        "%(few)d groups are too small."
    )
    return Judged(gate, loss <= gate.max_loss + TINY, detail % words, worst["b"], worst["a"])


def compared_groups(
    own: Measurement,
    other: Measurement,
    version: ModelVersion,
    table: pa.Table,
    dataset: Dataset,
    columns: tuple[str, ...],
    metric: str,
) -> Iterator[dict[str, Any]]:
    """Each group of rows that both answered and whose outcome is known: its size, both figures, what `own` loses."""
    mine, theirs = measuring.answers_of(own), measuring.answers_of(other)
    places = np.intersect1d(mine.places, theirs.places)
    target = measuring.target_column(dataset, version.schema_object)
    rows = table.take(pa.array(places))
    is_known = rows.column(target).is_valid().to_numpy()
    places, rows = places[is_known], rows.filter(pa.array(is_known))
    if not len(places):
        return
    truth, first, second = _comparable(rows.column(target), theirs.at(places), mine.at(places), version)
    target_of = version.schema_object.target
    positive = None
    if len(target_of.classes) == 2 and target_of.positive in target_of.classes:
        positive = target_of.classes.index(target_of.positive)
    for column in columns:
        for group in slices.groups(rows, column):
            a, b = (
                slices.score(metric, truth[group.mask], each[group.mask], positive)
                for each in (first, second)
            )
            loss = b - a if measures.is_less_better(metric) else a - b
            yield {"column": column, "group": group.name, "rows": group.rows, "a": a, "b": b, "loss": loss}


def _comparable(
    column: pa.ChunkedArray, first: Answers, second: Answers, version: ModelVersion
) -> tuple[Any, Any, Any]:
    """Truth and both answers as numbers of one kind: places among the schema's classes, or the regressions."""
    if first.indices is None or second.indices is None:
        return column.cast(pa.float64()).to_numpy(), first.values, second.values
    schema = version.schema_object
    classes = list(schema.target.classes)
    place = {(type(label), label): index for index, label in enumerate(classes)}
    truth = measuring.positions(column, classes, schema)
    a, b = (
        np.array([place.get((type(label), label), -1) for label in answers.labels])
        for answers in (first, second)
    )
    return truth, a, b


# --- kept with the check ---


def keep(version: ModelVersion, serving: ModelVersion | None, judged: list[Judged]) -> dict[str, Any]:
    """The figures of the check: what was judged, on what, and against which serving version (0 for none)."""
    check = CheckResult.objects.filter(version=version, name=CHECK).first()
    gates = [gate_json(gate) for gate in version.model.rules.gates]
    before = check.figures if check and check.figures.get("gates") == gates else {}
    dataset = measuring.judged_on(version)
    return {
        "gates": gates,
        "dataset": {"id": dataset.public_id, "name": dataset.name, "role": dataset.role} if dataset else None,
        "against": {**before.get("against", {}), _key(serving): [each.to_json() for each in judged]},
        "shown": _key(serving),
    }


def _key(serving: ModelVersion | None) -> str:
    return str(serving.number if serving else 0)


def results(version: ModelVersion, environment: str) -> list[dict[str, Any]]:
    """What a request sees: the gates against what serves there now. Refused (409) while they are being judged."""
    gates = [gate_json(gate) for gate in version.model.rules.gates]
    if not gates:
        return []
    check = CheckResult.objects.filter(version=version, name=CHECK).first()
    figures = check.figures if check and check.figures.get("gates") == gates else {}
    found = figures.get("against", {}).get(_key(serving_in(version.model, environment)))
    if found is None:
        raise Refused(
            _(
                "The quality gates of %(version)s are being judged again: the policy, or what serves in "
                "%(environment)s, has changed."
            )
            % {"version": version, "environment": environment},
            code="gates_pending",
            fix=_("Ask again in a moment."),
        )
    return list(found)


def start(model_id: int) -> None:
    """Judge the versions of a model again, once this is committed."""
    dispatch.enqueue(TASK, model_id)


def judge_model(model_id: int) -> None:
    """Judge every version that may be asked for against whatever serves. Running it twice changes nothing more."""
    model = RegisteredModel.objects.filter(pk=model_id).first()
    if model is None or not model.rules.gates:
        return
    versions = ModelVersion.objects.filter(model=model, state=ModelVersion.State.CHECKED)
    for version in versions.select_related("model", "reference", "evaluation").order_by("-number")[
        :MOST_VERSIONS
    ]:
        for environment in Environment.objects.order_by("position"):  # production last: that is what is shown
            _judge_again(version, environment.slug)


def _judge_again(version: ModelVersion, environment: str) -> None:
    try:
        results(version, environment)
    except Refused:
        serving = serving_in(version.model, environment)
        judged = judge(version, serving)
        figures = keep(version, serving, judged)
        status = (
            CheckResult.Status.PASSED if all(each.passed for each in judged) else CheckResult.Status.FAILED
        )
        CheckResult.objects.update_or_create(
            version=version,
            name=CHECK,
            defaults={"status": status, "detail": summary(version, judged), "figures": figures},
            create_defaults={
                "position": version.checks.count(),
                "status": status,
                "detail": summary(version, judged),
                "figures": figures,
            },
        )


def summary(version: ModelVersion, judged: list[Judged]) -> str:
    """One sentence for the list of checks, which says on what it was measured."""
    dataset = measuring.judged_on(version)
    where = dataset.get_role_display().lower() if dataset else _("no data")
    missed = [f"{each.gate.words} ({each.detail.rstrip('.')})" for each in judged if not each.passed]
    if missed:
        return _("Missed on the %(data)s: %(gates)s.") % {"data": where, "gates": "; ".join(missed)}
    return _("All %(count)d gates are passed on the %(data)s.") % {"count": len(judged), "data": where}
