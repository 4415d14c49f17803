"""Charts with everything that belongs to one: the sentence, the figure, and the same numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from monitoring import figures, words
from monitoring.figures import Figure, Line, Marker
from monitoring.models import State, Verdict
from monitoring.windows import Service
from registry.models import RegisteredModel, Release

MOST_COLUMNS = 40


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of a page. `name` is also the name of its CSV file."""

    name: str
    title: str
    sub: str
    figure: Figure
    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    size: str = ""
    numeric: frozenset[int] = field(default_factory=frozenset)  # columns of the table that hold numbers


def release_markers(model: RegisteredModel, environment: str) -> list[Marker]:
    releases = Release.objects.of(model, environment).order_by("number")
    return [Marker(each.created_at, each.version.label) for each in releases]


# ---------------------------------------------------------------------------------------------- drift


def prediction_drift(verdicts: Sequence[Verdict], markers: Sequence[Marker]) -> Chart:
    """How far the answers have moved from those on the reference, window after window."""
    times = [verdict.window_end for verdict in verdicts]
    names = _output_names(verdicts)
    by_name = [{each["name"]: each for each in verdict.outputs} for verdict in verdicts]
    series = [Line(_plain_output(name), [_psi(row.get(name)) for row in by_name]) for name in names]
    floors = [_largest(row.get(name, {}).get("noise_floor") for name in names) for row in by_name]
    limits = (
        by_name[-1][names[0]]["thresholds"]
        if names and names[0] in by_name[-1]
        else {"watch": 0.1, "drift": 0.2}
    )
    figure = figures.lines(
        times,
        [*series, Line(_("noise floor"), floors, "reference")],
        y="PSI",
        thresholds=[(limits["watch"], _("Watch"), "warn"), (limits["drift"], _("Alert"), "bad")],
        markers=markers,
    )
    latest = _largest(_psi(by_name[-1].get(name)) for name in names) if verdicts else None
    return Chart(
        name="predictions",
        title=_("Predictions: PSI %(psi)s in the last window; alert from %(limit)s.")
        % {"psi": words.number(latest), "limit": words.number(limits["drift"])},
        sub=_("PSI of the answers against those on the reference. Below the noise floor it says nothing."),
        figure=figure,
        headers=[_("Window from"), _("to"), _("Version"), *map(_plain_output, names), _("Noise floor")],
        rows=[
            [*_span(verdict), verdict.version.label, *(_psi(row.get(name)) for name in names), floor]
            for verdict, row, floor in zip(verdicts, by_name, floors, strict=True)
        ],
        numeric=frozenset(range(3, 4 + len(names))),
    )


def distribution(verdict: Verdict, column: dict[str, Any]) -> Chart:
    """Reference and now, on the same bins."""
    labels, then, now = column["bins"], column["reference"], column["current"]
    rows = sorted(
        zip(labels, then, now, strict=True), key=lambda row: -row[1] if column["type"] == "category" else 0
    )
    shown = rows[:MOST_COLUMNS]
    totals = (sum(then) or 1, sum(now) or 1)
    return Chart(
        name="distribution",
        title=_("%(column)s: %(why)s") % {"column": column["name"], "why": words.column(column)},
        sub=_("Reference %(then)s rows, now %(now)s rows, on the same bins.")
        % {"then": words.count(column["n_reference"]), "now": words.count(column["n_current"])},
        figure=figures.distribution(
            [row[0] for row in shown],
            [row[1] for row in shown],
            [row[2] for row in shown],
            names=(_("reference"), _("now")),
            y=_("share of rows"),
        ),
        headers=[_("Values"), _("Reference, rows"), _("Reference, share"), _("Now, rows"), _("Now, share")],
        rows=[[label, a, a / totals[0], b, b / totals[1]] for label, a, b in rows],
        numeric=frozenset({1, 2, 3, 4}),
    )


def heat_map(verdicts: Sequence[Verdict]) -> Chart:
    """PSI of every input in every window, the most drifted input on top."""
    latest = {each["name"]: _psi(each) or 0.0 for each in verdicts[-1].columns}
    names = sorted(latest, key=lambda name: -latest[name])[:MOST_COLUMNS]
    by_name = [{each["name"]: each for each in verdict.columns} for verdict in verdicts]
    values = [[_judged_psi(row.get(name)) for row in by_name] for name in names]
    windows = [f"{verdict.window_start:%Y-%m-%d}" for verdict in verdicts]
    drifted = [each["name"] for each in verdicts[-1].columns if each["state"] == State.DRIFT]
    return Chart(
        name="heat-map",
        title=_("Drifted in the last window: %(names)s.") % {"names": ", ".join(drifted)}
        if drifted
        else _("No input drifted in the last window."),
        sub=_("PSI of each input in each window (by its first day); empty where it could not be judged."),
        figure=figures.heat_map(names, windows, values, name="PSI", limit=0.4),
        headers=[_("Input"), *windows],
        rows=[[name, *row] for name, row in zip(names, values, strict=True)],
        size="tall",
        numeric=frozenset(range(1, len(windows) + 1)),
    )


