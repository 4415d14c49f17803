"""Two versions of a model side by side: what was measured, what they ask for, and how often they agree.

What is cheap is found when it is asked for. What needs answers of both is computed by a worker and kept; until then
a look at a few rows has to do for programs, and the page follows.
"""

from dataclasses import asdict
from typing import Any

import structlog
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import clients, dispatch, engines, runners
from inference.agreement import agreement
from inference.checks import gates, measuring
from inference.checks.outcome import explain
from inference.models import Comparison, Measurement
from registry import differences, gate, measures, tables
from registry.errors import Refused
from registry.models import CheckResult, Dataset, ModelVersion
from registry.policy import SliceGate

logger = structlog.get_logger(__name__)

TASK = "inference.tasks.compare_versions"
#: Rows of a first look, while a worker looks at all.
FIRST_ROWS = 500
#: Columns whose groups are looked at, besides those that the policy names.
MOST_COLUMNS = 8
FEW = 30
#: Comparisons that one tick hands on again.
MOST_LOST = 20

State = Comparison.State


# --- what is kept ---


def data_for(a: ModelVersion, b: ModelVersion) -> Dataset | None:
    """The rows on which both are asked: those that the second is judged on, else the first's."""
    return measuring.judged_on(b) or measuring.judged_on(a)


def start(a: ModelVersion, b: ModelVersion) -> Comparison | None:
    """The comparison of two versions, begun if it is not there; None where there is nothing to compute."""
    dataset = data_for(a, b)
    if dataset is None or why_not(a, b):
        return None
    found, is_new = Comparison.objects.get_or_create(a=a, b=b, dataset=dataset)
    if is_new or _lost().filter(pk=found.pk).exists():
        Comparison.objects.filter(pk=found.pk).update(asked_at=timezone.now())
        dispatch.enqueue(TASK, found.pk)
    return found


def why_not(a: ModelVersion, b: ModelVersion) -> str:
    """Why nobody can say how often they agree."""
    if data_for(a, b) is None:
        return _("Neither version has reference data: answers cannot be compared.")
    if not (gate.may_answer(a) and gate.may_answer(b)):
        return _("Only checked versions are asked.")
    if a.schema_object.target.task != b.schema_object.target.task:
        return _("One is a classification, the other a regression.")
    return ""


def requeue_lost() -> int:
    """For the periodic tick: hand on again what nobody took up, or whose worker died. Returns how many."""
    ids = list(_lost().order_by("pk").values_list("pk", flat=True)[:MOST_LOST])
    for comparison_id in ids:
        Comparison.objects.filter(pk=comparison_id).update(asked_at=timezone.now())
        dispatch.enqueue(TASK, comparison_id)
    return len(ids)


def _lost() -> QuerySet[Comparison]:
    """Those whose message was lost, or whose worker died, and that nobody has asked for again since."""
    now = timezone.now()
    asleep = Q(state=State.WAITING) | Q(state=State.RUNNING, started_at__lt=now - Comparison.LEASE)
    return Comparison.objects.filter(asleep, asked_at__lt=now - Comparison.PATIENCE)


def compute(comparison_id: int) -> None:
    """Ask both versions, once. Running it twice, or twice at the same time, changes nothing more."""
    now = timezone.now()
    free = Q(state__in=[State.WAITING, State.FAILED]) | Q(
        state=State.RUNNING, started_at__lt=now - Comparison.LEASE
    )
    begun = {"state": State.RUNNING, "started_at": now, "tries": F("tries") + 1}
    if not Comparison.objects.filter(free, pk=comparison_id).update(**begun):
        return
    versions = ("a__model", "a__reference", "a__evaluation", "b__model", "b__reference", "b__evaluation")
    mine = Comparison.objects.select_related("dataset", *versions).get(pk=comparison_id)
    try:
        _require_tries(mine)
        result, state, note = _compute(mine), State.DONE, ""
    except Exception as error:
        if not isinstance(error, Refused | runners.ModelError):
            logger.exception("comparison_broken", comparison=str(mine))
        result, state, note = {}, State.FAILED, explain(error)[0]
    Comparison.objects.filter(pk=comparison_id, started_at=now).update(
        state=state, result=result, note=note, finished_at=timezone.now()
    )


