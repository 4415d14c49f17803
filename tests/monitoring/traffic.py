"""Models with a past: reference data, a release, answered calls, outcomes; and a stand-in for the model service."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from inference import runners
from inference.models import Feedback
from inference.ports import CallBatch
from registry.models import ModelVersion
from tests.factories import create_dataset, create_model, create_release, create_version

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CITIES = np.array(["Delhi", "Pune"])


def people(seed: int, rows: int, *, income: float = 2000.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.integers(18, 90, rows).tolist(),
        "income": rng.normal(income, 500, rows).tolist(),
        "city": CITIES[rng.integers(0, 2, rows)].tolist(),
    }


def csv(columns: dict[str, Any]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"


def answer(table: pa.Table) -> runners.Answer:
    """A stand-in for the model service: whoever earns over 2,000 repays."""
    income = table.column("income").to_numpy(zero_copy_only=False)
    chance = 1 / (1 + np.exp(-(income - 2000) / 300))
    return runners.Answer(
        classes=("no", "yes"),
        indices=(chance > 0.5).astype(int),
        probabilities=np.stack([1 - chance, chance], axis=1),
        values=chance,
        seconds=0.01,
    )


def serving(**fields: Any) -> ModelVersion:
    """A version with reference data that serves since a year before NOW."""
    model = create_model(slug="repay")
    columns = people(0, 2000)
    columns["repaid"] = ["yes" if income > 2000 else "no" for income in columns["income"]]
    dataset = create_dataset(model=model, content=csv(columns))
    version = create_version(model=model, reference=dataset, measured_metrics={"accuracy": 0.95}, **fields)
    create_release(version=version, created_at=NOW - timedelta(days=365))
    return version


def calls(
    version: ModelVersion,
    columns: dict[str, Any],
    *,
    source: str = "segment:0-100",
    at: datetime = NOW - timedelta(hours=3),
    statuses: Sequence[int] = (200,),
) -> CallBatch:
    table = pa.table(columns)
    answered = answer(table)
    rows = len(table)
    return CallBatch(
        source=source,
        model_id=version.model_id,
        version_id=version.pk,
        environment="production",
        channel="api",
        columns=table,
        at=[at] * rows,
        labels=answered.labels or [],
        values=np.asarray(answered.values).tolist(),
        probabilities=np.asarray(answered.probabilities).tolist(),
        classes=answered.classes,
        call_at=[at] * len(statuses),
        call_statuses=statuses,
        call_latencies=[20.0] * len(statuses),
        call_rows=[rows] * len(statuses),
    )


def outcomes(
    version: ModelVersion, *, right: int, wrong: int, at: datetime = NOW - timedelta(hours=3)
) -> None:
    for i in range(right + wrong):
        Feedback.objects.create(
            prediction_id=f"p_{i}",
            model=version.model,
            version=version,
            environment="production",
            actual="yes" if i < right else "no",
            label="yes",
            value=0.9,
            probabilities={"yes": 0.9, "no": 0.1},
            predicted_at=at,
            at=at + timedelta(hours=1),
        )
