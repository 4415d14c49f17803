"""Numbers in, Plotly figures (as JSON objects) out. No Django, no statistics, no words of its own.

Colours are the tokens of the light theme; `static/js/monitoring/charts.js` swaps them for their dark twins. The
reference is always grey and dashed, what happens now is blue and solid; every series also differs by dash or marker.
At most 300 points a trace, so that a page stays light whatever the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

Figure = dict[str, Any]

BLUE, ORANGE, TEAL, PURPLE = "#1d4ed8", "#c2410c", "#0f766e", "#7e22ce"
AMBER, PINK, GREY = "#b45309", "#be185d", "#4b5563"
SERIES = (BLUE, ORANGE, TEAL, PURPLE, AMBER, PINK, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
MARKS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross")
SCALE = ((0.0, "#eff6ff"), (0.25, "#bfdbfe"), (0.5, "#fbbf24"), (1.0, "#b91c1c"))
MOST_POINTS = 300
HEIGHT = 320


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at an instant: a release, a rollback."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    values: Sequence[float | None]
    is_reference: bool = False


def distribution(
    labels: Sequence[str], reference: Sequence[int], current: Sequence[int], *, names: tuple[str, str], y: str
) -> Figure:
    """The shares of the same bins, then and now, beside each other."""
    figure = go.Figure()
    for values, name, colour, pattern in (
        (reference, names[0], GREY, "/"),
        (current, names[1], BLUE, ""),
    ):
        total = sum(values) or 1
        figure.add_bar(
            x=[_short(label) for label in labels],
            y=[value / total for value in values],
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": colour, "fillmode": "overlay"}},
            hovertemplate="%{x}<br>%{y:.1%}",
        )
    figure.update_layout(barmode="group", yaxis={"title": y, "tickformat": ".0%", "rangemode": "tozero"})
    figure.update_xaxes(type="category")
    return _finish(figure)


def lines(
    times: Sequence[datetime],
    series: Sequence[Line],
    *,
    y: str,
    tickformat: str = "",
    thresholds: Sequence[tuple[float, str]] = (),
    markers: Sequence[Marker] = (),
    from_zero: bool = True,
) -> Figure:
    """Lines over one time axis; a missing value is a gap, not a zero."""
    keep = _thin(len(times))
    x = [_stamp(times[i]) for i in keep]
    figure = go.Figure()
    for index, line in enumerate(series):
        colour = GREY if line.is_reference else SERIES[index % len(SERIES)]
        dash = "dash" if line.is_reference else DASHES[index % len(DASHES)]
        figure.add_scatter(
            x=x,
            y=[_number(line.values[i]) for i in keep],
            name=line.name,
            mode="lines" if line.is_reference else "lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": MARKS[index % len(MARKS)], "size": 6},
            connectgaps=False,
        )
    for value, text in thresholds:
        figure.add_hline(y=value, line={"color": AMBER, "dash": "dot", "width": 1}, annotation_text=text)
    _mark(figure, times, markers)
    figure.update_layout(yaxis={"title": y, "tickformat": tickformat} | _from_zero(from_zero))
    return _finish(figure)


def bars(
    times: Sequence[datetime], series: Sequence[Line], *, y: str, markers: Sequence[Marker] = ()
) -> Figure:
    """Stacked amounts over time."""
    keep = _thin(len(times))
    figure = go.Figure()
    for index, line in enumerate(series):
        figure.add_bar(
            x=[_stamp(times[i]) for i in keep],
            y=[_number(line.values[i]) for i in keep],
            name=line.name,
            marker={
                "color": SERIES[index % len(SERIES)],
                "pattern": {"shape": ("", "/", ".", "x")[index % 4], "fillmode": "overlay"},
            },
        )
    _mark(figure, times, markers)
    figure.update_layout(barmode="stack", yaxis={"title": y, "rangemode": "tozero"})
    return _finish(figure)


def heat_map(
    columns: Sequence[str],
    windows: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    name: str,
    limit: float,
) -> Figure:
    """One cell for each column and window; a cell that could not be judged stays empty."""
    figure = go.Figure()
    figure.add_heatmap(
        x=list(windows),
        y=list(columns),
        z=[[_number(value) for value in row] for row in values],
        zmin=0,
        zmax=2 * limit,
        colorscale=[list(stop) for stop in SCALE],
        colorbar={"title": name, "thickness": 12},
        hovertemplate="%{y}<br>%{x}<br>" + name + " %{z:.3f}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category")
    figure.update_layout(height=max(HEIGHT, 110 + 22 * len(columns)), margin={"l": 120})
    return _finish(figure)


def sparkline(values: Sequence[float | None], width: int = 120, height: int = 28) -> str:
    """The points of an SVG polyline, for a tile."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    top, step = max(known) or 1.0, width / (len(values) - 1)
    points = (
        (i * step, height - 2 - value / top * (height - 4))
        for i, value in enumerate(values)
        if value is not None
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _mark(figure: go.Figure, times: Sequence[datetime], markers: Sequence[Marker]) -> None:
    for marker in markers:
        if times and min(times) <= marker.at <= max(times):
            figure.add_vline(x=_stamp(marker.at), line={"color": PURPLE, "dash": "dashdot", "width": 1})
            figure.add_annotation(
                x=_stamp(marker.at), y=1, yref="paper", text=marker.text, showarrow=False, yanchor="bottom"
            )


def _finish(figure: go.Figure) -> Figure:
    figure.update_layout(
        template="none",
        height=figure.layout.height or HEIGHT,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hovermode="closest",
        dragmode=False,
    )
    figure.update_layout(margin={"l": figure.layout.margin.l or 56, "r": 16, "t": 40, "b": 48})
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return {
        "data": [trace.to_plotly_json() for trace in figure.data],
        "layout": figure.layout.to_plotly_json(),
    }


def _thin(size: int) -> list[int]:
    """Every point, or 300 spread evenly with the last one among them."""
    if size <= MOST_POINTS:
        return list(range(size))
    return [round(i * (size - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]


def _from_zero(wanted: bool) -> dict[str, str]:
    return {"rangemode": "tozero"} if wanted else {}


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _short(label: str) -> str:
    return label if len(label) <= 24 else label[:23] + "…"


def _number(value: float | None) -> float | None:
    """Plain JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
