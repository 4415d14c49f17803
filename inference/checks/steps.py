"""The checks, one function each, in the order in which they build on each other.

A check returns an Outcome or raises Problem. What it learned for the next ones it leaves in the Case.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext as _

from inference.checks import metrics
from inference.runners import Answer, Facts, FreshRunner, ModelError
from inference.validation import validate_columns
from registry import artifacts, inspection, tables
from registry.errors import FieldError, Refused
from registry.models import Dataset, ModelVersion
from registry.schema import Field, Label, Schema

T = TypeVar("T")

SAMPLE = 100
SINGLES = 40
MOST_ROWS = 50_000
CHUNK = 10_000
STEP_SECONDS = 60.0
SLOW_P95 = 1.0
ODD_SHARE = 0.05
SAME = 1e-9
SAME_ELSEWHERE = 1e-4


class Problem(Exception):
    """A check that failed: one sentence for the person who uploaded, and what they can do."""

    def __init__(self, detail: str, *log: str) -> None:
        super().__init__(detail)
        self.log = log


@dataclass(frozen=True)
class Outcome:
    detail: str
    log: Sequence[str] = ()
    skipped: bool = False


@dataclass
class Case:
    """One version on its way through the checks, and what is known so far."""

    version: ModelVersion
    runner: FreshRunner
    facts: Facts | None = None
    rows: pa.Table | None = None
    answer: Answer | None = None
    singles: list[float] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    @property
    def schema(self) -> Schema:
        return self.version.schema_object

    def reference(self) -> pa.Table | None:
        return tables.read_dataset(self.version.reference) if self.version.reference else None


def check_hash(case: Case) -> Outcome:
    version = case.version
    if not artifacts.is_intact(version.sha256):
        raise Problem(_("The stored file differs from the one that was uploaded. Upload the version again."))
    return Outcome(
        _("The stored file is the uploaded one, byte for byte."),
        [f"SHA-256 {version.sha256}", f"{version.size} bytes"],
    )


def check_format(case: Case) -> Outcome:
    with artifacts.open_artifact(case.version.sha256) as file:
        found = inspection.look(file)
    if found.format != case.version.format:
        raise Problem(
            _("The file is %(found)s, but was recorded as %(recorded)s.")
            % {"found": found.format, "recorded": case.version.format}
        )
    packed = f", compressed by {found.compression}" if found.compression else ""
    return Outcome(
        _("The file is a %(format)s file.") % {"format": found.format}, [f"{found.format}{packed}"]
    )


def check_inventory(case: Case) -> Outcome:
    with artifacts.open_artifact(case.version.sha256) as file:
        found = inspection.look(file)
    refusal = found.refusal()
    if refusal is not None:
        raise Problem(f"{refusal} {refusal.fix}".strip(), *found.dangerous, *found.unknown, *found.problems)
    return Outcome(
        _("All %(count)d names that the file uses are on the reviewed list.") % {"count": len(found.globals)},
        found.globals,
    )


def check_load(case: Case) -> Outcome:
    started = time.perf_counter()
    facts = case.facts = case.runner.facts
    seconds = time.perf_counter() - started
    task = "classification" if facts.is_classifier else "regression"
    if task != case.version.model.task:
        raise Problem(
            _("The file holds a %(found)s model (%(estimator)s); this model's task is %(task)s.")
            % {
                "found": task,
                "estimator": facts.estimator,
                "task": case.version.model.get_task_display().lower(),
            }
        )
    log = [f"{name}: {state}" for name, state in facts.layers.items()] + list(facts.warnings)
    return Outcome(
        _("%(estimator)s loaded in %(seconds).2f s.") % {"estimator": facts.estimator, "seconds": seconds},
        log,
    )


def check_schema(case: Case) -> Outcome:
    facts, schema = _known(case.facts), case.schema
    notes = _compare_features(facts, schema)
    if facts.is_classifier:
        _compare_classes(facts.classes, schema.target.classes)
    reference = case.reference()
    if reference is None:
        case.rows = _made_up(schema)
        return Outcome(_("The schema fits the model. There is no reference data to compare it with."), notes)
    notes += _compare_reference(reference, schema)
    case.rows = _spread(_valid(reference, schema), SAMPLE)
    return Outcome(
        _("The schema's %(count)d fields fit the model and the reference data.")
        % {"count": len(schema.fields)},
        notes,
    )


def check_predict(case: Case) -> Outcome:
    rows = _known(case.rows)
    answer = case.runner.predict(rows, STEP_SECONDS)
    _require_sane(answer)
    again = case.runner.predict(rows, STEP_SECONDS)
    if not _equal(answer, again, 0.0):
        raise Problem(
            _(
                "The same rows gave other answers the second time. Fix the random state, or remove the random step."
            )
        )
    for index in range(min(rows.num_rows, SINGLES)):
        started = time.perf_counter()
        single = case.runner.predict(rows.slice(index, 1), STEP_SECONDS)
        case.singles.append(time.perf_counter() - started)
        if not _equal(_row(answer, index), single, SAME):
            raise Problem(
                _(
                    "Row %(row)d alone gets another answer than among others: the model looks at its neighbours."
                )
                % {"row": index + 1}
            )
    case.answer = answer
    source = _("reference rows") if case.version.reference else _("made-up rows")
    return Outcome(
        _("%(count)d %(source)s answered: finite, complete, twice the same, alone as together.")
        % {"count": rows.num_rows, "source": source},
        [*_summary(answer), *answer.warnings],
    )


def check_environment(case: Case) -> Outcome:
    recorded, ours = versions_recorded(case.version), versions_here(case.facts)
    log = [f"{name}: {recorded.get(name, '?')} → {version}" for name, version in ours.items()]
    differing = [name for name in recorded if name in ours and _minor(recorded[name]) != _minor(ours[name])]
    if not recorded:
        return Outcome(_("The file does not tell the versions it was made with."), log)
    if not differing:
        return Outcome(_("Made with the versions that answer here."), log)
    words = ", ".join(f"{name} {recorded[name]} ({_('here')} {ours[name]})" for name in differing)
    if case.failed & {"load", "predict"}:
        pins = " ".join(f"{name}=={ours[name]}" for name in differing)
        raise Problem(
            _("The model was made with %(versions)s and does not work here. Train it again with: %(pins)s.")
            % {"versions": words, "pins": pins},
            *log,
        )
    return Outcome(
        _("Made with %(versions)s. It answers here; compare with expected answers to be sure.")
        % {"versions": words},
        log,
    )


def check_latency(case: Case) -> Outcome:
    if not case.singles:
        return Outcome(_("No row was answered."), skipped=True)
    p50, p95 = (float(np.percentile(case.singles, share)) for share in (50, 95))
    words = {"p50": 1e3 * p50, "p95": 1e3 * p95}
    log = [f"p50 {1e3 * p50:.1f} ms", f"p95 {1e3 * p95:.1f} ms", f"{len(case.singles)} single rows"]
    if p95 > SLOW_P95:
        raise Problem(
            _("One row takes %(p95).0f ms (p95); at most 1,000 ms are allowed. Use a smaller model.") % words,
            *log,
        )
    return Outcome(_("One row takes %(p50).1f ms (p50), %(p95).1f ms (p95).") % words, log)


def check_metrics(case: Case) -> Outcome:
    version, declared = case.version, dict(case.version.declared_metrics)
    dataset = version.evaluation or version.reference
    target = _target_column(dataset, case.schema)
    if dataset is None or not target:
        return _unmeasured(declared)
    table = _spread(_valid(_labelled(tables.read_dataset(dataset), target), case.schema), MOST_ROWS)
    if not table.num_rows:
        return _unmeasured(declared)
    measured = _measure(case, table, target)
    case.measured.update({name: values[0] for name, values in measured.items()})
    log = [f"{dataset.role} data, {table.num_rows} rows"]
    wrong = []
    for name, value in declared.items():
        if name not in measured:
            log.append(_("%(name)s %(value)s: declared, not checked") % {"name": name, "value": value})
            continue
        nearest = metrics.closest(value, measured[name])
        case.measured[name] = nearest
        log.append(f"{name}: declared {value:.4f}, measured {nearest:.4f}")
        if not metrics.agrees(value, measured[name]):
            wrong.append(f"{name} {value:.4f} → {nearest:.4f}")
    log += [f"{name}: measured {values[0]:.4f}" for name, values in measured.items() if name not in declared]
    if wrong:
        raise Problem(
            _(
                "Declared and measured differ on the %(role)s data: %(figures)s. Correct the figures, or give the "
                "evaluation data that they were measured on."
            )
            % {"role": dataset.get_role_display().lower(), "figures": ", ".join(wrong)},
            *log,
        )
    shown = ", ".join(f"{name} {value:.3f}" for name, value in case.measured.items())
    return Outcome(
        _("Measured on %(rows)d rows: %(figures)s.") % {"rows": table.num_rows, "figures": shown}, log
    )


def check_expected(case: Case) -> Outcome:
    expected = case.version.expected
    if not expected:
        return Outcome(_("No expected answers were given."), skipped=True)
    reference = case.reference()
    if reference is None:
        return Outcome(
            _("Expected answers need reference data: they belong to its first rows."), skipped=True
        )
    count = min(len(expected), reference.num_rows)
    inputs = validate_columns(case.schema, reference.slice(0, count)).table
    answer = case.runner.predict(inputs, STEP_SECONDS)
    compared, differing = _compare_expected(answer, expected[:count], case.schema)
    if not compared:
        raise Problem(
            _("The expected answers have no column called prediction, value or probability_<class>."),
            ", ".join(expected[0]),
        )
    if differing:
        rows = ", ".join(str(row + 1) for row in differing[:10])
        raise Problem(
            _(
                "%(differing)d of %(count)d rows get another answer here than where the model was trained "
                "(rows %(rows)s)."
            )
            % {"differing": len(differing), "count": count, "rows": rows}
        )
    return Outcome(_("All %(count)d rows get the expected answers.") % {"count": count})


STEPS: dict[str, Callable[[Case], Outcome]] = {
    "hash": check_hash,
    "format": check_format,
    "inventory": check_inventory,
    "load": check_load,
    "schema": check_schema,
    "predict": check_predict,
    "environment": check_environment,
    "latency": check_latency,
    "metrics": check_metrics,
    "expected": check_expected,
}
#: Without these the ones after them cannot be tried; the environment may still explain why.
DECISIVE = frozenset({"hash", "format", "inventory", "load", "schema", "predict"})
ALWAYS = frozenset({"environment"})


# --- schema ---


def _compare_features(facts: Facts, schema: Schema) -> list[str]:
    names = list(schema.names)
    if facts.feeds == "text":
        if len(names) != 1:
            raise Problem(
                _("The model reads one column of text; the schema has %(count)d fields.")
                % {"count": len(names)}
            )
        return []
    if facts.features is None:
        if facts.feature_count is not None and facts.feature_count != len(names):
            raise Problem(
                _(
                    "The model was trained on %(model)d columns without names; the schema has %(schema)d fields."
                )
                % {"model": facts.feature_count, "schema": len(names)}
            )
        return [_("The model knows no column names: the schema's order is the order of its columns.")]
    missing = [name for name in facts.features if name not in names]
    if missing:
        raise Problem(
            _("The model was trained with columns that the schema lacks: %(names)s. Add them to the schema.")
            % {"names": ", ".join(missing[:20])}
        )
    unused = [name for name in names if name not in facts.features]
    return [_("The model does not use: %(names)s.") % {"names": ", ".join(unused)}] if unused else []


def _compare_classes(model: Sequence[Label], schema: Sequence[Label]) -> None:
    if {(type(label), label) for label in model} == {(type(label), label) for label in schema}:
        return
    raise Problem(
        _("The model answers %(model)s; the schema says %(schema)s. Correct the classes in the schema.")
        % {"model": _shown(model), "schema": _shown(schema)}
    )


def _shown(labels: Sequence[Label]) -> str:
    words = ", ".join(repr(label) for label in labels[:10])
    return f"{words}, …" if len(labels) > 10 else words or "—"


def _compare_reference(reference: pa.Table, schema: Schema) -> list[str]:
    """Judge the reference by the very rules that every later row meets; a few odd rows are only noted."""
    missing = [name for name in schema.names if name not in reference.column_names]
    if missing:
        raise Problem(
            _("The reference data lacks columns of the schema: %(names)s.")
            % {"names": ", ".join(missing[:20])}
        )
    checked = validate_columns(schema, reference)
    bad = int(np.count_nonzero(~checked.valid))
    log = [_explained(error) for error in checked.errors[:20]]
    if bad > ODD_SHARE * reference.num_rows:
        raise Problem(
            _(
                "%(bad)d of %(count)d reference rows do not fit the schema. Correct the schema's types and limits: %(first)s"
            )
            % {"bad": bad, "count": reference.num_rows, "first": log[0]},
            *log,
        )
    return log


def _explained(error: FieldError) -> str:
    row = error.get("row")
    place = (
        error["field"]
        if row is None
        else _("%(field)s in row %(row)d") % {"field": error["field"], "row": row + 1}
    )
    return f"{place}: {error.get('value', '')!r} → {error.get('expected', '')}"


# --- rows ---


def _known(value: "T | None") -> "T":
    if value is None:
        raise Problem(_("An earlier check did not get this far."))
    return value


def _spread(table: pa.Table, count: int) -> pa.Table:
    """At most `count` rows, evenly over the whole table: the first rows of a sorted file are all alike."""
    if table.num_rows <= count:
        return table
    return table.take(pa.array(np.linspace(0, table.num_rows - 1, count).astype("int64")))


def _made_up(schema: Schema) -> pa.Table:
    """Rows for a version without data: its examples, else one row from the middle of what is allowed."""
    rows = [dict(example.inputs) for example in schema.examples] or [
        {each.name: _middle(each) for each in schema.fields}
    ]
    return pa.table({each.name: [row.get(each.name) for row in rows] for each in schema.fields})


def _middle(each: Field) -> Any:
    if each.type in ("category", "text"):
        return each.categories[0] if each.categories else "text"
    if each.type == "boolean":
        return False
    ends = [end for end in (each.min, each.max, each.training.min, each.training.max) if end is not None]
    value = sum(ends) / len(ends) if ends else 0.0
    return round(value) if each.type == "integer" else value


def _valid(table: pa.Table, schema: Schema) -> pa.Table:
    """The rows that would be answered, their inputs as every later row's are read, the other columns as they were."""
    checked = validate_columns(schema, table)
    for name in schema.names:
        column = checked.table.column(name)
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    return table.filter(pa.array(checked.valid))


