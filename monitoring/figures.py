"""Numbers in, Plotly figures (as JSON objects) out. No Django, no statistics, no words of its own.

A trace names its meaning, never a colour: `meta.tone`, which `static/js/charts.js` turns into the colours of the
theme. The reference is grey and dashed, what happens now is blue and solid; every series also differs by dash, marker
or pattern. At most 300 points a trace, so that a page stays light whatever the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

Figure = dict[str, Any]

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = ("circle", "diamond", "square", "triangle-up", "x", "star")
PATTERNS = ("", "/", ".", "x", "-", "+")
MOST_POINTS = 300
LONGEST_LABEL = 24


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at an instant: a release, a rollback."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    values: Sequence[float | None]
    tone: str = ""  # reference, serving, ok, warn, bad …; empty: the next colour in order


def distribution(
    labels: Sequence[str], reference: Sequence[int], current: Sequence[int], *, names: tuple[str, str], y: str
) -> Figure:
    """The shares of the same bins, then and now, beside each other."""
    figure = go.Figure()
    sides = ((reference, names[0], "reference", "/"), (current, names[1], "serving", ""))
    for values, name, tone, pattern in sides:
        total = sum(values) or 1
        figure.add_bar(
            x=[_short(label) for label in labels],
            y=[value / total for value in values],
            name=name,
            meta={"tone": tone},
            marker={"pattern": {"shape": pattern, "fillmode": "overlay"}},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(
        barmode="group",
        yaxis={"title": y, "tickformat": ".0%", "rangemode": "tozero"},
        xaxis={"type": "category"},
    )
    return _finish(figure)


def lines(
    times: Sequence[datetime],
    series: Sequence[Line],
    *,
    y: str,
    tickformat: str = "",
    thresholds: Sequence[tuple[float, str, str]] = (),
    markers: Sequence[Marker] = (),
    from_zero: bool = True,
) -> Figure:
    """Lines over one time axis; a missing value is a gap, not a zero. Thresholds: value, text, tone."""
    keep = _thin(len(times))
    figure = go.Figure()
    for index, line in enumerate(series):
        is_reference = line.tone == "reference"
        figure.add_scatter(
            x=[_stamp(times[i]) for i in keep],
            y=[_number(line.values[i]) for i in keep],
            name=line.name,
            meta={"tone": line.tone or str(index % 7 + 1)},
            mode="lines" if is_reference else "lines+markers",
            line={"dash": "dash" if is_reference else DASHES[index % len(DASHES)]},
            marker={"symbol": MARKS[index % len(MARKS)], "size": 6},
            connectgaps=False,
        )
    lowest = min((value for value, _text, _tone in thresholds), default=None) if len(thresholds) > 1 else None
    for value, text, tone in thresholds:
        figure.add_hline(y=value, name=tone, line={"dash": "dot"})
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=value,
            yanchor="top" if value == lowest else "bottom",
            text=text,
            name=tone,
            showarrow=False,
        )
    _mark(figure, times, markers)
    figure.update_layout(yaxis={"title": y, "tickformat": tickformat})
    if from_zero:
        figure.update_yaxes(rangemode="tozero")
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
            meta={"tone": line.tone or str(index % 7 + 1)},
            marker={"pattern": {"shape": PATTERNS[index % len(PATTERNS)], "fillmode": "overlay"}},
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
    """One cell for each column and window, darkest from `limit` on; what could not be judged stays empty."""
    figure = go.Figure()
    figure.add_heatmap(
        x=list(windows),
        y=[_short(column) for column in columns],
        z=[[_number(value) for value in row] for row in values],
        zmin=0,
        zmax=limit,
        name=name,
        meta={"tone": "serving"},
        colorbar={"title": {"text": name}, "thickness": 12},
        hovertemplate="%{y}<br>%{x}<br>" + name + " %{z:.3f}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_layout(
        hovermode="closest",
        yaxis={"autorange": "reversed", "type": "category", "dtick": 1},
        xaxis={"type": "category"},
        margin={"l": 120, "r": 12, "t": 12, "b": 48},
    )
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
            figure.add_vline(x=_stamp(marker.at), name="info", line={"dash": "dashdot"})
            figure.add_annotation(
                x=_stamp(marker.at),
                y=1,
                yref="paper",
                yanchor="top",
                xanchor="left",
                text=marker.text,
                name="info",
                showarrow=False,
            )


def _finish(figure: go.Figure) -> Figure:
    figure.update_layout(template="none", showlegend=len(figure.data) > 1)
    return {
        "data": [trace.to_plotly_json() for trace in figure.data],
        "layout": figure.layout.to_plotly_json(),
    }


def _thin(size: int) -> list[int]:
    """Every point, or 300 spread evenly with the last one among them."""
    if size <= MOST_POINTS:
        return list(range(size))
    return [round(i * (size - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _number(value: float | None) -> float | None:
    """Plain JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
