"""Who used what how much: calls, rows, refusals and p95 of the request log, by key, by model, by person or by day.

Latencies are counted in SQL in the buckets of `latency`, so that a month of calls is read as a few hundred numbers.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, F, FloatField, Q, Sum, Value
from django.db.models.functions import Cast, Floor, Greatest, Least, Ln, TruncDate
from django.utils import timezone
from django.utils.translation import gettext as _

from inference.models.calls import CallQuerySet
from monitoring import latency
from registry.models import RegisteredModel

DAYS = 30
#: What calls are counted by: the column that tells them apart, and the one that names them.
BY = {"key": "key_name", "model": "model_id", "person": "user_name", "day": ""}


@dataclass
class Use:
    """What one key, model or person used, on one day or over all of them."""

    name: str
    day: date | None = None
    calls: int = 0
    rows: int = 0
    refused: int = 0
    _latencies: latency.Histogram = field(default_factory=dict)

    def add(self, counted: Mapping[str, Any]) -> None:
        self.calls += counted["calls"]
        self.rows += counted["asked"] or 0
        self.refused += counted["refused"]
        if counted["bucket"] is not None:
            bucket = str(max(0, int(counted["bucket"])))
            self._latencies = latency.merge([self._latencies, {bucket: counted["calls"]}])

    @property
    def p95_ms(self) -> float | None:
        found = latency.quantile(self._latencies, 0.95)
        return None if found is None else round(found, 3)

    def to_json(self) -> dict[str, Any]:
        names = ("name", "calls", "rows", "refused", "p95_ms")
        return {"day": self.day, **{name: getattr(self, name) for name in names}}


def daily(calls: CallQuerySet, by: str) -> list[Use]:
    """The last 30 days, one entry for each day and key (model, person), newest day first, then by name."""
    found: dict[tuple[date, str], Use] = {}
    for counted, name in _counted(calls, by):
        found.setdefault((counted["day"], name), Use(name, counted["day"])).add(counted)
    return sorted(found.values(), key=lambda use: (-use.day.toordinal() if use.day else 0, use.name))


def totals(calls: CallQuerySet, by: str) -> list[Use]:
    """The last 30 days together, most calls first."""
    found: dict[str, Use] = defaultdict(lambda: Use(""))
    for counted, name in _counted(calls, by):
        found[name].name = name
        found[name].add(counted)
    return sorted(found.values(), key=lambda use: (-use.calls, use.name))


def since() -> Any:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=DAYS - 1)


def _counted(calls: CallQuerySet, by: str) -> Iterator[tuple[dict[str, Any], str]]:
    column = BY[by]
    rows = (
        calls.filter(at__gte=since())
        .order_by()
        .annotate(day=TruncDate("at"), bucket=_bucket())
        .values("day", "bucket", *([column] if column else []))
        .annotate(calls=Count("pk"), asked=Sum("rows"), refused=Count("pk", filter=Q(status__gte=400)))
    )
    slugs = dict(RegisteredModel.objects.values_list("pk", "slug")) if by == "model" else {}
    for counted in rows:
        found = slugs.get(counted["model_id"]) if by == "model" else column and counted[column]
        yield counted, _name(by, str(found or ""))


def _name(by: str, value: str) -> str:
    nothing = {"key": _("without a key"), "model": _("no known model"), "person": _("somebody"), "day": ""}
    return value or nothing[by]


def _bucket() -> Any:
    """The bucket of `latency.histogram`, computed where the rows are; none where no latency is known."""
    least = Greatest(F("latency_ms"), Value(latency.LEAST_MS), output_field=FloatField())
    steps = Ln(least / Value(latency.LEAST_MS)) / Value(math.log(latency.GROWTH))
    return Cast(Least(Floor(steps), Value(float(latency.MOST_BUCKETS))), FloatField())