# --- answers ---


def _require_sane(answer: Answer) -> None:
    for name, values in (("values", answer.values), ("probabilities", answer.probabilities)):
        if values is not None and not np.isfinite(values).all():
            raise Problem(
                _(
                    "Some answers are not finite (%(name)s). A step of the pipeline lets missing values through."
                )
                % {"name": name}
            )
    if answer.probabilities is not None and not np.allclose(answer.probabilities.sum(axis=1), 1, atol=1e-6):
        raise Problem(_("The probabilities of some rows do not add up to 1."))


def _row(answer: Answer, index: int) -> Answer:
    return Answer(
        answer.classes,
        None if answer.indices is None else answer.indices[index : index + 1],
        None if answer.probabilities is None else answer.probabilities[index : index + 1],
        None if answer.values is None else answer.values[index : index + 1],
        answer.seconds,
    )


def _equal(one: Answer, other: Answer, tolerance: float) -> bool:
    return (
        _close(one.indices, other.indices, 0.0)
        and _close(one.probabilities, other.probabilities, tolerance)
        and _close(one.values, other.values, tolerance)
    )


def _close(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, rtol=tolerance, atol=tolerance)


def _summary(answer: Answer) -> list[str]:
    if answer.indices is None:
        values = answer.values
        return [] if values is None else [f"{values.min():.4g} … {values.max():.4g}"]
    counts = np.bincount(answer.indices, minlength=len(answer.classes))
    return [f"{label}: {count}" for label, count in zip(answer.classes, counts, strict=True)][:20]


