"""Is my model OK? The fleet, the health of a model's service, and the drift of its data."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_POST

from monitoring import actions, charts, figures, windows, words
from monitoring.charts import Chart
from monitoring.models import State, Verdict
from monitoring.windows import Service, Steps, Window
from portal.csp import chart_page
from portal.forms.monitoring import MonitoringForm
from portal.views.acts import attempt, on_the_record
from portal.views.gates import get_model
from portal.views.model_page import model_page, serving
from registry import permissions, spreadsheet
from registry.audit import Action
from registry.errors import Refused
from registry.models import PRODUCTION, Environment, RegisteredModel, Release, Role

PERIODS = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=366),
}
PERIOD_WORDS = {
    "day": lazy("24 hours"),
    "week": lazy("7 days"),
    "month": lazy("30 days"),
    "year": lazy("12 months"),
}
WINDOWS_SHOWN = 60
SPARK_DAYS = 14
COLUMN_FIGURES = (
    "name type state psi noise_floor js ks wasserstein chi2 p p_adjusted n_reference n_current missing out_of_range"
).split()
WORST_FIRST = (State.DRIFT, State.NOT_COMPARABLE, State.WATCH, State.OK, State.INSUFFICIENT_DATA)


@dataclass(frozen=True)
class Light:
    """One of the four answers about a model: a badge, and the sentence behind it."""

    name: str
    state: str

    @property
    def badge(self) -> str:
        return words.badge(self.state)


@dataclass(frozen=True)
class FleetRow:
    model: RegisteredModel
    release: Release
    verdict: Verdict | None
    lights: list[Light]
    spark: str
    today: int

    @property
    def overall(self) -> str:
        return words.badge(self.verdict.state) if self.verdict else "not_measured"

    @property
    def needs_attention(self) -> bool:
        return _rank(self.verdict) < WORST_FIRST.index(State.OK)


# ---------------------------------------------------------------------------------------------- the fleet


def fleet(request: HttpRequest) -> HttpResponse:
    """Every serving model that this person may see, worst first."""
    models = list(RegisteredModel.objects.visible_to(request.user))
    current = serving(models)
    rows = [_fleet_row(model, current[model.pk]) for model in models if model.pk in current]
    rows.sort(key=lambda row: (_rank(row.verdict), row.model.name))
    covered = [row.verdict.performance.get("coverage", 0) for row in rows if row.verdict and row.verdict.rows]
    context = {
        "rows": rows,
        "live": len(rows),
        "attention": sum(row.needs_attention for row in rows),
        "today": sum(row.today for row in rows),
        "coverage": sum(covered) / len(covered) if covered else None,
        "not_serving": len(models) - len(rows),
    }
    return render(request, "monitoring/fleet.html", context)


def _fleet_row(model: RegisteredModel, release: Release) -> FleetRow:
    now = timezone.now()
    verdict = Verdict.objects.of(model, PRODUCTION).newest()
    by_day = windows.rows_by_day(model, PRODUCTION, Window.up_to(now, timedelta(days=SPARK_DAYS)))
    today = windows.hour_of(now).replace(hour=0)
    days = [by_day.get(today - timedelta(days=back), 0) for back in reversed(range(SPARK_DAYS))]
    spark = figures.sparkline(days) if any(days) else ""
    return FleetRow(model, release, verdict, lights(verdict), spark, days[-1])


def lights(verdict: Verdict | None) -> list[Light]:
    names = (
        ("service", _("Service")),
        ("data", _("Data")),
        ("drift", _("Drift")),
        ("performance", _("Performance")),
    )
    return [Light(title, getattr(verdict, f"{name}_state", "")) for name, title in names]


def _rank(verdict: Verdict | None) -> int:
    return WORST_FIRST.index(State(verdict.state)) if verdict else len(WORST_FIRST)


# ---------------------------------------------------------------------------------------------- health


@chart_page
def model_health(request: HttpRequest, slug: str) -> HttpResponse:
    """Requests, errors and speed of one model in the period that the address names."""
    model = get_model(request, slug)
    environment = _environment(request)
    period = request.GET.get("period", "")
    period = period if period in PERIODS else "week"
    window = Window.up_to(timezone.now(), PERIODS[period])
    before = Window(window.start - window.length, window.start)
    steps = windows.service_over_time(model, environment, window)
    total = windows.service_of(steps)
    verdict = Verdict.objects.of(model, environment).newest()
    context = model_page(request, model, "health")
    context |= {
        "verdict": verdict,
        "sentence": words.sentence(verdict) if verdict else "",
        "verdict_badge": words.badge(verdict.state) if verdict else "not_measured",
        "lights": lights(verdict),
        "environment": environment,
        "period": period,
        "periods": PERIOD_WORDS.items(),
        "total": total,
        "facts": total.to_json(),
        "failed_share": total.failed / total.requests if total.requests else None,
        "availability": 1 - total.failed / total.requests if total.requests else None,
        "previous": windows.service(model, environment, before),
        "sparks": _sparks(steps),
        "charts": [
            chart
            for chart in _service_charts(model, environment, steps, total)
            if total.requests or chart.name == "rows"
        ],
        "errors": sorted(total.errors.items(), key=lambda item: -item[1]),
        "csv_base": reverse("health", args=[slug]),
        "csv_query": f"period={period}&environment={environment}",
    }
    return render(request, "monitoring/health.html", context)


def _service_charts(model: RegisteredModel, environment: str, steps: Steps, total: Service) -> list[Chart]:
    markers = charts.release_markers(model, environment)
    return [
        charts.requests(steps, markers),
        charts.latencies(steps, total, markers),
        charts.rows(steps, markers),
    ]


def _sparks(steps: Steps) -> dict[str, str]:
    rows = [each.to_json() for _at, each in steps]
    errors = [row["failed"] / row["requests"] if row["requests"] else None for row in rows]
    return {
        "requests": figures.sparkline([row["requests"] for row in rows]),
        "rows": figures.sparkline([row["rows"] for row in rows]),
        "errors": figures.sparkline(errors),
        "p95": figures.sparkline([row["p95"] for row in rows]),
    }


def health_csv(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    model = get_model(request, slug)
    window = Window.up_to(timezone.now(), PERIODS.get(request.GET.get("period", ""), PERIODS["week"]))
    environment = _environment(request)
    steps = windows.service_over_time(model, environment, window)
    return _csv(_service_charts(model, environment, steps, windows.service_of(steps)), name, slug)


# ---------------------------------------------------------------------------------------------- drift


@chart_page
def model_drift(request: HttpRequest, slug: str) -> HttpResponse:
    """The verdict of one window, and how it came to it."""
    model = get_model(request, slug)
    environment = _environment(request)
    history = _history(model, environment)
    verdict = _chosen(request, model, environment, history)
    context = model_page(request, model, "drift")
    context |= {
        "environment": environment,
        "verdict": verdict,
        "lights": lights(verdict),
        "windows": list(reversed(history)),
        "settings": actions.settings_of(model),
        "can_check": permissions.can_set_monitoring(request.user, model),
        "reference_missing": bool(context["serving"]) and context["serving"].version.reference_id is None,
    }
    if verdict is not None:
        column = _column(request, verdict)
        context |= {
            "sentence": words.sentence(verdict),
            "verdict_badge": words.badge(verdict.state),
            "columns": [_row(each) for each in _by_psi(verdict)],
            "outputs": [_row(each) for each in verdict.outputs],
            "column": column["name"] if column else "",
            "remarks": _remarks(verdict),
            "charts": {
                chart.name.split("-")[0]: chart
                for chart in _drift_charts(model, environment, verdict, column, history)
            },
            "csv_base": reverse("drift", args=[slug]),
            "csv_query": _query(environment, verdict, column),
        }
    return render(request, "monitoring/drift.html", context)


def drift_csv(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    model = get_model(request, slug)
    environment = _environment(request)
    history = _history(model, environment)
    verdict = _chosen(request, model, environment, history)
    if verdict is None:
        raise Http404
    column = _column(request, verdict)
    made = [*_drift_charts(model, environment, verdict, column, history), _columns_table(verdict)]
    return _csv(made, name, slug)


@require_POST
def check_now(request: HttpRequest, slug: str) -> HttpResponse:
    """Judge the current window at once: operators and the model's owners."""
    model = get_model(request, slug)
    permissions.require_role(permissions.can_set_monitoring(request.user, model), Role.OPERATOR)
    try:
        with on_the_record(request, Action.CHECK_RUN, model):
            verdict = actions.run_check(model, _environment(request), actor=request.user)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Checked. %(sentence)s") % {"sentence": words.sentence(verdict)})
    return redirect("drift", slug)


