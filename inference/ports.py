"""What the app above is told about answered calls, and what the batch side answers here.

The arrow points down: monitoring imports this module and appends its own callables in `AppConfig.ready`.
A sink runs inside the transaction that stores the rows, so counts and rows are committed together or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

Label = str | int | bool


@dataclass(frozen=True, kw_only=True)
class CallBatch:
    """Answered calls of one model, version, environment and channel, column by column.

    `source` names the batch for good: the same rows always come under the same name, so a sink that remembers
    names counts nothing twice. Row `i` is `columns.slice(i, 1)`, `at[i]`, `labels[i]`, `values[i]`, `probabilities[i]`.
    Calls that were refused have a status and a latency but no rows, and `version_id` is None where nothing was serving.
    """

    source: str
    model_id: int
    version_id: int | None
    environment: str
    channel: str  # page, api, batch
    columns: (
        pa.Table
    )  # inputs after validation: the schema's columns in the schema's order; no rows is allowed
    at: Sequence[datetime] = ()  # of each row, UTC
    labels: Sequence[Label | None] = ()  # the class with its own type; None for regression
    values: Sequence[float | None] = ()  # probability of the positive class (binary), or the regression
    probabilities: Sequence[
        Sequence[float]
    ] = ()  # of each row, in the order of `classes`; empty for regression
    classes: Sequence[Label] = ()
    call_at: Sequence[datetime] = ()  # of each call, UTC
    call_statuses: Sequence[int] = ()  # the HTTP status that the caller got
    call_latencies: Sequence[float] = ()  # milliseconds, from the question to the durable record
    call_rows: Sequence[int] = ()  # how many rows the call asked

    def __len__(self) -> int:
        return len(self.at)


Sink = Callable[[CallBatch], None]

sinks: list[Sink] = []
"""Each is called once with every batch of calls, inside the transaction that stores it."""


def publish(batch: CallBatch) -> None:
    """Hand a batch of calls to everyone who listens; a sink that raises undoes the whole transaction."""
    for sink in sinks:
        sink(batch)


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """One answered question, wherever its row is stored: in the look-up table, or in a batch's columnar part."""

    public_id: str
    model_id: int
    version_id: int
    environment: str
    channel: str
    at: datetime
    label: Label | None
    value: float | None
    probabilities: Mapping[str, float] | None
    inputs: Mapping[str, Any]
    warnings: Sequence[Mapping[str, Any]] = ()
    why: Mapping[str, Any] | None = None  # reasons, base and scale, where they were asked for
    release_number: int | None = None
    user_id: int | None = None
    user_name: str = ""
    request_id: str = ""
    latency_ms: float | None = None
    inputs_removed_at: datetime | None = None  # the model's policy emptied them
    extra: Mapping[str, Any] = field(default_factory=dict)


Resolver = Callable[[Sequence[str]], Mapping[str, PredictionRecord]]

resolvers: dict[str, Resolver] = {}
"""By the prefix of an id ("b"): the batch side answers for the rows that live in its parts."""