def _require_tries(comparison: Comparison) -> None:
    """One that takes its worker along each time must not do so for ever."""
    if comparison.tries > Comparison.TRIES:
        raise Refused(
            _("It was begun %(times)d times, and each time it took its worker with it.")
            % {"times": Comparison.TRIES}
        )


def _compute(comparison: Comparison) -> dict[str, Any]:
    dataset = comparison.dataset
    one, other = (measuring.of(version, dataset) for version in (comparison.a, comparison.b))
    table = tables.read_dataset(dataset)
    found = agreement(measuring.answers_of(one), measuring.answers_of(other), table)
    if not found["rows"]:
        found["note"] = _("No row fits both versions.")
    return {
        "metrics": {"a": one.metrics, "b": other.metrics},
        "labelled": other.labelled,
        "agreement": found,
        "slices": _slices(comparison, one, other, table) if one.labelled and other.labelled else [],
    }


def _slices(comparison: Comparison, one: Measurement, other: Measurement, table: Any) -> list[dict[str, Any]]:
    version = comparison.b
    is_regression = version.schema_object.target.task == "regression"
    metric = "mae" if is_regression else "accuracy"
    named = [
        name for each in version.model.rules.gates if isinstance(each, SliceGate) for name in each.slices
    ]
    grouped = [each.name for each in version.schema_object.fields if each.type in ("category", "boolean")]
    columns = tuple(dict.fromkeys([*named, *grouped[:MOST_COLUMNS]]))
    present = tuple(name for name in columns if name in table.column_names)
    found = gates.compared_groups(other, one, version, table, comparison.dataset, present, metric)
    return [{**each, "metric": metric, "is_few": each["rows"] < FEW} for each in found]


# --- what is told ---


def compare(a: ModelVersion, b: ModelVersion, *, first_look: bool = False) -> dict[str, Any]:
    """Everything about two versions, as far as it is known now; `state` says whether the rest is on its way.

    `first_look`: where nothing is kept yet, ask both some rows at once.
    """
    kept = start(a, b)
    result = kept.result if kept else {}
    changes = differences.schema_changes(a, b)
    found = {
        "a": a.number,
        "b": b.number,
        "state": kept.state if kept else "none",
        "dataset": _dataset(kept.dataset) if kept else None,
        "measured_rows": result.get("labelled", 0),
        "metrics": _metrics(result["metrics"]) if result.get("metrics") else _own_figures(a, b),
        "facts": _facts(a, b),
        "schema": [asdict(change) for change in changes],
        "schema_words": [asdict(line) for line in differences.schema_lines(changes)],
        "clients": clients.breaking(b, changes),
        "environment": differences.environment_changes(a, b),
        "globals": differences.names_changes(a, b),
        "card": differences.card_changes(a, b),
        "slices": result.get("slices", []),
        "agreement": _agreement(a, b, kept, first_look),
    }
    return {**found, "verdict": verdict(found)}


def without_rows(found: dict[str, Any]) -> dict[str, Any]:
    """For those who may not see the data."""
    return {**found, "agreement": {**found["agreement"], "examples": []}}


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {"id": dataset.public_id, "name": dataset.name, "role": dataset.role}


