"""The figures by which versions are judged: what they are called, and which way is better."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

#: What the checks measure again, by task; the first is what a person looks at first.
MEASURED: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "auc", "log_loss", "f1"),
    "regression": ("mae", "rmse", "r2"),
}

_WORDS: dict[str, str | Promise] = {
    "roc_auc": "ROC AUC",
    "auc": "AUC",
    "f1": "F1",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "mape": "MAPE",
    "log_loss": _("Log loss"),
    "brier": "Brier",
    "ece": "ECE",
}

#: Metrics where less is better; every other one is better when it grows.
_LESS_IS_BETTER = (
    "loss",
    "error",
    "mae",
    "mse",
    "rmse",
    "mape",
    "brier",
    "ece",
    "latency",
    "p95",
    "p50",
    "p99",
)


def name_of(metric: str) -> str:
    """`roc_auc` → ROC AUC; `balanced_accuracy` → Balanced accuracy."""
    return str(_WORDS.get(metric) or metric.replace("_", " ").capitalize())


def in_order(metrics: Iterable[str]) -> list[str]:
    """As people read them, then by name: a JSON column gives names back in whatever order its database likes."""
    known = [name for names in MEASURED.values() for name in names]
    return sorted(set(metrics), key=lambda name: (known.index(name) if name in known else len(known), name))


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures among what was measured or declared."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def is_less_better(metric: str) -> bool:
    lowered = metric.lower()
    parts = lowered.replace("-", "_").split("_")
    return any(word in parts or word in lowered for word in _LESS_IS_BETTER)


def is_same(now: float, then: float) -> bool:
    """A change too small to speak of."""
    return abs(now - then) < 0.0005 * max(1.0, abs(then))
