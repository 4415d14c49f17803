"""A stand-in for the model runner: answers at once, by a rule that a test can foretell."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from inference import runners
from inference.runners import Answer, Question, Reasons
from registry.models import ModelVersion


def chance_by_age(table: pa.Table) -> list[float]:
    """A tenth of the decade: somebody of 40 has 0.4."""
    return [min(max(age, 0), 100) / 100 for age in table["age"].to_pylist()]


def classify(version: ModelVersion, table: pa.Table, deadline: float | None = None) -> Answer:
    chances = np.array(chance_by_age(table))
    return Answer(
        classes=("no", "yes"),
        indices=(chances >= 0.5).astype(int),
        probabilities=np.column_stack([1 - chances, chances]),
        values=chances,
        seconds=0.001,
    )


def regress(version: ModelVersion, table: pa.Table, deadline: float | None = None) -> Answer:
    values = np.array(table["age"].to_pylist(), dtype=float) * 2
    return Answer(classes=(), indices=None, probabilities=None, values=values, seconds=0.001)


def explain(version: ModelVersion, question: Question) -> Reasons:
    """Everything comes of the age, against a chance of one half."""
    chances = np.array(chance_by_age(question.rows))
    shares = [chances - 0.5 if name == "age" else 0 * chances for name in question.rows.column_names]
    return Reasons(
        columns=tuple(question.rows.column_names),
        contributions=np.column_stack(shares),
        base=np.full(len(chances), 0.5),
        scale="probability",
        method="trees",
        done=len(chances),
    )


def install(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer] = classify) -> None:
    monkeypatch.setattr(runners, "predict", answer)
    monkeypatch.setattr(runners, "explain", explain)


def row(**changes: Any) -> dict[str, Any]:
    """Inputs that fit the schema of the factories."""
    return {"age": 40, "income": 1000.0, "city": "Pune", **changes}


def failing(error: Exception) -> Callable[..., Answer]:
    def answer(*args: Any, **kwargs: Any) -> Answer:
        raise error

    return answer


def rows(count: int, **changes: Any) -> Sequence[dict[str, Any]]:
    return [row(age=20 + position % 60, **changes) for position in range(count)]