def _metrics(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    names = measures.in_order([*found["a"], *found["b"]])
    return [_change(name, found["a"].get(name), found["b"].get(name)) for name in names]


def _own_figures(a: ModelVersion, b: ModelVersion) -> list[dict[str, Any]]:
    """What each version's own checks measured; beside it, and never held against it, what only an author declares."""
    measured = set(a.measured_metrics) & set(b.measured_metrics)
    return [
        each if each["name"] in measured else {**each, "delta": None, "better": None}
        for each in _metrics({"a": a.figures, "b": b.figures})
    ]


def _change(name: str, a: Any, b: Any) -> dict[str, Any]:
    """A figure of both; `better` is null where they are the same, or one is not known."""
    if not all(isinstance(value, int | float) for value in (a, b)):
        return {"name": name, "a": a, "b": b, "delta": None, "better": None}
    better = None if measures.is_same(b, a) else (b < a) == measures.is_less_better(name)
    return {"name": name, "a": a, "b": b, "delta": round(b - a, 6), "better": better}


def _facts(a: ModelVersion, b: ModelVersion) -> list[dict[str, Any]]:
    times = [_p95(version) for version in (a, b)]
    return [
        _change("p95_ms", *times),
        {"name": "size", "a": a.size, "b": b.size, "delta": b.size - a.size, "better": None},
        *(
            {"name": name, "a": getattr(a, name), "b": getattr(b, name), "delta": None, "better": None}
            for name in ("format", "engine")
        ),
    ]


def _p95(version: ModelVersion) -> float | None:
    check = CheckResult.objects.filter(version=version, name="latency").first()
    value = check.figures.get("p95_ms") if check else None
    return float(value) if isinstance(value, int | float) else None


def _agreement(a: ModelVersion, b: ModelVersion, kept: Comparison | None, first_look: bool) -> dict[str, Any]:
    if kept is None:
        return _unknown(why_not(a, b))
    if kept.state == State.DONE:
        found: dict[str, Any] = kept.result["agreement"]
        return found
    if kept.state == State.FAILED:
        return _unknown(kept.note)
    if not first_look:
        return _unknown("")
    try:
        return _first_look(a, b, kept.dataset)
    except Refused as error:
        return _unknown(str(error))


def _first_look(a: ModelVersion, b: ModelVersion, dataset: Dataset) -> dict[str, Any]:
    answers = []
    for version in (a, b):
        table, places = measuring.rows_for(version.schema_object, dataset, FIRST_ROWS)
        if not table.num_rows:
            return _unknown(_("No row fits both versions."))
        answers.append(measuring.answers_from(places, engines.predict(version, table)))
    return agreement(*answers)


def _unknown(why: str) -> dict[str, Any]:
    return {"rows": 0, "share": None, "note": why}


# --- in a sentence ---


def verdict(found: dict[str, Any]) -> str:
    """“v7 is better on AUC +0.012, worse on p95 +18 ms, adds field tenure.”"""
    told = [each for each in found["metrics"] if each["better"] is not None]
    time = found["facts"][0]
    parts = [
        _judged(_("better on"), [each for each in told if each["better"]], time if time["better"] else None)
    ]
    is_slower = time["better"] is False
    parts.append(
        _judged(_("worse on"), [each for each in told if not each["better"]], time if is_slower else None)
    )
    for kind, words in (("added", _("adds %s")), ("removed", _("drops %s"))):
        names = [line["field"] for line in found["schema_words"] if line["kind"] == kind]
        if names:
            parts.append(words % ", ".join(names[:6]))
    said = ", ".join(part for part in parts if part)
    version = f"v{found['b']}"
    if said:
        return (
            _("%(version)s is %(said)s.") % {"version": version, "said": said}
            if parts[0] or parts[1]
            else (f"{version} {said}.")
        )
    if any(each["delta"] is not None for each in found["metrics"]):
        return _("%(b)s measures the same as v%(a)d and asks for the same inputs.") % {
            "b": version,
            "a": found["a"],
        }
    return _("Nothing was measured of both, so nobody can say which is better.")


def _judged(words: str, figures: list[dict[str, Any]], time: dict[str, Any] | None) -> str:
    said = [f"{measures.name_of(each['name'])} {_signed(each['delta'])}" for each in figures]
    if time is not None and abs(time["delta"]) >= 1:
        said.append(f"p95 {time['delta']:+.0f} ms".replace("-", "−"))
    return f"{words} {', '.join(said)}" if said else ""


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
