"""Two versions of a model side by side: what was measured, what they ask for, and how often they agree."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from django.utils.translation import gettext as _

from inference import engines
from inference.validation import validate_columns
from registry import gate, tables
from registry.errors import Refused
from registry.models import Dataset, ModelVersion
from registry.schema import diff

#: Rows of the reference data that both versions answer.
ROWS = 500
#: Two regressions agree when they differ by less than this share of the larger.
TOLERANCE = 0.01


def compare(a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    """Differences of the measured metrics, changes of the schema, agreement on the second's reference rows."""
    return {
        "a": a.number,
        "b": b.number,
        "metrics": _metrics(a.measured_metrics, b.measured_metrics),
        "schema": [asdict(change) for change in diff(a.schema_object, b.schema_object)],
        "agreement": _agreement(a, b),
    }


def _metrics(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys([*a, *b])
    return [
        {"name": name, "a": a.get(name), "b": b.get(name), "delta": _delta(a.get(name), b.get(name))}
        for name in names
    ]


def _delta(a: Any, b: Any) -> float | None:
    is_known = all(isinstance(value, int | float) for value in (a, b))
    return round(b - a, 6) if is_known else None


def _agreement(a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    """`rows` both answered and the share on which they agree, or why nobody can say."""
    reference = b.reference or a.reference
    if reference is None:
        return _unknown(_("Neither version has reference data."))
    if not (gate.may_answer(a) and gate.may_answer(b)):
        return _unknown(_("Only checked versions are asked."))
    if a.schema_object.target.task != b.schema_object.target.task:
        return _unknown(_("One is a classification, the other a regression."))
    try:
        return _agreement_on(reference, a, b)
    except Refused as error:
        return _unknown(str(error))


def _agreement_on(reference: Dataset, a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    table = tables.read_dataset(reference).slice(0, ROWS)
    typed = [_typed(version, table) for version in (a, b)]
    both = pa.array(typed[0][1] & typed[1][1])
    rows = int(np.sum(both.to_numpy(zero_copy_only=False)))
    if rows == 0:
        return _unknown(_("No row fits both versions."))
    answers = [
        engines.predict(version, cells.filter(both))
        for version, (cells, _valid) in zip((a, b), typed, strict=True)
    ]
    labels = [answer.labels for answer in answers]
    if labels[0] is not None and labels[1] is not None:
        same = [one == other for one, other in zip(*labels, strict=True)]
    else:
        first, second = (np.asarray(answer.values, np.float64) for answer in answers)
        same = np.isclose(first, second, rtol=TOLERANCE, atol=0).tolist()
    return {"rows": rows, "share": round(sum(same) / rows, 4), "note": ""}


def _typed(version: ModelVersion, table: pa.Table) -> tuple[pa.Table, Any]:
    names = [each.name for each in version.schema_object.fields if each.name in table.column_names]
    checked = validate_columns(version.schema_object, {name: table[name] for name in names})
    return checked.table, checked.valid


def _unknown(why: str) -> dict[str, Any]:
    return {"rows": 0, "share": None, "note": why}
