"""Does a compiled form answer as scikit-learn does? Labels exactly, probabilities and values within a millionth."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from django.utils.translation import gettext as _

from inference.checks import edges
from inference.compiled import CompiledForm, Declined
from inference.runners import Answer, ModelError
from registry.schema import Schema

TOLERANCE = 1e-6  # absolute for probabilities, relative for values
MOST_REFUSALS = 400
AS_ROWS = 200
SIZES = (1, 100, 1_000, 10_000)
FASTER = 0.9  # so much of the form's time, and the runner is worth the way to it
ENOUGH_SECONDS = 3.0

Ask = Callable[[pa.Table], Answer]


class Differs(Exception):
    """A sentence: what the form does otherwise."""


@dataclass
class Report:
    rows: int = 0
    edge_rows: int = 0
    refused: int = 0
    max_difference: float = 0.0
    microseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    runner_from: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "edge_rows": self.edge_rows,
            "refused": self.refused,
            "flips": 0,
            "max_difference": self.max_difference,
            "microseconds": self.microseconds,
            "runner_from": self.runner_from,
        }


def compare(
    form: CompiledForm, ask: Ask, schema: Schema, base: pa.Table, boundaries: edges.Boundaries
) -> Report:
    """The report of a form that answers alike on `base` and on rows at the edges; else Differs."""
    report = Report(rows=base.num_rows)
    columns = base.select(list(schema.names))
    for rows in (
        columns,
        edges.plain(schema, columns, boundaries),
        edges.wild(schema, columns),
    ):
        _compare_rows(form, ask, rows, report)
    report.edge_rows -= base.num_rows
    _measure(form, ask, columns, report)
    if report.runner_from == SIZES[0]:
        raise Differs(_("its compiled form is no faster than the model service"))
    return report


def _compare_rows(form: CompiledForm, ask: Ask, rows: pa.Table, report: Report) -> None:
    report.edge_rows += rows.num_rows
    for piece, expected in _fates(ask, rows, report, form.most_rows):
        if expected is None:
            _require_refusal(form, piece)
            continue
        _require_same(_answered(form.answer_table, piece), expected, report)
        some = piece.slice(0, AS_ROWS)
        first = _first(expected, AS_ROWS)
        _require_same(_answered(form.answer_rows, some.to_pylist()), first, report)
        lists = _answered(lambda rows: form.answer_lists(rows.to_pydict(), rows.num_rows), some)
        _require_same(lists, first, report)


def _fates(ask: Ask, rows: pa.Table, report: Report, most: int) -> Iterator[tuple[pa.Table, Answer | None]]:
    """Pieces that scikit-learn answers, and the single rows that it refuses, found by halving."""
    todo = [rows.slice(at, most) for at in range(0, rows.num_rows, most)]
    while todo:
        piece = todo.pop()
        try:
            yield piece, ask(piece)
        except ModelError as error:
            if error.code != "model_failed":
                raise
            if piece.num_rows > 1:
                half = piece.num_rows // 2
                todo += [piece.slice(half), piece.slice(0, half)]
                continue
            report.refused += 1
            if report.refused > MOST_REFUSALS:
                raise Differs(_("the model refuses too many rows to compare")) from None
            yield piece, None


def _answered(answer: Callable[[Any], Answer], rows: Any) -> Answer:
    try:
        return answer(rows)
    except Declined:
        raise Differs(_("its compiled form declines rows that scikit-learn answers")) from None


def _require_refusal(form: CompiledForm, row: pa.Table) -> None:
    try:
        form.answer_table(row)
    except Declined:
        return
    raise Differs(_("its compiled form answers rows that scikit-learn refuses"))


def _first(answer: Answer, count: int) -> Answer:
    def cut(values: Any) -> Any:
        return None if values is None else values[:count]

    return Answer(
        answer.classes, cut(answer.indices), cut(answer.probabilities), cut(answer.values), answer.seconds
    )


def _require_same(found: Answer, expected: Answer, report: Report) -> None:
    if found.classes != expected.classes or (found.probabilities is None) != (expected.probabilities is None):
        raise Differs(_("its compiled form answers other classes"))
    if expected.indices is None or found.indices is None:
        _require_close(_relative(found.values, expected.values), report)
        return
    flips = int(np.count_nonzero(found.indices != expected.indices))
    if flips:
        raise Differs(
            _("%(flips)d of %(rows)d rows get another label from its compiled form")
            % {"flips": flips, "rows": len(expected.indices)}
        )
    if expected.probabilities is not None and found.probabilities is not None:
        _require_close(_absolute(found.probabilities, expected.probabilities), report)


def _absolute(found: Any, expected: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(_same(found, expected), 0.0, np.abs(found - expected))


def _relative(found: Any, expected: Any) -> Any:
    with np.errstate(all="ignore"):
        apart = np.abs(found - expected) / np.abs(expected)
    return np.where(_same(found, expected), 0.0, apart)


def _same(found: Any, expected: Any) -> Any:
    return (found == expected) | (np.isnan(found) & np.isnan(expected))


def _require_close(differences: Any, report: Report) -> None:
    largest = float(differences.max(initial=0.0))
    if not largest <= TOLERANCE:
        raise Differs(
            _("its compiled form answers up to %(largest).2g beside scikit-learn") % {"largest": largest}
        )
    report.max_difference = max(report.max_difference, largest)


# --- which engine is faster ---


def _measure(form: CompiledForm, ask: Ask, base: pa.Table, report: Report) -> None:
    """Microseconds a row of both engines per number of rows; from where on the runner is faster."""
    began = time.perf_counter()
    for size in SIZES:
        rows = base.take(pa.array(np.arange(size) % base.num_rows))
        given: Any = rows.to_pylist() if size < SIZES[2] else rows
        answer = form.answer_rows if size < SIZES[2] else form.answer_table
        try:
            ours = _median(lambda answer=answer, given=given: answer(given), size)  # type: ignore[misc]
            theirs = _median(lambda rows=rows: ask(rows), size)  # type: ignore[misc]
        except (Declined, ModelError):
            break  # the reference itself holds rows that are refused
        report.microseconds[str(size)] = {"compiled": ours, "runner": theirs}
        if time.perf_counter() - began > ENOUGH_SECONDS:
            break
    for size in reversed([int(size) for size in report.microseconds]):
        measured = report.microseconds[str(size)]
        if measured["runner"] >= FASTER * measured["compiled"]:
            break
        report.runner_from = size


def _median(answer: Callable[[], Answer], size: int) -> float:
    seconds = []
    for _time in range(2 if size >= SIZES[2] else 7):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1e6 / size, 2)
