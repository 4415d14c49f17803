"""Figures as sentences, in the reader's language: what a verdict says about a column, a window, a model."""

from collections.abc import Mapping
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.models import State

Column = Mapping[str, Any]

#: The state words of the pages (`portal_tags.WORDS`) for the states of the API.
BADGES = {
    State.OK: "healthy",
    State.WATCH: "watch",
    State.DRIFT: "alert",
    State.INSUFFICIENT_DATA: "not_enough_data",
    State.NOT_COMPARABLE: "not_comparable",
}


def badge(state: str) -> str:
    return BADGES.get(State(state), "not_measured") if state else "not_measured"


def state(value: str) -> str:
    return str(State(value).label)


def number(value: float | None) -> str:
    """Three significant figures; a dash where there is nothing."""
    if value is None:
        return "–"
    if value and abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    text = f"{value:.3g}"
    if "e" in text:
        text = f"{value:.0f}" if abs(value) < 1e15 else text
    return text


def share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def count(value: float | None) -> str:
    return "–" if value is None else str(number_format(round(value), force_grouping=True))


def milliseconds(value: float | None) -> str:
    return "–" if value is None else _("%(number)s ms") % {"number": number(value)}


# ---------------------------------------------------------------------------------------------- one column


def column(verdict: Column) -> str:
    """Why this column has its state, with the figures that decided it."""
    facts = {
        "psi": number(verdict.get("psi")),
        "floor": number(verdict.get("noise_floor")),
        "n": count(verdict.get("n_current")),
        "needed": count(verdict.get("n_needed")),
        "then": count(verdict.get("n_reference")),
    }
    sentences = {
        "drift": _("Differs clearly from the reference: PSI %(psi)s."),
        "watch": _("Differs somewhat from the reference: PSI %(psi)s."),
        "small": _("Measurably different, but by too little to matter: PSI %(psi)s."),
        "noise": _("PSI %(psi)s is within the noise of %(n)s rows."),
        "same": _("Like the reference: PSI %(psi)s."),
        "few_rows": _("Needs %(needed)s values now and 50 in the reference; there are %(n)s and %(then)s."),
        "no_rows": _("No rows in this window."),
        "missing_column": _("The column is missing."),
        "all_missing": _("Every value is missing."),
        "type_changed": _("Most values are of another type than in the reference."),
        "empty_reference": _("The reference has no values in this column."),
        "both_empty": _("Empty, as in the reference."),
        "free_text": _("Free text is not compared."),
    }
    return str(sentences.get(str(verdict.get("reason")), "") % facts)


def finding(item: Mapping[str, Any]) -> str:
    """One remark on the quality of the data."""
    facts = {
        "count": count(item["count"]),
        "share": share(item["share"]),
        "then": share(item.get("reference_share")),
        "examples": ", ".join(_short(each) for each in item.get("examples", ())),
    }
    sentences = {
        "missing_column": _("absent from rows: %(count)s"),
        "missing_values": _("%(share)s missing, %(then)s in the reference"),
        "type_changed": _("of another type: %(count)s, such as %(examples)s"),
        "wrong_type": _("of another type: %(count)s, such as %(examples)s"),
        "new_category": _("unknown to the reference: %(count)s, such as %(examples)s"),
        "out_of_range": _("outside the reference's range: %(count)s, up to %(examples)s"),
        "invalid": _("infinite: %(count)s"),
        "not_constant": _("%(share)s differ from the reference's only value"),
        "constant": _("the same value in every row"),
    }
    return str(sentences.get(str(item["code"]), str(item["code"])) % facts)


def _short(example: str) -> str:
    """A number with as many digits as people read, anything else as it is."""
    try:
        return f"{float(example):.4g}"
    except ValueError:
        return example


def message(verdict: Column) -> str:
    """State and findings of a column in one line."""
    remarks = [finding(item) for item in verdict.get("findings", ())]
    return " ".join([column(verdict), *(f"{remark[:1].upper()}{remark[1:]}." for remark in remarks)])


# ---------------------------------------------------------------------------------------------- a window


def sentence(verdict: Any) -> str:
    """The one line above everything else: state, performance, inputs, speed."""
    parts = [_performance(verdict), _predictions(verdict), _inputs(verdict), _service(verdict)]
    said = ", ".join(part for part in parts if part)
    if not verdict.rows and not verdict.service.get("rows"):
        said = _("no predictions in this window")
    return _("%(state)s: %(facts)s.") % {
        "state": state(verdict.state),
        "facts": said or _("nothing measured yet"),
    }


def _performance(verdict: Any) -> str:
    figures = verdict.performance
    now = figures.get("metrics", {}).get(figures.get("main", ""))
    if now is None:
        return _("no outcomes yet") if verdict.rows else ""
    facts = {
        "metric": _("accuracy") if figures["main"] == "accuracy" else _("mean absolute error"),
        "now": number(now),
        "then": number(figures.get("reference", {}).get(figures["main"])),
        "share": f"{100 * figures.get('coverage', 0):.0f} %",
    }
    if figures.get("reference", {}).get(figures["main"]) is None:
        return _("%(metric)s %(now)s (outcomes for %(share)s)") % facts
    return _("%(metric)s %(now)s (reference %(then)s, outcomes for %(share)s)") % facts


def _predictions(verdict: Any) -> str:
    moved = [each for each in verdict.outputs if each["state"] in (State.WATCH, State.DRIFT)]
    if moved:
        return _("predictions moved (PSI %(psi)s)") % {"psi": number(max(each["psi"] or 0 for each in moved))}
    if any(each["state"] == State.OK for each in verdict.outputs):
        return _("predictions as before")
    return ""


def _inputs(verdict: Any) -> str:
    if not verdict.columns or not verdict.rows:
        return ""
    total = len(verdict.columns)
    judged = [each for each in verdict.columns if each["state"] != State.INSUFFICIENT_DATA]
    if not judged:
        needed = max(each["n_needed"] for each in verdict.columns)
        return _("too few rows to judge the inputs (%(rows)s of %(needed)s)") % {
            "rows": count(verdict.rows),
            "needed": count(needed),
        }
    drifted = sum(each["state"] == State.DRIFT for each in judged)
    broken = sum(each["state"] == State.NOT_COMPARABLE for each in judged)
    said = ngettext(
        "%(drifted)s of %(total)d inputs drifted", "%(drifted)s of %(total)d inputs drifted", total
    ) % {"drifted": drifted or _("none"), "total": total}
    if broken:
        said += ", " + _("%(broken)d cannot be compared") % {"broken": broken}
    return said


def _service(verdict: Any) -> str:
    figures = verdict.service
    if not figures.get("requests"):
        return ""
    said = _("p95 %(p95)s") % {"p95": milliseconds(figures["p95"])}
    if figures.get("failed"):
        said += ", " + _("%(share)s errors") % {"share": share(figures["failed"] / figures["requests"])}
    return said
