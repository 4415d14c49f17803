"""Why an answer is what it is: what each field added to it, in the order of how much.

On `scale`, `base` and the contributions add up to the answer: to the probability of the explained class, to its margin
(the log-odds, before they become a probability), or to the value of a regression. For two classes the positive one is
explained, for more the one that was answered. An answer never fails for want of its reasons.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import structlog
from django.conf import settings
from django.utils.translation import gettext as _

from inference import runners, sampling
from inference.runners import Answer, ModelError, Question, Reasons
from inference.validation import RowWarning, trusted_table, validate_columns
from registry import tables
from registry.errors import FieldError, Invalid
from registry.models import Dataset, ModelVersion
from registry.schema import Label, Schema

logger = structlog.get_logger(__name__)

MOST_ROWS = 100  # that one call may have explained
BLOCK_SECONDS = 60.0  # for as many rows of a file
BACKGROUND = 100  # reference rows that an answer is compared with
NOT_EXPLAINED = "not_explained"

#: What an answer says where no reasons were asked for, or there are none.
UNASKED: Mapping[str, Any] = {"reasons": [], "base": None, "scale": None}


@dataclass(frozen=True)
class Reason:
    """What one field added, on the explanation's scale."""

    field: str
    value: Any
    contribution: float

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "value": self.value, "contribution": self.contribution}


@dataclass(frozen=True)
class Why:
    """The reasons of one answer, the largest first."""

    reasons: Sequence[Reason]
    base: float
    scale: str

    def to_json(self) -> dict[str, Any]:
        return {
            "reasons": [reason.to_json() for reason in self.reasons],
            "base": self.base,
            "scale": self.scale,
        }


def require_few(count: int) -> None:
    """Reasons cost far more than answers: Invalid (422) beyond MOST_ROWS."""
    if count <= MOST_ROWS:
        return
    message = _("At most %(limit)d rows a call are explained; this one has %(count)d.") % {
        "limit": MOST_ROWS,
        "count": count,
    }
    fix = _("Explain fewer rows, or send a batch file that asks for reasons.")
    error: FieldError = {
        "field": "explain",
        "code": "too_many_to_explain",
        "value": count,
        "expected": f"1 … {MOST_ROWS}",
        "fix": fix,
    }
    raise Invalid(message, code="too_many_to_explain", fix=fix, errors=[error])


def of(version: ModelVersion, rows: Sequence[Mapping[str, Any]], answer: Answer) -> list[Why | RowWarning]:
    """For each validated row its reasons, or the warning that says why there are none."""
    schema = version.schema_object
    outputs = explained_classes(schema, answer.classes, answer.indices, len(rows))
    question = ask_about(
        version, trusted_table(schema, rows), outputs, seconds=settings.MODELGATE_EXPLAIN_SECONDS
    )
    try:
        found = runners.explain(version, question)
    except ModelError as error:
        logger.warning("answer_not_explained", version=str(version), code=error.code, detail=error.detail)
        return [_nothing(error)] * len(rows)
    return [_why(found, place, row) for place, row in enumerate(rows)]


def of_table(
    version: ModelVersion, table: pa.Table, outputs: Sequence[int], ask: Callable[[Question], Reasons]
) -> list[Why | RowWarning]:
    """The same for a whole table, asked in blocks. Raises ModelError: a file says so once, not in every row."""
    whys: list[Why | RowWarning] = []
    for at in range(0, table.num_rows, MOST_ROWS):
        block = table.slice(at, MOST_ROWS)
        found = ask(ask_about(version, block, outputs[at : at + MOST_ROWS], seconds=BLOCK_SECONDS))
        whys += [_why(found, place, row) for place, row in enumerate(block.to_pylist())]
    return whys


def ask_about(version: ModelVersion, table: pa.Table, outputs: Sequence[int], *, seconds: float) -> Question:
    return Question(rows=table, outputs=outputs, background=background(version), seconds=seconds)


def explained_classes(schema: Schema, classes: Sequence[Label], indices: Any, count: int) -> list[int]:
    """The place of each row's explained class: the positive one of two, else the one that was answered."""
    if not classes:
        return [0] * count
    if len(classes) == 2:
        return [_positive(classes, schema.target.positive)] * count
    return [int(index) for index in indices]


def background(version: ModelVersion) -> pa.Table:
    """Reference rows, spread over all of them; none where the version has no reference data."""
    if version.reference is None or version.reference_id is None:
        return trusted_table(version.schema_object, [])
    return _background(version.pk, version.sha256, version.reference_id, version.reference.sha256)


def importance(reasons: Reasons) -> dict[str, float]:
    """The mean absolute contribution of each field, over the rows that were explained; the largest first."""
    means = np.abs(reasons.contributions[: reasons.done]).mean(axis=0)
    order = np.argsort(-means, kind="stable")
    return {reasons.columns[place]: float(means[place]) for place in order}


@lru_cache(maxsize=16)
def _background(version_id: int, _file: str, dataset_id: int, _data: str) -> pa.Table:
    """A version's schema and data never change once it answers, so that this may be kept: by number and by hash."""
    schema = ModelVersion.objects.only("schema").get(pk=version_id).schema_object
    table = sampling.spread(tables.read_dataset(Dataset.objects.get(pk=dataset_id)), 2 * BACKGROUND)
    checked = validate_columns(schema, table)
    return checked.table.filter(pa.array(checked.valid)).slice(0, BACKGROUND)


def _positive(classes: Sequence[Label], positive: Label | None) -> int:
    return next((place for place, each in enumerate(classes) if each == positive), 1)


def _nothing(error: ModelError) -> RowWarning:
    reason = f"{error} {error.detail}".strip() if error.code == "unexplainable" else str(error)
    return RowWarning("", NOT_EXPLAINED, reason)


def _why(found: Reasons, place: int, row: Mapping[str, Any]) -> Why | RowWarning:
    if place >= found.done:
        return RowWarning("", NOT_EXPLAINED, _("There was no time left to explain this row."))
    shares = found.contributions[place]
    order = np.argsort(-np.abs(shares), kind="stable")
    reasons = [
        Reason(found.columns[column], row.get(found.columns[column]), float(shares[column]))
        for column in order
    ]
    return Why(reasons, float(found.base[place]), found.scale)
