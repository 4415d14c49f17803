"""Latencies as counts in buckets that grow by 5 %: quantiles of any window, within 2.5 %, by adding counts.

Milliseconds in, milliseconds out. No Django, no database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

Histogram = dict[str, int]  # bucket number as text, because JSON knows no other keys

GROWTH = 1.05
LEAST_MS = 0.01
MOST_BUCKETS = 400  # past five minutes; slower than that is counted there


def histogram(milliseconds: Iterable[float]) -> Histogram:
    """Count latencies; what is not a time at all (negative, not finite) is left out."""
    values = np.asarray(list(milliseconds), dtype=np.float64)
    values = values[np.isfinite(values) & (values >= 0)]
    if not values.size:
        return {}
    steps = np.log(np.maximum(values, LEAST_MS) / LEAST_MS) / math.log(GROWTH)
    buckets, counts = np.unique(np.minimum(steps, MOST_BUCKETS).astype(np.int64), return_counts=True)
    return {str(int(bucket)): int(number) for bucket, number in zip(buckets, counts, strict=True)}


def merge(histograms: Iterable[Mapping[str, int]]) -> Histogram:
    total: Histogram = {}
    for counted in histograms:
        for bucket, number in counted.items():
            total[bucket] = total.get(bucket, 0) + number
    return total


def quantile(counted: Mapping[str, int], q: float) -> float | None:
    """The latency that a share q of the requests did not exceed; the middle of its bucket."""
    total = sum(counted.values())
    if not total:
        return None
    wanted = max(1, math.ceil(q * total))
    seen = 0
    for bucket in sorted(int(key) for key in counted):
        seen += counted[str(bucket)]
        if seen >= wanted:
            return float(LEAST_MS * GROWTH ** (bucket + 0.5))
    raise AssertionError("unreachable: the last bucket holds the last request")


def summary(counted: Mapping[str, int]) -> dict[str, float | None]:
    return {"p50": quantile(counted, 0.5), "p95": quantile(counted, 0.95), "p99": quantile(counted, 0.99)}