# --- metrics ---


def _unmeasured(declared: dict[str, float]) -> Outcome:
    if declared:
        return Outcome(
            _(
                "The declared figures cannot be checked: give evaluation or reference data with the target column."
            ),
            [f"{name}: declared {value}" for name, value in declared.items()],
            skipped=True,
        )
    return Outcome(
        _("No figures were declared, and there is no data with outcomes to measure on."), skipped=True
    )


def _target_column(dataset: Dataset | None, schema: Schema) -> str:
    if dataset is None:
        return ""
    return next(
        (name for name in (dataset.target, schema.target.name) if name and name in dataset.columns), ""
    )


def _labelled(table: pa.Table, target: str) -> pa.Table:
    return table.filter(pc.is_valid(table.column(target)))


def _measure(case: Case, table: pa.Table, target: str) -> dict[str, list[float]]:
    parts = [
        case.runner.predict(table.slice(start, CHUNK), STEP_SECONDS)
        for start in range(0, table.num_rows, CHUNK)
    ]
    truth = table.column(target)
    if parts[0].indices is None:
        numbers = np.asarray(truth.cast(pa.float64()).to_numpy())
        return metrics.of_numbers(numbers, np.concatenate([_known(part.values) for part in parts]))
    classes = parts[0].classes
    positions = _positions(truth, classes, case.schema)
    probabilities = None
    if parts[0].probabilities is not None:
        probabilities = np.concatenate([_known(part.probabilities) for part in parts])
    indices = np.concatenate([_known(part.indices) for part in parts])
    return metrics.of_classes(positions, indices, probabilities, classes, case.schema.target.positive)


