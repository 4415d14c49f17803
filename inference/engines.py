"""What answers for a version: its compiled form in this process, or the model runner. The answers are the same.

Or both: the form encodes the rows, and the runner's estimator answers from the matrix. A form that declines rows
(scikit-learn would refuse them) hands them to the runner, whose refusal is the answer.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa

from inference import compiled, runners
from inference.compiled import Ask, CompiledForm, Declined
from inference.models import stored_form
from inference.runners import Answer, FreshRunner, Question, Reasons
from inference.validation import Checked, Columns, Given
from registry.changes import MustWait
from registry.models import ModelVersion

#: What a job may take for the question to the estimator and, where it refuses, the one to the whole model.
SECONDS_OF_BOTH = 150.0


def predict_checked(version: ModelVersion, checked: Checked) -> Answer:
    """Answer validated rows, all or none. Raises ModelError, ModelTimeout or ModelUnavailable."""
    form = choose(version, len(checked.given))
    found = by_form(form, checked.given, _estimate(version))
    return runners.predict(version, checked.table) if found is None else found


def predict_at_once(version: ModelVersion, checked: Checked) -> Answer:
    """The same from a form that is open here already; MustWait where there is none, or where it would take long."""
    form = choose(version, len(checked.given), find=compiled.open_form_of)
    if form is None or not form.is_quick(len(checked.given)):
        raise MustWait
    try:
        return _answer(form, checked.given)
    except Declined:
        raise MustWait from None


def predict(version: ModelVersion, table: pa.Table, deadline: float | None = None) -> Answer:
    """Answer a validated table, all rows or none. Raises as above."""
    found = by_form(choose(version, table.num_rows), table, _estimate(version, deadline))
    return runners.predict(version, table, deadline) if found is None else found


def by_form(form: CompiledForm | None, given: Given, estimate: Ask) -> Answer | None:
    """A form's answer, with somebody to ask where it ends with the matrix; None where there is none."""
    if form is None:
        return None
    try:
        return _answer(form.asking(estimate), given)
    except Declined:
        return None


def _estimate(version: ModelVersion, deadline: float | None = None) -> Ask:
    return partial(runners.predict_encoded, version, deadline=deadline)


def _answer(form: CompiledForm, given: Given) -> Answer:
    if isinstance(given, Columns):
        return form.answer_lists(given.values, given.count)
    return form.answer_table(given) if isinstance(given, pa.Table) else form.answer_rows(given)


class FreshEngine:
    """What answers for one job: the version's form, else a runner that nobody else speaks to, started when needed."""

    def __init__(self, version: ModelVersion, runner: FreshRunner) -> None:
        self._version = version
        self._runner = runner

    def predict(self, table: pa.Table) -> Answer:
        form = choose(self._version, table.num_rows)
        if form is None:
            return self._runner.predict(table)
        began = time.monotonic()
        found = by_form(form, table, self._runner.predict_encoded)
        if found is not None:
            return found
        left = SECONDS_OF_BOTH - (time.monotonic() - began)
        return self._runner.predict(table, min(left, runners.DEADLINE))

    def explain(self, question: Question) -> Reasons:
        """The runner explains, whatever answers: it has the model itself."""
        return self._runner.explain(question)


@contextmanager
def fresh(version: ModelVersion) -> Iterator[FreshEngine]:
    with runners.fresh(version) as runner:
        yield FreshEngine(version, runner)


def choose(
    version: ModelVersion,
    rows: int,
    find: Callable[[ModelVersion], CompiledForm | None] = compiled.form_of,
) -> CompiledForm | None:
    """The form, unless so many rows are faster in the runner: that was measured when the form was accepted."""
    form, stored = find(version), stored_form(version)
    if form is None or stored is None:
        return None
    limit = stored.runner_from
    return form if limit is None or rows < limit else None