def drift_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """How the model is watched: operators and the model's owners."""
    model = get_model(request, slug)
    permissions.require_role(permissions.can_set_monitoring(request.user, model), Role.OPERATOR)
    context = model_page(request, model, "drift")
    current = context["serving"]
    form = MonitoringForm(
        request.POST or None,
        settings=actions.settings_of(model),
        columns=current.version.schema_object.names if current else (),
    )
    if request.method == "POST" and form.is_valid():
        changed = attempt(
            request, form, Action.MONITORING_CHANGED, model, actions.set_monitoring, model, **form.changes()
        )
        if changed:
            messages.success(request, _("Saved. The next check uses it."))
            return redirect("drift", slug)
    return render(
        request, "monitoring/settings.html", {**context, "form": form}, status=422 if form.errors else 200
    )


def _history(model: RegisteredModel, environment: str) -> list[Verdict]:
    """The last verdict of each day, oldest first: windows that people compare."""
    ends: dict[Any, int] = {}
    rows = (
        Verdict.objects.of(model, environment).order_by("-window_end", "-pk").values_list("pk", "window_end")
    )
    for pk, end in rows[: WINDOWS_SHOWN * 48]:
        ends.setdefault(end.date(), pk)
        if len(ends) == WINDOWS_SHOWN:
            break
    found = Verdict.objects.filter(pk__in=ends.values()).select_related("version", "version__model")
    return list(found.order_by("window_end", "pk"))


