"""Figures: plain JSON, at most 300 points a trace, gaps where nothing is known."""

import json
import math
from datetime import UTC, datetime, timedelta

from monitoring import figures
from monitoring.figures import Line, Marker

START = datetime(2026, 1, 1, tzinfo=UTC)


def hours(number: int) -> list[datetime]:
    return [START + timedelta(hours=i) for i in range(number)]


def test_a_year_of_hours_is_thinned_to_300_points() -> None:
    figure = figures.lines(hours(8760), [Line("p95", [float(i) for i in range(8760)])], y="ms")

    assert len(figure["data"][0]["x"]) == 300
    assert figure["data"][0]["y"][-1] == 8759
    assert len(json.dumps(figure)) < 200_000


def test_unknown_and_infinite_values_are_gaps() -> None:
    figure = figures.lines(hours(3), [Line("psi", [0.1, None, math.inf])], y="PSI")

    assert figure["data"][0]["y"] == [0.1, None, None]


def test_traces_name_their_meaning_and_differ_by_dash() -> None:
    series = [Line("now", [1, 2], "serving"), Line("reference", [1, 1], "reference")]
    now, then = figures.lines(hours(2), series, y="share")["data"]

    assert (now["meta"], now["line"]["dash"]) == ({"tone": "serving"}, "solid")
    assert (then["meta"], then["line"]["dash"]) == ({"tone": "reference"}, "dash")


def test_thresholds_are_drawn_with_their_name() -> None:
    layout = figures.lines(hours(2), [Line("psi", [0, 1])], y="PSI", thresholds=[(0.2, "Alert", "bad")])[
        "layout"
    ]

    assert (layout["shapes"][0]["name"], layout["annotations"][0]["text"]) == ("bad", "Alert")


def test_it_marks_releases_within_the_window_only() -> None:
    markers = [Marker(START + timedelta(hours=1), "v2"), Marker(START - timedelta(days=9), "v1")]
    figure = figures.lines(hours(3), [Line("psi", [0, 0, 0])], y="PSI", markers=markers)

    assert [note["text"] for note in figure["layout"]["annotations"]] == ["v2"]


def test_distributions_are_shares_of_the_same_bins() -> None:
    figure = figures.distribution(["a", "b"], [30, 10], [1, 3], names=("then", "now"), y="share")

    assert [list(trace["y"]) for trace in figure["data"]] == [[0.75, 0.25], [0.25, 0.75]]


def test_every_figure_is_json() -> None:
    drawn = [
        figures.distribution([], [], [], names=("a", "b"), y=""),
        figures.bars(hours(2), [Line("ok", [1, None])], y="requests"),
        figures.heat_map(["a"], ["w1", "w2"], [[0.1, None]], name="PSI", limit=0.2),
        figures.lines([], [], y=""),
    ]

    assert json.dumps(drawn, allow_nan=False)


def test_a_sparkline_needs_two_points() -> None:
    assert figures.sparkline([3.0]) == ""
    assert figures.sparkline([0, 10, None, 5]).count(",") == 3
