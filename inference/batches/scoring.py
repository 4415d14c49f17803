"""Score the rows of one chunk: validate, ask the model for the valid ones, put every row's fate into one table."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext as _

from inference import csvfile, validation
from inference.batches import parts, problems
from inference.batches.answers import Answers
from inference.csvfile import Reading
from inference.explanations import Why
from inference.runners import Answer, ModelError
from inference.validation import RowWarning
from registry.errors import FieldError
from registry.schema import Schema

#: Rows that the model is asked at once; between two such blocks a worker looks whether it should stop.
BLOCK_ROWS = 5_000
FIRST_ROWS = 1_250

#: Rows of one chunk on which the model may fail; more, and it is the model that is broken.
MAX_FAILED_ROWS = 100

#: Typed valid rows in, answers out, in the same order.
Ask = Callable[[pa.Table], Answer]
#: Scored rows and their answers in, the reasons of each out.
Explain = Callable[[pa.Table, Answers], list[Why | RowWarning]]


@dataclass
class Scored:
    """A chunk after scoring: the part to keep, and its counts. rows = scored + invalid + ignored."""

    part: pa.Table
    inputs: pa.Table  # typed columns of the scored rows
    answers: Answers
    problems: list[problems.Group]
    summary: dict[str, Any]

    @property
    def scored(self) -> int:
        return len(self.inputs)

    @property
    def invalid(self) -> int:
        return len(self.part) - self.scored


@dataclass
class Verdicts:
    """Which rows of a source table may be scored, and what is wrong with the others."""

    inputs: pa.Table
    valid: npt.NDArray[np.bool_]
    errors: dict[int, list[FieldError]] = field(default_factory=dict)
    warnings: dict[int, list[dict[str, str]]] = field(default_factory=dict)


def judge(source: pa.Table, schema: Schema, columns: Mapping[str, int], reading: Reading) -> Verdicts:
    """Validate the cells of a source table against the schema, in the columns that were matched."""
    cells = {name: _cells(source, position, schema, name, reading) for name, position in columns.items()}
    if not cells:
        cells = {schema.names[0]: pa.nulls(len(source), pa.string())}
    checked = validation.validate_columns(schema, cells)
    verdicts = Verdicts(checked.table, checked.valid.copy(), dict(checked.error_rows))
    verdicts.warnings = {row: [each.to_json() for each in found] for row, found in checked.warnings.items()}
    for row in np.flatnonzero(np.asarray(source[csvfile.PROBLEM].is_valid())).tolist():
        verdicts.valid[row] = False
        verdicts.errors[row] = [_ragged(source[csvfile.PROBLEM][row].as_py())]
    return verdicts


def _cells(source: pa.Table, position: int, schema: Schema, name: str, reading: Reading) -> pa.Array:
    cells = source[csvfile.column_name(position)].combine_chunks()
    if reading.decimal == "," and schema.field(name).is_numeric:
        cells = pc.replace_substring(cells, ",", ".")
    return pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)


def _ragged(found: str) -> FieldError:
    has, expected = found.split("/")
    sentence = _("The row has %(found)s values, the header has %(expected)s.") % {
        "found": has,
        "expected": expected,
    }
    fix = _("Put cells that contain the separator in quotes.")
    return FieldError(field="", code="ragged", expected=sentence, fix=fix)


def count_problems(verdicts: Verdicts, source: pa.Table, reading: Reading) -> list[problems.Group]:
    counted = problems.Problems()
    numbers = source[csvfile.ROW].to_numpy()
    for row, errors in sorted(verdicts.errors.items()):
        for error in errors:
            counted.add(reading.number(int(numbers[row])), error)
    return counted.to_json()


def score(
    source: pa.Table,
    schema: Schema,
    columns: Mapping[str, int],
    reading: Reading,
    ask: Ask,
    explain: Explain | None = None,
) -> Scored:
    """Every row of the source gets an answer or what is wrong with it; and why, where `explain` is given."""
    verdicts = judge(source, schema, columns, reading)
    places = np.flatnonzero(verdicts.valid)
    asked = _ask_for_all(verdicts.inputs.take(pa.array(places)), ask)
    for row in places[asked.failed].tolist():
        verdicts.valid[row] = False
        verdicts.errors[row] = [_model_failed()]
    inputs = verdicts.inputs.filter(pa.array(verdicts.valid))
    answers = Answers.joined(asked.answers, schema)
    part = _part(source, verdicts, answers)
    if explain is not None:
        whys = [_why(each) for each in explain(inputs, answers)]
        part = part.append_column(parts.WHY, parts.spread(verdicts.valid, pa.array(whys, pa.string())))
    return Scored(
        part=part,
        inputs=inputs,
        answers=answers,
        problems=count_problems(verdicts, source, reading),
        summary={**summary(answers), "answers": kind(answers)} if len(inputs) else {},
    )


@dataclass
class Asked:
    """Answers to consecutive rows, without the rows on which the model failed."""

    answers: list[Answer] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


def _ask_for_all(inputs: pa.Table, ask: Ask) -> Asked:
    """Ask block by block. A block on which the model fails is halved, until the rows that it cannot take are alone."""
    asked = Asked()
    size = FIRST_ROWS
    todo = [(0, len(inputs))] if len(inputs) else []
    while todo:
        at, count = todo.pop()
        if count > size:
            todo.append((at + size, count - size))
            count = size
        started = time.monotonic()
        try:
            asked.answers.append(ask(inputs.slice(at, count)))
            size = _next_size(size, time.monotonic() - started)
        except ModelError as error:
            if error.code != "model_failed" or len(asked.failed) >= MAX_FAILED_ROWS:
                raise
            if count == 1:
                asked.failed.append(at)
            else:
                half = count // 2
                todo += [(at + half, count - half), (at, half)]
    if asked.failed and not asked.answers:
        raise ModelError(_("The model failed on these rows."), code="model_failed")
    return asked


def _next_size(size: int, seconds: float) -> int:
    """Blocks of about a second: a slow model must not keep a worker from noticing that it should stop."""
    if seconds > 1.0:
        return max(1, size // 2)
    return min(BLOCK_ROWS, size * 2) if seconds < 0.4 else size


def _model_failed() -> FieldError:
    return FieldError(
        field="",
        code="model_failed",
        expected=_("The model could not score this row."),
        fix=_("Look for unusual values, or ask the owner of the model."),
    )


def _part(source: pa.Table, verdicts: Verdicts, answers: Answers) -> pa.Table:
    valid = verdicts.valid
    count = len(source)
    errors: list[str | None] = [None] * count
    fixes: list[str | None] = [None] * count
    for row, found in verdicts.errors.items():
        errors[row] = "; ".join(problems.sentence(error) for error in found)
        fixes[row] = "; ".join(dict.fromkeys(error.get("fix", "") for error in found))
    warnings = [
        json.dumps(verdicts.warnings[row]) if row in verdicts.warnings and valid[row] else None
        for row in range(count)
    ]
    table = source.drop_columns([csvfile.PROBLEM])
    own = {
        parts.STATUS: pc.if_else(pa.array(valid), parts.SCORED, parts.INVALID),
        parts.ERROR: pa.array(errors, pa.string()),
        parts.FIX: pa.array(fixes, pa.string()),
        parts.WARNINGS: pa.array(warnings, pa.string()),
        parts.LABEL: parts.spread(valid, pa.array(answers.label_texts(), pa.string())),
        parts.VALUE: parts.spread(valid, pa.array(answers.values, pa.float64())),
    }
    if answers.probabilities is not None:
        for position, column in enumerate(answers.probabilities.T):
            own[parts.probability_column(position)] = parts.spread(valid, pa.array(column, pa.float64()))
    for name, array in own.items():
        table = table.append_column(name, array)
    return table


def _why(found: Why | RowWarning) -> str | None:
    return json.dumps(found.to_json()) if isinstance(found, Why) else None


def kind(answers: Answers) -> dict[str, Any]:
    return {"classes": list(answers.classes), "probabilities": answers.probabilities is not None}


def summary(answers: Answers) -> dict[str, Any]:
    """Answers counted by class, or a regression's sum and range; summaries of chunks add up."""
    if answers.classes:
        return {"classes": dict(Counter(answers.label_texts()))}
    values = [value for value in answers.values if value is not None]
    if not values:
        return {}
    return {
        "count": len(values),
        "sum": float(sum(values)),
        "min": float(min(values)),
        "max": float(max(values)),
    }


def add_summaries(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    filled = [each for each in summaries if each]
    if any("classes" in each for each in filled):  # a classifier's
        counts: Counter[str] = Counter()
        for each in filled:
            counts.update(each.get("classes", {}))
        return {"classes": dict(counts.most_common())}
    if not filled:
        return {}
    return {
        "count": sum(each["count"] for each in filled),
        "sum": sum(each["sum"] for each in filled),
        "min": min(each["min"] for each in filled),
        "max": max(each["max"] for each in filled),
    }