def _positions(truth: pa.ChunkedArray, classes: Sequence[Label], schema: Schema) -> npt.NDArray[Any]:
    """Each outcome's place among the model's classes."""
    places: dict[Any, int] = {}
    for value in pc.unique(truth).to_pylist():
        label = schema.target.class_of(value)
        if label is None or label not in classes:
            raise Problem(
                _("The data has an outcome that the model does not know: %(value)s.")
                % {"value": repr(value)[:100]}
            )
        places[value] = list(classes).index(label)
    return np.array([places[value] for value in truth.to_pylist()])


# --- expected answers ---


def _compare_expected(
    answer: Answer, expected: list[dict[str, Any]], schema: Schema
) -> tuple[bool, list[int]]:
    """Whether anything could be compared, and the rows that differ."""
    labels, columns = answer.labels, set(expected[0])
    checks: list[Callable[[int, dict[str, Any]], bool]] = []
    for name in ("prediction", "label", schema.target.name):
        if name in columns and labels is not None:
            checks.append(lambda index, row, name=name: _same_label(labels[index], row.get(name)))  # type: ignore[misc]
            break
    number = next((name for name in ("value", "probability", "prediction") if name in columns), "")
    if answer.values is not None and number and (labels is None or number != "prediction"):
        values = answer.values
        checks.append(lambda index, row: _near(values[index], row.get(number)))
    for place, label in enumerate(answer.classes):
        name = f"probability_{label}"
        if name in columns and answer.probabilities is not None:
            chances = answer.probabilities[:, place]
            checks.append(lambda index, row, name=name, chances=chances: _near(chances[index], row.get(name)))  # type: ignore[misc]
    differing = [
        index for index, row in enumerate(expected) if not all(check(index, row) for check in checks)
    ]
    return bool(checks), differing