def _chosen(
    request: HttpRequest, model: RegisteredModel, environment: str, history: Sequence[Verdict]
) -> Verdict | None:
    wanted = request.GET.get("window", "")
    if wanted.isdecimal() and len(wanted) < 18:
        verdicts = Verdict.objects.of(model, environment).select_related("version", "version__model")
        return get_object_or_404(verdicts, pk=int(wanted))
    judged = [verdict for verdict in history if verdict.rows]
    return (judged or list(history) or [None])[-1]  # type: ignore[list-item]


def _column(request: HttpRequest, verdict: Verdict) -> dict[str, Any] | None:
    """The column that the address names, else the one that moved most."""
    wanted = request.GET.get("column")
    every = [*verdict.columns, *verdict.outputs]
    chosen = next((each for each in every if each["name"] == wanted), None)
    return chosen or next(iter(_by_psi(verdict)), None)


def _by_psi(verdict: Verdict) -> list[dict[str, Any]]:
    order = {state: rank for rank, state in enumerate(WORST_FIRST)}
    return sorted(
        verdict.columns, key=lambda each: (-(each["psi"] or 0), order[State(each["state"])], each["name"])
    )


def _row(column: dict[str, Any]) -> dict[str, Any]:
    return column | {"badge": words.badge(column["state"]), "message": words.message(column)}


def _remarks(verdict: Verdict) -> list[tuple[str, str]]:
    """What concerns more than an odd row or two."""
    return [
        (each["name"], words.finding(item))
        for each in verdict.columns
        for item in each["findings"]
        if item["share"] >= actions.LEAST_SHARE and item.get("is_sure", True)
    ]


def _drift_charts(
    model: RegisteredModel,
    environment: str,
    verdict: Verdict,
    column: dict[str, Any] | None,
    history: Sequence[Verdict],
) -> list[Chart]:
    markers = charts.release_markers(model, environment)
    shown = [each for each in history if each.rows] or [verdict]
    made: list[Chart | None] = []
    if any(each.outputs for each in shown):
        made.append(charts.prediction_drift(shown, markers))
    if column and column["bins"]:
        made.append(charts.distribution(verdict, column))
    if verdict.columns:
        made.append(charts.heat_map([each for each in shown if each.columns] or [verdict]))
    made.append(charts.performance(shown, markers))
    return [chart for chart in made if chart is not None]


def _columns_table(verdict: Verdict) -> Chart:
    rows = [[each[name] for name in COLUMN_FIGURES] for each in (*verdict.columns, *verdict.outputs)]
    return Chart(name="columns", title="", sub="", figure={}, headers=COLUMN_FIGURES, rows=rows)


def _query(environment: str, verdict: Verdict, column: dict[str, Any] | None) -> str:
    return urlencode(
        {"environment": environment, "window": verdict.pk, "column": column["name"] if column else ""}
    )


def _environment(request: HttpRequest) -> str:
    wanted = request.GET.get("environment", PRODUCTION)
    return wanted if Environment.objects.filter(slug=wanted).exists() else PRODUCTION


# ---------------------------------------------------------------------------------------------- CSV


def _csv(made: Sequence[Chart], name: str, slug: str) -> HttpResponse:
    chart = next((each for each in made if each.name == name), None)
    if chart is None:
        raise Http404
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{slug}-{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(map(_cell, chart.headers))
    writer.writerows([_cell(value) for value in row] for row in chart.rows)
    return response


def _cell(value: Any) -> Any:
    return spreadsheet.escape(value) if isinstance(value, str) else value
