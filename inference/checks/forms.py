"""Making, judging and keeping a version's compiled form. Where there is none, the runner answers: nothing is lost."""

import io

import pyarrow as pa
from django.utils.translation import gettext as _

from inference import compiled
from inference.checks import parity
from inference.checks.outcome import known
from inference.compiled import BadForm, CompiledForm
from inference.models import VersionForm
from inference.runner.forms import MAX_FORM
from inference.validation import validate_columns
from registry import artifacts, onnx_gate
from registry.models import ModelVersion
from registry.schema import Schema


class RunnerAnswers(Exception):
    """A sentence: why the version has no compiled form."""


def opened(data: bytes | None, reason: str, version: ModelVersion) -> CompiledForm:
    if data is None:
        raise RunnerAnswers(reason or _("the model could not be compiled"))
    try:
        return CompiledForm(data, (version.schema.get("target") or {}).get("positive"), _graph_of(version))
    except BadForm as error:
        raise RunnerAnswers(_("its compiled form is not acceptable (%(error)s)") % {"error": error}) from None


def engine_of(form: CompiledForm) -> str:
    return {compiled.UPLOAD: compiled.UPLOAD, compiled.RUNNER: compiled.ENCODED}.get(
        form.kind, compiled.COMPILED
    )


def require_open_to_us(version: ModelVersion) -> None:
    """A graph that passed the wide gate alone is for the jail, whatever a form of it would say."""
    kept_out = (version.globals.get("graph") or {}).get("kept_out")
    if kept_out:
        raise RunnerAnswers(
            _("the graph may be opened by the model service alone: %(why)s") % {"why": kept_out}
        )


def _graph_of(version: ModelVersion) -> bytes | None:
    sha256, form = version.opened
    if form != "onnx":
        return None
    with artifacts.open_artifact(sha256) as file:
        return file.read(onnx_gate.NARROW_BYTES + 1)


def keep(version: ModelVersion, data: bytes, form: CompiledForm, report: parity.Report) -> VersionForm:
    with artifacts.receive(io.BytesIO(data), MAX_FORM) as received:
        artifacts.keep(received)
        kept, _created = VersionForm.objects.update_or_create(
            version=version,
            defaults={
                "sha256": received.sha256,
                "size": received.size,
                "report": report.to_json(),
                "made_with": form.made_with,
            },
        )
    return kept


def base(table: pa.Table | None, schema: Schema) -> pa.Table:
    """Rows to compare on, as typed as rows are when they are asked."""
    return validate_columns(schema, known(table)).table


def told(report: parity.Report) -> list[str]:
    """The report in lines, for the page."""
    lines = [
        _("%(rows)d reference rows and %(edges)d rows at the edges compared; 0 other labels")
        % {"rows": report.rows, "edges": report.edge_rows},
        _("largest difference %(difference).2g") % {"difference": report.max_difference},
        _("%(refused)d rows refused by both") % {"refused": report.refused},
    ]
    lines += [
        _("%(size)s rows: %(compiled).1f µs a row compiled, %(runner).1f µs in the runner")
        % {"size": size, **measured}
        for size, measured in report.microseconds.items()
    ]
    if report.runner_from is not None:
        lines.append(
            _("from %(count)d rows on the runner answers: it is faster") % {"count": report.runner_from}
        )
    return lines
