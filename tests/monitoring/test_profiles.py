"""Profiles: bins fixed by the reference, counts that add up exactly, and no value that can break them."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import profiles
from monitoring.profiles import ColumnCounts, Counts, Profile

TYPES = {"age": "number", "hours": "integer", "sex": "category", "member": "boolean", "notes": "text"}


def table(seed: int, rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "age": [None if i % 17 == 0 else float(x) for i, x in enumerate(rng.normal(40, 12, rows))],
        "hours": rng.poisson(38, rows),
        "sex": [("f", "m", None)[i] for i in rng.choice(3, rows, p=[0.5, 0.45, 0.05])],
        "member": [bool(x) for x in rng.integers(0, 2, rows)],
        "notes": [f"note {x}" for x in rng.integers(0, 10, rows)],
    }


def slices(columns: dict[str, Any], size: int) -> list[dict[str, Any]]:
    rows = len(columns["age"])
    return [{name: v[start : start + size] for name, v in columns.items()} for start in range(0, rows, size)]


def exact(counts: Counts) -> dict[str, Any]:
    """All integers of the counts; sums of floats depend on the order of adding in the last digit."""
    data = counts.to_json()
    for column in data["columns"].values():
        column.pop("total", None)
        column.pop("squares", None)
    return data


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profiles.build(table(0, 4000), TYPES)


def test_it_makes_240_bins_of_equal_size_from_continuous_numbers(profile: Profile) -> None:
    column = profiles.build({"x": np.random.default_rng(0).normal(size=24_000)}, {"x": "number"}).columns["x"]

    assert len(column.edges) == 239
    assert len(column.counts) == 240
    assert set(column.counts) == {100}
    assert np.add.reduceat(column.counts, [0, *(d + 1 for d in column.deciles)]).tolist() == [2400] * 10


def test_it_keeps_tied_values_in_one_bin(profile: Profile) -> None:
    values = [0.0] * 600 + list(np.linspace(0.001, 1, 400))
    column = profiles.build({"x": values}, {"x": "number"}).columns["x"]

    assert column.edges[0] == 0.0
    assert column.counts[0] == 600
    assert sum(column.counts) == 1000


def test_it_takes_few_distinct_numbers_as_categories() -> None:
    column = profiles.build({"n": [1, 2, 2, 3] * 50}, {"n": "integer"}).columns["n"]

    assert (column.kind, column.categories, column.counts) == ("category", ("1", "2", "3"), (50, 100, 50, 0))


def test_it_keeps_the_200_most_frequent_categories_and_buckets_the_others() -> None:
    labels = [f"c{i}" for i in range(300) for _ in range(300 - i)]
    column = profiles.build({"x": labels}, {"x": "category"}).columns["x"]

    assert column.categories[0] == "c0"
    assert len(column.categories) == 200
    assert not column.is_complete
    assert sum(column.counts) == len(labels)


def test_merged_hours_equal_one_pass(profile: Profile) -> None:
    columns = table(1, 5000)

    parts = [profiles.count(part, profile) for part in slices(columns, 137)]
    stored = [Counts.from_json(json.loads(json.dumps(part.to_json()))) for part in reversed(parts)]
    merged, once = profiles.merge(stored), profiles.count(columns, profile)

    assert exact(merged) == exact(once)
    assert merged.columns["age"].total == pytest.approx(once.columns["age"].total)


def test_a_profile_survives_json(profile: Profile) -> None:
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_it_counts_every_row_as_valid_missing_invalid_or_wrong(profile: Profile) -> None:
    odd = [1.5, "2.5", None, math.nan, math.inf, -math.inf, "abc", [1], {}, 10**400, True, ""]
    counted = profiles.count({"age": odd}, profile).columns["age"]

    assert (counted.n, counted.missing, counted.invalid, counted.wrong) == (3, 3, 3, 3)
    assert counted.odd == {"[1]": 1, "abc": 1, "{}": 1}


def test_it_counts_the_same_value_once_whatever_type_carries_it() -> None:
    reference = profiles.build({"x": ["1", "2", "true"] * 50}, {"x": "category"})
    counted = profiles.count({"x": [1, 1.0, "1.0", "1", True, "True", "TRUE", np.bool_(True)]}, reference)
    by_label = dict(zip(reference.columns["x"].categories, counted.columns["x"].dense(3), strict=True))

    assert by_label == {"1": 4, "2": 0, "true": 4}
    assert counted.columns["x"].new == {}


def test_it_reads_booleans_in_words() -> None:
    reference = profiles.build({"x": [True, False] * 50}, {"x": "boolean"})
    counted = profiles.count({"x": ["yes", "NO", 1, 0, "perhaps"]}, reference).columns["x"]

    assert (counted.n, counted.wrong, counted.new) == (4, 1, {})


def test_it_notes_absent_and_unexpected_columns(profile: Profile) -> None:
    counted = profiles.count({"sex": ["f"] * 7, "shoe_size": [1] * 7}, profile)

    assert counted.columns["age"].absent == 7
    assert counted.extra == {"shoe_size": 7}


def test_it_counts_values_outside_the_reference_range(profile: Profile) -> None:
    counted = profiles.count({"age": [-500.0, 40.0, 9e9]}, profile).columns["age"]

    assert (counted.below, counted.above, counted.low, counted.high) == (1, 1, -500.0, 9e9)


def test_huge_numbers_lose_their_sum_but_not_their_bins(profile: Profile) -> None:
    counted = profiles.count({"age": [1e308, 1e308, -1e308]}, profile).columns["age"]

    assert (counted.n, counted.squares) == (3, None)
    assert ColumnCounts.from_json(json.loads(json.dumps(counted.to_json(), allow_nan=False))) == counted


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=4),
    st.dates(),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(values, max_size=40), st.lists(values, max_size=40), st.sampled_from(sorted(set(TYPES.values())))
)
def test_nothing_that_a_column_holds_breaks_it(then: list[Any], now: list[Any], type_: str) -> None:
    reference = profiles.build({"x": then}, {"x": type_})
    counted = profiles.count({"x": now}, reference)
    column = counted.columns["x"]

    assert column.n + column.missing + column.invalid + column.wrong == len(now)
    if reference.columns["x"].kind in ("number", "category"):
        assert sum(column.bins.values()) == column.n
    json.dumps([reference.to_json(), counted.to_json()], allow_nan=False)
