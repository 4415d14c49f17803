"""Latency histograms: quantiles within 2.5 %, and exact under merging."""

import math

import numpy as np
import pytest

from monitoring import latency


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_quantiles_are_within_two_and_a_half_per_cent(q: float) -> None:
    times = np.random.default_rng(0).lognormal(3, 1, 20_000)

    found = latency.quantile(latency.histogram(times), q)

    assert found == pytest.approx(np.quantile(times, q, method="inverted_cdf"), rel=0.026)


def test_merged_minutes_equal_one_pass() -> None:
    times = np.random.default_rng(1).exponential(40, 5000)

    assert latency.merge(latency.histogram(part) for part in np.array_split(times, 13)) == latency.histogram(
        times
    )


def test_odd_times_break_nothing() -> None:
    assert latency.histogram([math.nan, math.inf, -1.0]) == {}
    assert latency.quantile({}, 0.5) is None
    assert latency.summary(latency.histogram([0.0, 1e12]))["p50"] == pytest.approx(0.01, rel=0.03)
