"""Realized performance: predictions beside what really happened. Arrays in, numbers out. No Django, no database.

Never raises on odd data: a metric that the rows do not define (one class only, constant outcomes) is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Metrics = dict[str, float | None]

LEAST_OUTCOMES = 30
SURE = 0.01  # one-sided p of a drop
WATCH_DROP, DRIFT_DROP = 0.02, 0.05  # accuracy, in points
WATCH_RISE, DRIFT_RISE = 0.10, 0.25  # mean absolute error, relative
CALIBRATION_BINS = 10


@dataclass(slots=True)
class Outcomes:
    """Rows whose outcome is known: what was answered, and what happened."""

    actual: list[Any] = field(default_factory=list)
    label: list[Any] = field(default_factory=list)  # the predicted class, or the predicted number
    probabilities: Sequence[Mapping[str, float]] = field(
        default_factory=list
    )  # by str(class); empty for regression


def classification(outcomes: Outcomes, classes: Sequence[Any], positive: Any = None) -> dict[str, Any]:
    """Accuracy, AUC, log loss, precision, recall, F1 and the confusion table (rows: what happened)."""
    names = [str(value) for value in classes]
    place = {name: index for index, name in enumerate(names)}
    actual = np.array([place.get(str(value), -1) for value in outcomes.actual], dtype=np.int64)
    label = np.array([place.get(str(value), -1) for value in outcomes.label], dtype=np.int64)
    known = (actual >= 0) & (label >= 0)
    chances = _probability_table(outcomes.probabilities, names, actual.size)[known]
    actual, label = actual[known], label[known]
    if not actual.size:
        return {
            "n": 0,
            "metrics": dict.fromkeys(("accuracy", "auc", "log_loss", "precision", "recall", "f1")),
        }
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (actual, label), 1)
    hot = place.get(str(positive)) if positive is not None else None
    metrics: Metrics = {"accuracy": float((actual == label).mean())}
    metrics["auc"] = _auc_of_classes(actual, chances, hot)
    metrics["log_loss"] = _log_loss(actual, chances)
    metrics |= _precision_recall(confusion, hot)
    return {
        "n": int(actual.size),
        "metrics": metrics,
        "classes": names,
        "confusion": confusion.tolist(),
        "calibration": _calibration(actual, chances, hot),
    }


def regression(outcomes: Outcomes) -> dict[str, Any]:
    """Mean absolute error, root mean squared error, R² and bias (answered minus happened)."""
    pairs = [(_number(a), _number(b)) for a, b in zip(outcomes.actual, outcomes.label, strict=True)]
    both = np.array([pair for pair in pairs if all(map(math.isfinite, pair))], dtype=np.float64).reshape(
        -1, 2
    )
    if not len(both):
        return {"n": 0, "metrics": dict.fromkeys(("mae", "rmse", "r2", "bias"))}
    actual, predicted = both[:, 0], both[:, 1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = predicted - actual
        total = float(((actual - actual.mean()) ** 2).sum())
        metrics = {
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "r2": 1 - float((error**2).sum()) / total if total > 0 else None,
            "bias": float(error.mean()),
        }
        spread = float(np.abs(error).std(ddof=1)) if len(both) > 1 else 0.0
    return {
        "n": len(both),
        "metrics": {k: _finite(v) for k, v in metrics.items()},
        "error_std": _finite(spread),
    }


def state(task: str, realized: Mapping[str, Any], reference: Mapping[str, Any], n_reference: int) -> str:
    """Has it become worse than the reference, surely and by enough to matter?"""
    n = int(realized.get("n", 0))
    main = "mae" if task == "regression" else "accuracy"
    now, then = realized.get("metrics", {}).get(main), reference.get(main)
    if n < LEAST_OUTCOMES or now is None or then is None:
        return "insufficient_data"
    if task == "regression":
        spread = (realized.get("error_std") or 0.0) * math.sqrt(1 / n + 1 / max(n_reference, 1))
        worse, watch, drift = now - then, WATCH_RISE * then, DRIFT_RISE * then
    else:
        spread = math.sqrt(max(then * (1 - then), 1 / (4 * n)) * (1 / n + 1 / max(n_reference, 1)))
        worse, watch, drift = then - now, WATCH_DROP, DRIFT_DROP
    p = float(stats.norm.sf(worse / spread)) if spread else float(worse <= 0)
    if p > SURE or worse < watch:
        return "ok"
    return "drift" if worse >= drift else "watch"


def auc(is_positive: npt.NDArray[Any], score: npt.NDArray[Any]) -> float | None:
    """Chance that a positive row scores above a negative one; ties count half."""
    positives = int(is_positive.sum())
    negatives = int(is_positive.size - positives)
    if not positives or not negatives:
        return None
    ranks = stats.rankdata(score)
    return float((ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _auc_of_classes(actual: npt.NDArray[np.int64], chances: Floats, hot: int | None) -> float | None:
    """Of the positive class, or the mean over classes against the rest."""
    if not _is_complete(chances):
        return None
    wanted = [hot] if hot is not None else range(chances.shape[1])
    values = [auc(actual == index, chances[:, index]) for index in wanted]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _log_loss(actual: npt.NDArray[np.int64], chances: Floats) -> float | None:
    if not _is_complete(chances):
        return None
    held = np.clip(chances[np.arange(actual.size), actual], 1e-15, 1.0)
    return float(-np.log(held).mean())


def _precision_recall(confusion: npt.NDArray[np.int64], hot: int | None) -> Metrics:
    """Of the positive class, or the plain mean over classes."""
    right = np.diag(confusion).astype(np.float64)
    answered, happened = confusion.sum(axis=0), confusion.sum(axis=1)
    if hot is not None:
        right, answered, happened = right[[hot]], answered[[hot]], happened[[hot]]
    precision = np.divide(right, answered, out=np.zeros_like(right), where=answered > 0)
    recall = np.divide(right, happened, out=np.zeros_like(right), where=happened > 0)
    f1 = np.divide(2 * right, answered + happened, out=np.zeros_like(right), where=(answered + happened) > 0)
    return {"precision": float(precision.mean()), "recall": float(recall.mean()), "f1": float(f1.mean())}


def _calibration(actual: npt.NDArray[np.int64], chances: Floats, hot: int | None) -> list[dict[str, float]]:
    """Said and seen shares of the positive class, in ten equal steps of what was said."""
    if hot is None or not _is_complete(chances):
        return []
    said, seen = chances[:, hot], actual == hot
    step = np.minimum((said * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return [
        {"n": int(here.sum()), "said": float(said[here].mean()), "seen": float(seen[here].mean())}
        for here in (step == index for index in range(CALIBRATION_BINS))
        if here.any()
    ]


def _probability_table(rows: Sequence[Mapping[str, float]], names: Sequence[str], size: int) -> Floats:
    table = np.full((size, len(names)), np.nan)
    for index, row in enumerate(rows[:size]):
        table[index] = [_number((row or {}).get(name)) for name in names]
    return table


def _is_complete(chances: Floats) -> bool:
    return bool(chances.size) and bool(np.isfinite(chances).all())


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
