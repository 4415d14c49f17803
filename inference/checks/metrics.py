"""Figures recomputed from answers and outcomes. Arrays in, numbers out; no model is loaded here."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from registry.schema import Label

TOLERANCE = 0.005

Array = npt.NDArray[Any]


def of_classes(
    truth: Array,
    indices: Array,
    probabilities: Array | None,
    classes: Sequence[Label],
    positive: Label | None,
) -> dict[str, list[float]]:
    """Each metric under every usual averaging: the first value is the one we report.

    `truth` and `indices` are positions in `classes`.
    """
    from sklearn import metrics  # heavy: only the worker that checks needs it

    found = {"accuracy": [float(metrics.accuracy_score(truth, indices))]}
    everyone = list(range(len(classes)))
    if len(classes) == 2:
        mark = classes.index(positive) if positive in classes else 1
        found["f1"] = [float(metrics.f1_score(truth == mark, indices == mark, zero_division=0))]
    else:
        averages = ("macro", "weighted", "micro")
        found["f1"] = [
            float(metrics.f1_score(truth, indices, labels=everyone, average=average, zero_division=0))
            for average in averages
        ]
    if probabilities is not None and len(np.unique(truth)) > 1:
        found["log_loss"] = [float(metrics.log_loss(truth, _summing_to_one(probabilities), labels=everyone))]
        found["auc"] = _auc(truth, probabilities, everyone)
    return {name: values for name, values in found.items() if values}


def _summing_to_one(probabilities: Array) -> Array:
    """Those of a model in single precision miss it by a little."""
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def _auc(truth: Array, probabilities: Array, everyone: list[int]) -> list[float]:
    from sklearn.metrics import roc_auc_score

    if len(everyone) == 2:
        return [float(roc_auc_score(truth == 1, probabilities[:, 1]))]
    if len(np.unique(truth)) < len(everyone):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            float(
                roc_auc_score(
                    truth, _summing_to_one(probabilities), labels=everyone, multi_class=way, average=average
                )
            )
            for way, average in (("ovr", "macro"), ("ovr", "weighted"), ("ovo", "macro"))
        ]


def of_numbers(truth: Array, values: Array) -> dict[str, list[float]]:
    from sklearn import metrics

    found = {
        "mae": [float(metrics.mean_absolute_error(truth, values))],
        "rmse": [float(np.sqrt(metrics.mean_squared_error(truth, values)))],
    }
    if len(truth) > 1:
        found["r2"] = [float(metrics.r2_score(truth, values))]
    return found


def agrees(declared: float, measured: Sequence[float]) -> bool:
    """Whether a declared figure is one of the measured ones, whichever way its author averaged."""
    return any(abs(declared - value) <= TOLERANCE for value in measured)


def closest(declared: float, measured: Sequence[float]) -> float:
    return min(measured, key=lambda value: abs(declared - value))