def performance(verdicts: Sequence[Verdict], markers: Sequence[Marker]) -> Chart | None:
    """The realized metric of each window beside what was measured before the release."""
    known = [verdict for verdict in verdicts if _metric(verdict) is not None]
    if not known:
        return None
    main = known[-1].performance["main"]
    name = _("accuracy") if main == "accuracy" else _("mean absolute error")
    expected = [verdict.performance.get("reference", {}).get(main) for verdict in known]
    metrics = [_metric(verdict) for verdict in known]
    facts = {"name": name, "now": words.number(metrics[-1]), "then": words.number(expected[-1])}
    return Chart(
        name="performance",
        title=_("Realized %(name)s %(now)s in the last window with outcomes; %(then)s when checked.") % facts,
        sub=_("From the outcomes that were reported; with how many, the table says."),
        figure=figures.lines(
            [verdict.window_end for verdict in known],
            [Line(name, metrics, "serving"), Line(_("when checked"), expected, "reference")],
            y=name,
            markers=markers,
            from_zero=main != "accuracy",
        ),
        headers=[
            _("Window from"),
            _("to"),
            _("Version"),
            name,
            _("When checked"),
            _("Outcomes"),
            _("Coverage"),
        ],
        rows=[
            [
                *_span(verdict),
                verdict.version.label,
                now,
                then,
                verdict.performance["n"],
                words.share(verdict.performance.get("coverage")),
            ]
            for verdict, now, then in zip(known, metrics, expected, strict=True)
        ],
        numeric=frozenset({3, 4, 5, 6}),
    )


# ---------------------------------------------------------------------------------------------- service


def requests(steps: Sequence[tuple[datetime, Service]], markers: Sequence[Marker]) -> Chart:
    """Calls that somebody waited for, by how they ended."""
    total = sum(each.requests for _at, each in steps)
    failed = sum(each.failed for _at, each in steps)
    figure = figures.bars(
        [at for at, _each in steps],
        [
            Line(
                _("answered"), [each.requests - each.failed - each.refused for _at, each in steps], "serving"
            ),
            Line(_("refused (4xx)"), [each.refused for _at, each in steps], "warn"),
            Line(_("failed (5xx)"), [each.failed for _at, each in steps], "bad"),
        ],
        y=_("requests"),
        markers=markers,
    )
    return Chart(
        name="requests",
        title=_("%(total)s requests, %(failed)s failed.")
        % {"total": words.count(total), "failed": words.count(failed)},
        sub=_("By page and API; refused is what the caller could mend, failed is ours. Times are UTC."),
        figure=figure,
        headers=[_("From (UTC)"), _("Requests"), _("Refused (4xx)"), _("Failed (5xx)")],
        rows=[[_stamp(at), each.requests, each.refused, each.failed] for at, each in steps],
        numeric=frozenset({1, 2, 3}),
    )


def rows(steps: Sequence[tuple[datetime, Service]], markers: Sequence[Marker]) -> Chart:
    """Everything that was answered, whoever waited for it."""
    total = sum(each.rows for _at, each in steps)
    return Chart(
        name="rows",
        title=_("%(total)s rows answered, %(batch)s of them in batches.")
        % {"total": words.count(total), "batch": words.count(sum(each.batch_rows for _at, each in steps))},
        sub=_("One row is one prediction; times are UTC."),
        figure=figures.bars(
            [at for at, _each in steps],
            [
                Line(_("page and API"), [each.rows - each.batch_rows for _at, each in steps], "serving"),
                Line(_("batches"), [each.batch_rows for _at, each in steps], "3"),
            ],
            y=_("rows"),
            markers=markers,
        ),
        headers=[_("From (UTC)"), _("Page and API"), _("Batches")],
        rows=[[_stamp(at), each.rows - each.batch_rows, each.batch_rows] for at, each in steps],
        numeric=frozenset({1, 2}),
    )


def latencies(steps: Sequence[tuple[datetime, Service]], total: Service, markers: Sequence[Marker]) -> Chart:
    figures_of = [each.to_json() for _at, each in steps]
    p95 = total.to_json()["p95"]
    return Chart(
        name="latency",
        title=_("95 %% of the requests were answered within %(p95)s.") % {"p95": words.milliseconds(p95)},
        sub=_("From the question to the durable record; quantiles within 2.5 %."),
        figure=figures.lines(
            [at for at, _each in steps],
            [Line(name, [row[name] for row in figures_of]) for name in ("p50", "p95", "p99")],
            y=_("milliseconds"),
            markers=markers,
        ),
        headers=[_("From (UTC)"), "p50 ms", "p95 ms", "p99 ms"],
        rows=[
            [_stamp(at), row["p50"], row["p95"], row["p99"]]
            for (at, _each), row in zip(steps, figures_of, strict=True)
        ],
        numeric=frozenset({1, 2, 3}),
    )


# ---------------------------------------------------------------------------------------------- small things


def _output_names(verdicts: Sequence[Verdict]) -> list[str]:
    names: dict[str, None] = {}
    for verdict in verdicts:
        names |= dict.fromkeys(each["name"] for each in verdict.outputs)
    return list(names)[:6]


def _plain_output(name: str) -> str:
    if name == "prediction":
        return _("predicted value")
    return _("probability of %(label)s") % {"label": name.removeprefix("probability_")}


def _psi(column: dict[str, Any] | None) -> float | None:
    return column["psi"] if column else None


def _judged_psi(column: dict[str, Any] | None) -> float | None:
    return None if column is None or column["state"] == State.INSUFFICIENT_DATA else column["psi"]


def _largest(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _metric(verdict: Verdict) -> float | None:
    metrics = verdict.performance.get("metrics", {})
    value: float | None = metrics.get(verdict.performance.get("main"))
    return value


def _span(verdict: Verdict) -> list[str]:
    return [_stamp(verdict.window_start), _stamp(verdict.window_end)]


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
