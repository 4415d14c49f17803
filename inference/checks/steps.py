"""The checks, one function each, in the order in which they build on each other.

A check returns an Outcome or raises Problem. What it learned for the next ones it leaves in the Case.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
from django.conf import settings
from django.utils.translation import gettext as _

from inference import explanations, runners, sampling
from inference.checks import fit, forms, frozen, gates, measuring, metrics, parity, rows, sameness, versions
from inference.checks.outcome import Outcome, Problem, known
from inference.compiled import ENCODED, UPLOAD
from inference.compiled.boundaries import boundaries
from inference.models import VersionForm
from inference.runners import Answer, Facts, FreshRunner, ModelError
from inference.validation import validate_columns
from registry import artifacts, inspection, tables
from registry.models import PRODUCTION, ModelVersion
from registry.schema import Schema

SAMPLE = 100
SINGLES = 40
STEP_SECONDS = 60.0
COMPARE_SECONDS = 270.0  # for all forms of a version; with the time to make them less than a check's lease
EXPLAINED = 50  # rows of the sample that are explained
EXPLAIN_SECONDS = 15.0

NO_FORM = (forms.RunnerAnswers, parity.Differs)

Rows = TypeVar("Rows")


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
    engine: str = "runner"
    agreed: bool = False  # every answer of the training environment is the same here
    to_review: list[str] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        return self.version.schema_object

    def reference(self) -> pa.Table | None:
        return tables.read_dataset(self.version.reference) if self.version.reference else None


def check_hash(case: Case) -> Outcome:
    version = case.version
    if not all(artifacts.is_intact(sha256) for sha256 in {version.sha256, version.opened[0]}):
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
    if found.payload is not None and found.payload.sha256 != case.version.opened[0]:
        raise Problem(
            _("The file inside the folder is not the one that was recorded. Upload the version again.")
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
    admitted = case.version.admitted
    if lacking := [name for name in found.unknown if name not in admitted]:
        raise Problem(
            _(
                "Nobody has admitted %(names)s. Upload the version again, so that an approver can look at them."
            )
            % {"names": ", ".join(lacking[:5])},
            *lacking,
        )
    if found.unknown:
        told = _(
            "%(count)d of the %(all)d names that the file uses were admitted by an approver for this version."
        )
        return Outcome(told % {"count": len(found.unknown), "all": len(found.globals)}, found.globals)
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
    facts, schema = known(case.facts), case.schema
    notes = fit.compare_features(facts, schema)
    told = list(notes)
    if facts.is_classifier:
        fit.compare_classes(facts.classes, schema.target.classes)
    reference = case.reference()
    if reference is None:
        case.rows = rows.made_up(schema)
        return Outcome(_("The schema fits the model. There is no reference data to compare it with."), notes)
    notes += fit.compare_reference(reference, schema)
    case.rows = sampling.spread(rows.valid(reference, schema), SAMPLE)
    fits = _("The schema's %(count)d fields fit the model and the reference data.")
    return Outcome(" ".join([fits % {"count": len(schema.fields)}, *told]), notes)


def check_predict(case: Case) -> Outcome:
    asked = known(case.rows)
    answer = case.runner.predict(asked, STEP_SECONDS)
    sameness.require_sane(answer)
    again = case.runner.predict(asked, STEP_SECONDS)
    if not sameness.equal(answer, again, 0.0):
        raise Problem(
            _(
                "The same rows gave other answers the second time. Fix the random state, or remove the random step."
            )
        )
    for index in range(min(asked.num_rows, SINGLES)):
        if sum(case.singles) > STEP_SECONDS:  # a slow model is judged by the rows that it had time for
            break
        started = time.perf_counter()
        single = case.runner.predict(asked.slice(index, 1), STEP_SECONDS)
        case.singles.append(time.perf_counter() - started)
        if not sameness.equal(sameness.row(answer, index), single, sameness.tolerance(case.version)):
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
        % {"count": asked.num_rows, "source": source},
        [*sameness.summary(answer), *answer.warnings],
    )


def check_environment(case: Case) -> Outcome:
    """Whether what made the model may differ from what answers here.

    The same answers as in the training environment settle it. Without any, only a patch may differ; whether more may
    is for an approver to say, once everything else has passed.
    """
    recorded, ours = versions.recorded(case.version), versions.here(case.facts)
    log = [f"{name}: {recorded.get(name, '?')} → {version}" for name, version in ours.items()]
    differing = {name: made for name, made in recorded.items() if name in ours and made != ours[name]}
    if not recorded:
        return Outcome(_("The file does not tell the versions it was made with."), log)
    if not differing:
        return Outcome(_("Made with the versions that answer here."), log)
    told = {
        "versions": ", ".join(
            f"{name} {made} ({_('here')} {ours[name]})" for name, made in differing.items()
        ),
        "pins": " ".join(f"{name}=={ours[name]}" for name in differing),
    }
    if case.failed & {"load", "predict"}:
        raise Problem(
            _("The model was made with %(versions)s and does not work here. Train it again with: %(pins)s.")
            % told,
            *log,
        )
    if "expected" in case.failed:
        raise Problem(
            _(
                "The model was made with %(versions)s and answers otherwise here. Train it again with: %(pins)s."
            )
            % told,
            *log,
        )
    if case.agreed:
        said = _("Made with %(versions)s. Every answer of the training environment is the same here.")
        return Outcome(said % told, log)
    return _without_answers(case, differing, ours, told, log)


def _without_answers(
    case: Case, differing: dict[str, str], ours: dict[str, str], told: dict[str, str], log: list[str]
) -> Outcome:
    far = [name for name, made in differing.items() if not versions.is_patch(made, ours[name])]
    if not far:
        return Outcome(_("Made with %(versions)s: a patch apart, which is only noted.") % told, log)
    to_review = [f"{name}=={differing[name]} → {ours[name]}" for name in far]
    if set(to_review) <= set(case.version.admitted):
        said = _("Made with %(versions)s. An approver has admitted the difference for this version.")
        return Outcome(said % told, log)
    case.to_review = to_review
    raise Problem(
        _(
            "The model was made with %(versions)s, and nothing proves that it answers alike here. Send the answers "
            "of the training environment with it (expected), or train it again with: %(pins)s. Else an approver "
            "must admit the difference."
        )
        % told,
        *log,
    )


def check_latency(case: Case) -> Outcome:
    if not case.singles:
        return Outcome(_("No row was answered."), skipped=True)
    p50, p95 = (float(np.percentile(case.singles, share)) for share in (50, 95))
    most = (
        settings.MODELGATE_PREDICT_SECONDS / 2
    )  # this machine may be busy, and so may be the one that serves
    words = {"p50": 1e3 * p50, "p95": 1e3 * p95, "most": 1e3 * most}
    log = [f"p50 {1e3 * p50:.1f} ms", f"p95 {1e3 * p95:.1f} ms", f"{len(case.singles)} single rows"]
    if p95 > most:
        raise Problem(
            _("One row takes %(p95).0f ms (p95); at most %(most).0f ms are allowed. Use a smaller model.")
            % words,
            *log,
        )
    figures = {"p50_ms": round(words["p50"], 3), "p95_ms": round(words["p95"], 3)}
    return Outcome(_("One row takes %(p50).1f ms (p50), %(p95).1f ms (p95).") % words, log, figures=figures)


def check_metrics(case: Case) -> Outcome:
    version, declared = case.version, dict(case.version.declared_metrics)
    measuring.forget(version)
    dataset = measuring.judged_on(version)
    if dataset is None:
        return _unmeasured(declared)
    kept, measured = measuring.measure(
        version, dataset, lambda table: case.runner.predict(table, STEP_SECONDS)
    )
    if not measured:
        return _unmeasured(declared)
    case.measured.update({name: values[0] for name, values in measured.items()})
    log = [f"{dataset.role} data, {kept.labelled} rows"]
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
                "Declared and measured figures differ on the %(role)s: %(figures)s. Correct the figures, or give the "
                "evaluation data that they were measured on."
            )
            % {"role": dataset.get_role_display().lower(), "figures": ", ".join(wrong)},
            *log,
        )
    shown = ", ".join(f"{name} {value:.3f}" for name, value in case.measured.items())
    return Outcome(
        _("Measured on %(rows)d rows: %(figures)s.") % {"rows": kept.labelled, "figures": shown}, log
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
    compared, differing = sameness.compare_expected(answer, expected[:count], case.schema)
    if not compared:
        raise Problem(
            _("The expected answers have no column called prediction, value or probability_<class>."),
            ", ".join(expected[0]),
        )
    if differing:
        numbers = ", ".join(str(row + 1) for row in differing[:10])
        raise Problem(
            _(
                "%(differing)d of %(count)d rows get another answer here than where the model was trained "
                "(rows %(rows)s)."
            )
            % {"differing": len(differing), "count": count, "rows": numbers}
        )
    case.agreed = True
    return Outcome(_("All %(count)d rows get the expected answers.") % {"count": count})


def check_explanation(case: Case) -> Outcome:
    """Which fields its answers depend on, over the sample. A model without reasons answers all the same."""
    answer, rows = known(case.answer), known(case.rows).slice(0, EXPLAINED)
    outputs = explanations.explained_classes(case.schema, answer.classes, answer.indices, rows.num_rows)
    inputs = validate_columns(case.schema, rows).table
    question = explanations.ask_about(case.version, inputs, outputs, seconds=EXPLAIN_SECONDS)
    try:
        found = case.runner.explain(question, STEP_SECONDS)
    except ModelError as error:
        if not runners.is_alive():
            raise
        return Outcome(str(error), [error.code, error.detail], skipped=True)
    shares = explanations.importance(found)
    log = [f"{name}: {share:.4g}" for name, share in shares.items()]
    strongest = ", ".join(list(shares)[:3])
    return Outcome(
        _("Its answers depend most on %(fields)s (%(rows)d rows explained).")
        % {"fields": strongest, "rows": found.done},
        [f"{found.method}, on the scale {found.scale}", *log],
        figures={"scale": found.scale, "method": found.method, "importance": shares},
    )


def check_gates(case: Case) -> Outcome:
    version = case.version
    if not version.model.rules.gates:
        return Outcome(_("This model's policy has no quality gates."), skipped=True)
    serving = gates.serving_in(version.model, PRODUCTION)
    judged = gates.judge(version, serving)
    log = [f"{'+' if each.passed else '-'} {each.gate.words}: {each.detail}" for each in judged]
    figures = gates.keep(version, serving, judged)
    if not all(each.passed for each in judged):
        raise Problem(gates.summary(version, judged), *log, figures=figures)
    return Outcome(gates.summary(version, judged), log, figures=figures)


def check_compiled(case: Case) -> Outcome:
    """A form that answers alike takes over; for any other reason the runner goes on answering, which is no failure."""
    VersionForm.objects.filter(version=case.version).delete()
    try:
        if case.failed:
            raise forms.RunnerAnswers(_("an earlier check failed"))
        forms.require_open_to_us(case.version)
        return _compiled(case)
    except NO_FORM as reason:
        return _runner_answers(str(reason))
    except ModelError as error:
        if not runners.is_alive():
            raise
        return _runner_answers(_("the model could not be compiled"), error.code, error.detail)


def _runner_answers(reason: str, *log: str) -> Outcome:
    return Outcome(_("The runner answers, because %(reason)s.") % {"reason": reason}, log, skipped=True)


def _compiled(case: Case) -> Outcome:
    """The whole model, else the steps before its estimator."""
    ends = time.monotonic() + COMPARE_SECONDS
    try:
        report = _form_kept(case, ends, whole=True)
    except NO_FORM as reason:
        if case.version.opened[1] == "onnx":
            raise
        return _encoded(case, reason, ends)
    return Outcome(_answered_by(case.engine), forms.told(report))


def _encoded(case: Case, why_not_whole: Exception, ends: float) -> Outcome:
    try:
        report = _form_kept(case, ends, whole=False)
    except NO_FORM:
        raise why_not_whole from None
    why = _("not compiled as a whole: %(reason)s") % {"reason": why_not_whole}
    return Outcome(_answered_by(case.engine), [why, *forms.told(report)])


def _answered_by(engine: str) -> str:
    if engine == UPLOAD:
        return _("ONNX: the portal opens the graph and answers by itself, exactly as the model service does.")
    if engine == ENCODED:
        return _(
            "Half compiled: the portal prepares the rows and asks the runner for the estimator's answer alone."
            " The answers are exactly the model's."
        )
    return _("Compiled: the portal answers by itself, exactly as the model does.")


def _form_kept(case: Case, ends: float, *, whole: bool) -> parity.Report:
    """The report of a form that was made, compared and kept; NO_FORM where any of it did not succeed."""
    made = case.runner.compile(STEP_SECONDS, whole=whole)
    form = forms.opened(made.form, made.reason, case.version)
    report = parity.compare(
        form.asking(_in_time(case.runner.predict_encoded, ends)),
        _in_time(case.runner.predict, ends),
        case.schema,
        forms.base(case.rows, case.schema),
        boundaries(known(made.form)),
    )
    forms.keep(case.version, known(made.form), form, report)
    case.engine = forms.engine_of(form)
    return report


def _in_time(ask: Callable[[Rows, float], Answer], ends: float) -> Callable[[Rows], Answer]:
    """The question, asked only before `ends`, in seconds of the monotonic clock."""

    def asked(rows: Rows) -> Answer:
        if time.monotonic() > ends:
            raise parity.Differs(_("it would take too long to compare its compiled form"))
        return ask(rows, STEP_SECONDS)

    return asked


def check_golden(case: Case) -> Outcome:
    """Last: only a version that passed everything else has answers worth keeping."""
    if case.failed:
        return Outcome(_("Golden rows are kept once every other check has passed."), skipped=True)
    case.version.engine = case.engine  # what will answer; stored when the checks end
    inputs, origin = frozen.rows_of(case.version)
    return Outcome(frozen.keep(case.version, inputs, case.runner.predict(inputs, STEP_SECONDS), origin))


STEPS: dict[str, Callable[[Case], Outcome]] = {
    "hash": check_hash,
    "format": check_format,
    "inventory": check_inventory,
    "load": check_load,
    "schema": check_schema,
    "predict": check_predict,
    "expected": check_expected,
    "environment": check_environment,
    "latency": check_latency,
    "metrics": check_metrics,
    "explanation": check_explanation,
    "gates": check_gates,
    "compiled": check_compiled,
    "golden": check_golden,
}
#: Without these the ones after them cannot be tried; the environment may still explain why.
DECISIVE = frozenset({"hash", "format", "inventory", "load", "schema", "predict"})
ALWAYS = frozenset({"environment"})


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
