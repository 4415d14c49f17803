"""The reference profile of a version: built once from its reference data and its own answers to it."""

from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from inference import engines, runners
from inference.validation import validate_columns
from monitoring import columns, performance, profiles
from monitoring.models import ReferenceProfile
from monitoring.performance import Outcomes
from monitoring.profiles import Profile
from registry import tables
from registry.models import ModelVersion
from registry.schema import Target

logger = structlog.get_logger(__name__)

MOST_ROWS = 20_000
KEPT = 64


class Reference:
    """The two profiles of a version, ready to count on."""

    def __init__(self, row: ReferenceProfile) -> None:
        self.rows = row.rows
        self.metrics: dict[str, Any] = row.metrics
        self.inputs = Profile.from_json(row.inputs)
        self.outputs = Profile.from_json(row.outputs) if row.outputs else None


def of(version: ModelVersion) -> Reference | None:
    """The version's reference, built now if it was not yet; None where there is no reference data."""
    row = ReferenceProfile.objects.filter(version=version).values_list("pk", "built_at").first()
    if row is None:
        built = build(version)
        if built is None:
            return None
        row = (built.pk, built.built_at)
    return _load(*row)


@lru_cache(maxsize=KEPT)
def _load(pk: int, built_at: datetime) -> Reference:
    """Parsed once in each process; a row that was completed later has another time."""
    return Reference(ReferenceProfile.objects.get(pk=pk))


def build(version: ModelVersion) -> ReferenceProfile | None:
    """Profile the reference data; running it twice changes nothing. Without a model service, the inputs only."""
    found = ReferenceProfile.objects.filter(version=version).first()
    if version.reference is None or (found and found.outputs):
        return found
    schema = version.schema_object
    table = sample(tables.read_dataset(version.reference))
    answers, metrics = _answer(version, schema.target, table)
    facts: dict[str, Any] = {"outputs": answers.to_json() if answers else None, "metrics": metrics}
    if found:
        ReferenceProfile.objects.filter(pk=found.pk, outputs__isnull=True).update(
            **facts, built_at=timezone.now()
        )
        return ReferenceProfile.objects.get(pk=found.pk)
    inputs = profiles.build(columns.of_table(table), columns.input_types(schema))
    try:
        with transaction.atomic():
            return ReferenceProfile.objects.create(
                version=version, rows=len(table), inputs=inputs.to_json(), **facts
            )
    except IntegrityError:  # somebody else was faster
        return ReferenceProfile.objects.get(version=version)


def sample(table: pa.Table) -> pa.Table:
    """At most 20,000 rows, spread evenly; always the same ones."""
    if len(table) <= MOST_ROWS:
        return table
    return table.take(np.linspace(0, len(table) - 1, MOST_ROWS).astype(np.int64))


def _answer(version: ModelVersion, target: Target, table: pa.Table) -> tuple[Profile | None, dict[str, Any]]:
    """What the version answers on its own reference, and how well, where the outcome is known."""
    checked = validate_columns(version.schema_object, table)
    table, ready = table.filter(checked.valid), checked.table.filter(checked.valid)
    if not len(ready):
        return None, {}
    try:
        answer = engines.predict(version, ready, deadline=120)
    except runners.ModelError as error:
        logger.warning("reference_not_answered", version=version.pk, code=error.code)
        return None, {}
    probabilities = answer.probabilities.tolist() if answer.probabilities is not None else []
    values = answer.values.tolist() if answer.values is not None else [None] * len(table)
    answers = columns.of_answers(
        target,
        labels=answer.labels or [],
        values=values,
        probabilities=probabilities,
        classes=answer.classes,
    )
    profile = profiles.build(answers, columns.output_types(target, answers))
    if target.name not in table.column_names:
        return profile, {}
    chances = [{str(each): row[index] for index, each in enumerate(answer.classes)} for row in probabilities]
    actual = table.column(target.name).to_pylist()
    outcomes = Outcomes(actual, list(answers[columns.PREDICTION]), chances)
    return profile, realized(target, outcomes)


def realized(target: Target, outcomes: Outcomes) -> dict[str, Any]:
    if target.task == "regression":
        return performance.regression(outcomes)
    return performance.classification(outcomes, target.classes, target.positive)
