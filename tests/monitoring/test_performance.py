"""Realized performance, against scikit-learn; and states that need both certainty and size."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from monitoring import performance
from monitoring.performance import Outcomes


def binary(rows: int = 400) -> Outcomes:
    rng = np.random.default_rng(5)
    score = np.round(rng.random(rows), 2)
    actual = rng.random(rows) < score
    return Outcomes(
        actual=["yes" if a else "no" for a in actual],
        label=["yes" if s >= 0.5 else "no" for s in score],
        probabilities=[{"yes": s, "no": 1 - s} for s in score],
    )


def test_binary_metrics_agree_with_scikit_learn() -> None:
    rows = binary()
    result = performance.classification(rows, ["no", "yes"], "yes")
    score = [row["yes"] for row in rows.probabilities]
    actual = [a == "yes" for a in rows.actual]

    assert result["n"] == 400
    assert result["metrics"] == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(rows.actual, rows.label),
            "auc": metrics.roc_auc_score(actual, score),
            "log_loss": metrics.log_loss(actual, score),
            "precision": metrics.precision_score(rows.actual, rows.label, pos_label="yes"),
            "recall": metrics.recall_score(rows.actual, rows.label, pos_label="yes"),
            "f1": metrics.f1_score(rows.actual, rows.label, pos_label="yes"),
        }
    )
    assert result["confusion"] == metrics.confusion_matrix(rows.actual, rows.label).tolist()


def test_three_classes_average_over_the_classes() -> None:
    rng = np.random.default_rng(6)
    chances = rng.dirichlet([1, 1, 1], 300)
    actual = [int(rng.choice(3, p=row)) for row in chances]
    label = [int(row.argmax()) for row in chances]
    rows = Outcomes(actual, label, [{str(i): float(p) for i, p in enumerate(row)} for row in chances])

    result = performance.classification(rows, [0, 1, 2])

    assert result["metrics"]["auc"] == pytest.approx(
        metrics.roc_auc_score(actual, chances, multi_class="ovr")
    )
    assert result["metrics"]["f1"] == pytest.approx(metrics.f1_score(actual, label, average="macro"))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    actual = rng.normal(100, 20, 200)
    predicted = actual + rng.normal(1, 5, 200)

    result = performance.regression(Outcomes(list(actual), list(predicted)))["metrics"]

    assert result["mae"] == pytest.approx(metrics.mean_absolute_error(actual, predicted))
    assert result["rmse"] == pytest.approx(metrics.root_mean_squared_error(actual, predicted))
    assert result["r2"] == pytest.approx(metrics.r2_score(actual, predicted))
    assert result["bias"] == pytest.approx((predicted - actual).mean())


@pytest.mark.parametrize(
    "rows",
    [
        Outcomes(),
        Outcomes(["yes"], ["yes"], [{"yes": 1.0, "no": 0.0}]),
        Outcomes(["maybe", None], ["yes", "no"], [{}, {}]),
        Outcomes(["yes", "no"], ["no", "no"], []),
    ],
)
def test_odd_outcomes_break_nothing(rows: Outcomes) -> None:
    assert set(performance.classification(rows, ["no", "yes"], "yes")["metrics"]) >= {"accuracy", "auc"}
    assert set(performance.regression(rows)["metrics"]) == {"mae", "rmse", "r2", "bias"}


@pytest.mark.parametrize(
    ("n", "accuracy", "state"),
    [
        (29, 0.1, "insufficient_data"),
        (1000, 0.80, "ok"),
        (1000, 0.90, "ok"),
        (5000, 0.77, "watch"),
        (1000, 0.70, "drift"),
        (40, 0.70, "ok"),  # could well be chance
    ],
)
def test_a_drop_must_be_sure_and_large(n: int, accuracy: float, state: str) -> None:
    realized: dict[str, Any] = {"n": n, "metrics": {"accuracy": accuracy}}

    assert performance.state("classification", realized, {"accuracy": 0.8}, 5000) == state


def test_a_rising_error_alarms_for_regressions() -> None:
    realized: dict[str, Any] = {"n": 500, "metrics": {"mae": 8.0}, "error_std": 3.0}

    assert performance.state("regression", realized, {"mae": 5.0}, 300) == "drift"
    assert performance.state("regression", realized, {"mae": 7.9}, 300) == "ok"
    assert performance.state("regression", realized, {}, 300) == "insufficient_data"