def _same_label(label: Label, value: Any) -> bool:
    return label == value or str(label) == str(value)


def _near(found: float, value: Any) -> bool:
    try:
        return bool(np.isclose(found, float(value), rtol=SAME_ELSEWHERE, atol=SAME_ELSEWHERE))
    except (TypeError, ValueError):
        return False


# --- versions ---


def versions_here(facts: Facts | None) -> dict[str, str]:
    """The runner's own word; where it never got to say it, what is installed for it."""
    import platform

    if facts is not None and facts.versions:
        return facts.versions
    found = {"python": platform.python_version()}
    for package in ("scikit-learn", "numpy", "pandas", "scipy", "joblib", "skops"):
        try:
            found[package] = installed_version(package)
        except PackageNotFoundError:
            continue
    return found


def versions_recorded(version: ModelVersion) -> dict[str, str]:
    """What the file tells of its making, and what its uploader wrote in the requirements."""
    found = {}
    for line in version.requirements.splitlines():
        pinned = re.match(r"\s*([A-Za-z0-9._-]+)\s*==\s*([0-9][0-9A-Za-z.+-]*)", line)
        if pinned:
            found[pinned[1].lower().replace("_", "-")] = pinned[2]
    if told := version.globals.get("sklearn_version"):
        found["scikit-learn"] = str(told)
    return found


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def explain(error: Exception) -> tuple[str, list[str]]:
    """Detail and log of whatever ended a check."""
    if isinstance(error, Problem):
        return str(error), list(error.log)
    if isinstance(error, ModelError):
        return " ".join(filter(None, [str(error), error.detail[:300], error.fix])), [error.code]
    if isinstance(error, Refused):
        return f"{error} {error.fix}".strip(), [each["field"] for each in error.errors]
    return _(
        "The check could not be carried out (%(error)s). Start the checks again; tell an administrator if it "
        "happens twice."
    ) % {"error": type(error).__name__}, []
