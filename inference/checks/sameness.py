"""Whether answers are sane, and equal to each other or to those of the training environment."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from inference.checks.outcome import Problem
from inference.runners import Answer
from registry.models import ModelVersion
from registry.schema import Label, Schema

SAME = 1e-9
#: Graphs add in single precision, and in another order when there are more rows.
SAME_IN_SINGLE = 1e-5
SUM_OF_ONE = 1e-5
SAME_ELSEWHERE = 1e-4


def require_sane(answer: Answer) -> None:
    for name, values in (("values", answer.values), ("probabilities", answer.probabilities)):
        if values is not None and not np.isfinite(values).all():
            raise Problem(
                _(
                    "Some answers are not finite (%(name)s). A step of the pipeline lets missing values through."
                )
                % {"name": name}
            )
    if answer.probabilities is not None and not np.allclose(
        answer.probabilities.sum(axis=1), 1, atol=SUM_OF_ONE
    ):
        raise Problem(_("The probabilities of some rows do not add up to 1."))


def tolerance(version: ModelVersion) -> float:
    return SAME_IN_SINGLE if version.globals.get("graph") else SAME


def row(answer: Answer, index: int) -> Answer:
    return Answer(
        answer.classes,
        None if answer.indices is None else answer.indices[index : index + 1],
        None if answer.probabilities is None else answer.probabilities[index : index + 1],
        None if answer.values is None else answer.values[index : index + 1],
        answer.seconds,
    )


def equal(one: Answer, other: Answer, tolerance: float) -> bool:
    return (
        _close(one.indices, other.indices, 0.0)
        and _close(one.probabilities, other.probabilities, tolerance)
        and _close(one.values, other.values, tolerance)
    )


def _close(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, rtol=tolerance, atol=tolerance)


def summary(answer: Answer) -> list[str]:
    if answer.indices is None:
        values = answer.values
        return [] if values is None else [f"{values.min():.4g} … {values.max():.4g}"]
    counts = np.bincount(answer.indices, minlength=len(answer.classes))
    return [f"{label}: {count}" for label, count in zip(answer.classes, counts, strict=True)][:20]


def compare_expected(
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
