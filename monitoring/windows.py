"""Rows of the database in, numbers out: everything that is known of a window, by adding up its parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Sum

from inference.models import Feedback
from monitoring import latency, profiles
from monitoring.models import ProfilePart, ServicePart
from monitoring.performance import Outcomes
from monitoring.profiles import Counts
from registry.models import ModelVersion, RegisteredModel

MOST_OUTCOMES = 200_000
BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to just before `end`, in whole hours, as the parts are."""

    start: datetime
    end: datetime

    @classmethod
    def up_to(cls, as_of: datetime, length: timedelta) -> "Window":
        end = hour_after(as_of)
        return cls(end - length, end)

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(slots=True)
class Service:
    """Calls of a window: how many, how many failed and how, how fast.

    A chunk of a batch is no request that somebody waits for: batches count as rows only.
    """

    requests: int = 0
    rows: int = 0
    batch_rows: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    latencies: dict[str, int] = field(default_factory=dict)

    def add(self, part: Mapping[str, Any]) -> None:
        self.rows += part["rows"]
        if part["channel"] == BATCH:
            self.batch_rows += part["rows"]
            return
        self.requests += part["requests"]
        self.latencies = latency.merge([self.latencies, part["latencies"]])
        for code, number in part["errors"].items():
            self.errors[code] = self.errors.get(code, 0) + number

    @property
    def failed(self) -> int:
        """Calls that we failed; what the caller did wrong (4xx) is counted but not held against the model."""
        return sum(number for code, number in self.errors.items() if code.startswith("5"))

    @property
    def refused(self) -> int:
        return sum(number for code, number in self.errors.items() if code.startswith("4"))

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "rows": self.rows,
            "batch_rows": self.batch_rows,
            "failed": self.failed,
            "refused": self.refused,
            "errors": self.errors,
            **latency.summary(self.latencies),
        }


Steps = list[tuple[datetime, Service]]


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_after(at: datetime) -> datetime:
    """The first full hour that is not before `at`."""
    start = hour_of(at)
    return start if start == at else start + timedelta(hours=1)


def counts(version: ModelVersion, environment: str, window: Window) -> tuple[Counts, Counts]:
    """Inputs and answers of the window, added up."""
    parts = ProfilePart.objects.within(window.start, window.end).filter(
        version=version, environment=environment, segment=""
    )
    rows = list(parts.values_list("inputs", "outputs"))
    inputs = profiles.merge(Counts.from_json(each) for each, _ in rows)
    outputs = profiles.merge(Counts.from_json(each) for _, each in rows if each)
    return inputs, outputs


def rows_by_day(model: RegisteredModel, environment: str, window: Window) -> dict[datetime, int]:
    parts = ProfilePart.objects.within(window.start, window.end).filter(
        version__model=model, environment=environment
    )
    days: dict[datetime, int] = {}
    for hour, rows in parts.values_list("hour").annotate(total=Sum("rows")).order_by("hour"):
        day = hour.replace(hour=0)
        days[day] = days.get(day, 0) + rows
    return days


def outcomes(version: ModelVersion, environment: str, window: Window) -> Outcomes:
    """The latest outcome of each prediction of the window that has one."""
    rows = (
        Feedback.objects.current()
        .filter(
            version=version,
            environment=environment,
            predicted_at__gte=window.start,
            predicted_at__lt=window.end,
        )
        .order_by("pk")
        .values_list("actual", "label", "value", "probabilities")[:MOST_OUTCOMES]
    )
    found, chances = Outcomes(), []
    is_regression = version.schema["target"]["task"] == "regression"
    for actual, label, value, probabilities in rows.iterator():
        found.actual.append(actual)
        found.label.append(value if is_regression else label)
        chances.append(probabilities or {})
    found.probabilities = chances
    return found


def service(model: RegisteredModel, environment: str, window: Window) -> Service:
    return _add_up(_service_parts(model, environment, window))


def service_of(steps: Steps) -> Service:
    """All steps together."""
    total = Service()
    for _at, step in steps:
        total.rows += step.rows
        total.batch_rows += step.batch_rows
        total.requests += step.requests
        total.errors = latency.merge([total.errors, step.errors])
        total.latencies = latency.merge([total.latencies, step.latencies])
    return total


def service_over_time(model: RegisteredModel, environment: str, window: Window, points: int = 60) -> Steps:
    """The window in steps of equal length, at most `points` of them; a step without calls is there, and empty."""
    step = _step(window.length, points)
    size = max(1, -(-window.length // step))
    buckets = [Service() for _ in range(size)]
    for part in _service_parts(model, environment, window):
        buckets[min((part["minute"] - window.start) // step, size - 1)].add(part)
    return [(window.start + index * step, bucket) for index, bucket in enumerate(buckets)]


def _service_parts(model: RegisteredModel, environment: str, window: Window) -> Iterable[Mapping[str, Any]]:
    parts = ServicePart.objects.filter(
        model=model, environment=environment, minute__gte=window.start, minute__lt=window.end
    )
    return parts.values("minute", "channel", "requests", "rows", "errors", "latencies").iterator()


def _add_up(parts: Iterable[Mapping[str, Any]]) -> Service:
    total = Service()
    for part in parts:
        total.add(part)
    return total


STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
)


def _step(length: timedelta, points: int) -> timedelta:
    """A step that people read easily."""
    return next((step for step in STEPS if length / step <= points), STEPS[-1])
