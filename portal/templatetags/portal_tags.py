"""Formatting for templates: icons, badges, times, numbers. Never a query."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django import template
from django.conf import settings
from django.template.defaultfilters import date as format_date
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import pgettext_lazy as in_context

from registry import measures

register = template.Library()

#: Fields of a model that are shown as what its answers depend on.
MOST_IMPORTANT = 10

ICONS = settings.BASE_DIR / "static" / "vendor" / "tabler-icons"


class Word(NamedTuple):
    """How a state is said: a tone, an icon and a word, never a colour alone."""

    tone: str
    icon: str
    label: str | Promise


#: One vocabulary for every state that a page shows.
WORDS: dict[str, Word] = {
    # versions
    "draft": Word("mute", "circle-dashed", lazy("Draft")),
    "checking": Word("info", "loader-2", lazy("Checking")),
    "needs_review": Word("warn", "eye", lazy("Needs review")),
    "checks_failed": Word("bad", "x", lazy("Checks failed")),
    "checked": Word("ok", "check", lazy("Checked")),
    "waiting_for_approval": Word("warn", "hourglass", lazy("Waiting for approval")),
    "rejected": Word("bad", "x", lazy("Rejected")),
    "approved": Word("ok", "check", lazy("Approved")),
    "shadow": Word("shadow", "circle-half-2", lazy("Shadow")),
    "canary": Word("canary", "circle-half-2", lazy("Canary")),
    "serving": Word("ok", "point", lazy("Serving")),
    "serving_elsewhere": Word("info", "point", lazy("In staging")),
    "rolled_back": Word("warn", "arrow-back-up", lazy("Rolled back")),
    "retired": Word("mute", "archive", lazy("Retired")),
    "quarantined": Word("bad", "ban", lazy("Quarantined")),
    "archived": Word("mute", "archive", lazy("Archived")),
    # approvals
    "waiting": Word("warn", "hourglass", lazy("Waiting")),
    "changes_asked": Word("warn", "message-circle", lazy("Changes asked")),
    "withdrawn": Word("mute", "arrow-back-up", lazy("Withdrawn")),
    "stale": Word("bad", "alert-triangle", lazy("Stale")),
    "expired": Word("mute", "clock", lazy("Expired")),
    # batches
    "uploaded": Word("mute", "upload", lazy("Uploaded")),
    "ready": Word("info", "circle", lazy("Ready")),
    "queued": Word("mute", "hourglass", in_context("batch", "Waiting")),
    "running": Word("info", "loader-2", lazy("Running")),
    "succeeded": Word("ok", "check", lazy("Done")),
    "succeeded_with_errors": Word("warn", "alert-triangle", lazy("Done, with rows skipped")),
    "failed": Word("bad", "x", lazy("Failed")),
    "cancelling": Word("warn", "loader-2", lazy("Stopping")),
    "cancelled": Word("mute", "player-stop", lazy("Stopped")),
    # health and drift
    "healthy": Word("ok", "circle-check", lazy("Healthy")),
    "watch": Word("warn", "eye", lazy("Watch")),
    "alert": Word("bad", "alert-triangle", lazy("Alert")),
    "not_enough_data": Word("mute", "circle-dashed", lazy("Not enough data")),
    "not_comparable": Word("bad", "alert-circle", lazy("Not comparable")),
    "not_measured": Word("mute", "minus", lazy("Not measured")),
    "ok": Word("ok", "circle-check", lazy("Healthy")),
    "drift": Word("bad", "alert-triangle", lazy("Alert")),
    "insufficient_data": Word("mute", "circle-dashed", lazy("Not enough data")),
    "muted": Word("mute", "bell", lazy("Muted")),
    "open": Word("bad", "alert-triangle", lazy("Open")),
    "acknowledged": Word("warn", "eye", lazy("Acknowledged")),
    "critical": Word("bad", "alert-circle", lazy("Critical")),
    "warning": Word("warn", "alert-triangle", lazy("Warning")),
    "resolved": Word("ok", "circle-check", lazy("Resolved")),
    # keys and people
    "active": Word("ok", "circle-check", lazy("Active")),
    "inactive": Word("mute", "ban", lazy("Deactivated")),
    "invited": Word("warn", "mail", lazy("Invited")),
    "rotating": Word("warn", "refresh", lazy("Rotating")),
    "revoked": Word("mute", "ban", lazy("Revoked")),
    # names in a file
    "known_name": Word("ok", "circle-check", lazy("Known")),
    "unknown_name": Word("warn", "eye", lazy("Unknown")),
    "dangerous_name": Word("bad", "ban", lazy("Dangerous")),
    # the system check
    "system_ok": Word("ok", "circle-check", lazy("Works")),
    "system_warn": Word("warn", "alert-triangle", lazy("Look at it")),
    "system_bad": Word("bad", "circle-x", lazy("Does not work")),
    "system_mute": Word("mute", "circle-dashed", lazy("Not known yet")),
    "system_on": Word("ok", "circle-check", lazy("On")),
    "system_off": Word("bad", "circle-x", lazy("Off")),
    "system_without": Word("mute", "minus", lazy("Off")),
    # checks
    "passed": Word("ok", "circle-check", lazy("Passed")),
    "skipped": Word("mute", "minus", lazy("Skipped")),
    # audit
    "done": Word("ok", "check", lazy("Done")),
    "refused": Word("bad", "ban", lazy("Refused")),
    # releases
    "release": Word("info", "rocket", lazy("Release")),
    "rollback": Word("warn", "arrow-back-up", lazy("Rollback")),
    "auto_rollback": Word("bad", "arrow-back-up", lazy("Automatic rollback")),
    "frozen": Word("info", "snowflake", lazy("Frozen")),
    # risk
    "risk_low": Word("mute", "shield-check", lazy("Low risk")),
    "risk_medium": Word("warn", "shield-check", lazy("Medium risk")),
    "risk_high": Word("bad", "shield-check", lazy("High risk")),
}
_TURNING = frozenset({"checking", "running", "cancelling", "rotating"})


@cache
def _icon_body(name: str) -> str:
    source = (ICONS / f"{name}.svg").read_text()
    return source.partition(">")[2].rpartition("</svg>")[0].replace("\n", "")


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """One outline icon, drawn in the colour of the text; silent for readers, the word beside it speaks."""
    return mark_safe(  # noqa: S308 - our own files
        f'<svg class="icon{" " + css if css else ""}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
        f'stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{_icon_body(name)}</svg>'
    )


@register.inclusion_tag("portal/_badge.html")
def badge(state: str, label: str = "", tone: str = "") -> dict[str, object]:
    """The badge of a state word; `label` says it more exactly ("Waiting (2 d)")."""
    word = WORDS.get(str(state)) or Word("mute", "circle", str(state))
    return {
        "tone": tone or word.tone,
        "icon": word.icon,
        "label": label or word.label,
        "css": "live" if state in _TURNING else "filled" if word.icon == "point" else "",
    }


@register.filter
def state_word(state: str) -> str:
    word = WORDS.get(str(state))
    return str(word.label) if word else str(state)


@register.filter
def system_key(state: str) -> str:
    return f"system_{state}"


@register.filter
def risk_key(risk: str) -> str:
    return f"risk_{risk}"


@register.simple_tag
def crumb(title: object, name: str = "", *args: object) -> SafeString:
    """One step of the path at the top; without a page name it is this page."""
    if not name:
        return format_html('<li><span aria-current="page">{}</span></li>', title)
    return format_html('<li><a href="{}">{}</a></li>', reverse(name, args=args), title)


# Times


def _relative(seconds: float) -> str:
    """A rough distance: "3 min ago", "in 2 days"."""
    future, distance = seconds < 0, abs(seconds)
    if distance < 45:
        return _("now") if future else _("just now")
    for size, limit, unit in ((60, 3600, "min"), (3600, 86400, "h"), (86400, math.inf, "d")):
        if distance < limit * 0.98:
            n = max(1, round(distance / size))
            text = {
                "min": ngettext("%d min", "%d min", n),
                "h": ngettext("%d h", "%d h", n),
                "d": ngettext("%d day", "%d days", n),
            }[unit] % n
            return (_("in %s") if future else _("%s ago")) % text
    return ""


def _absolute(value: datetime) -> str:
    return format_date(value.astimezone(timezone.get_current_timezone()), "j M Y, H:i") + " UTC"


def _time(value: datetime, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        _absolute(value),
        text,
    )


@register.simple_tag
def ago(value: datetime | None) -> SafeString | str:
    """How long ago, with the exact time beside it for machines and on hover."""
    if value is None:
        return "–"
    seconds = (timezone.now() - value).total_seconds()
    text = _relative(seconds) if abs(seconds) < 60 * 86400 else format_date(value, "j M Y")
    return _time(value, text)


@register.simple_tag
def when(value: datetime | None, style: str = "j M Y, H:i") -> SafeString | str:
    """The exact time, in UTC, and says so on hover."""
    return "–" if value is None else _time(value, format_date(value, style))


@register.simple_tag
def period(start: datetime, end: datetime | None) -> SafeString | str:
    """From when to when: two days, with the times where both are the same day."""
    if end is None:
        return format_html(_("since {}"), _time(start, format_date(start, "j M Y, H:i")))
    zone = timezone.get_current_timezone()
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first.date() != last.date():
        styles = "j M Y", "j M Y"
    elif first.replace(second=0, microsecond=0) != last.replace(second=0, microsecond=0):
        styles = "j M Y, H:i", "H:i"
    else:
        styles = "j M Y, H:i:s", "H:i:s"
    return format_html(
        "{} – {}", _time(start, format_date(first, styles[0])), _time(end, format_date(last, styles[1]))
    )


# Numbers


@register.filter
def metric(value: object) -> str:
    """Three significant figures, the way a person reads a measurement."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–" if value is None else str(value)
    if not math.isfinite(value):
        return "–"
    if value == round(value):
        return count(value)
    if abs(value) < 0.001:
        return "<0.001" if value > 0 else ">−0.001"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return number_format(f"{value:.{min(digits, 4)}f}", use_l10n=True, force_grouping=True)


@register.filter
def percent(value: float | None, digits: int = 1) -> str:
    """0.123 → 12.3 %."""
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < value < 0.5 * 10 ** -(digits + 2):
        return f"<{10**-digits:.{digits}f} %"
    return f"{number_format(f'{value * 100:.{digits}f}', force_grouping=True)} %"


@register.filter
def count(value: float | None) -> str:
    """Thousands grouped."""
    return "–" if value is None else number_format(round(value), force_grouping=True)


@register.filter
def duration(seconds: float | None) -> str:
    """0.041 → 41 ms; 3.2 → 3.2 s; 95 → 1 min 35 s."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


@register.filter
def bytes_size(value: int | None) -> str:
    return "–" if value is None else filesizeformat(value)


@register.filter
def short_hash(value: str) -> str:
    return f"{value[:12]}…" if value else "–"


@register.simple_tag
def delta(name: str, now: object, then: object) -> SafeString | str:
    """The change of a metric: sign, arrow and word, so that colour says nothing alone."""
    if not isinstance(now, int | float) or not isinstance(then, int | float):
        return ""
    change = now - then
    if measures.is_same(now, then):
        return format_html('<span class="delta same">= {}</span>', _("same"))
    better = (change < 0) == measures.is_less_better(name)
    return format_html(
        '<span class="delta {}">{} {}{} {}</span>',
        "better" if better else "worse",
        "▲" if change > 0 else "▼",
        "+" if change > 0 else "−",
        metric(abs(change)),
        _("better") if better else _("worse"),
    )


# Small things


@register.filter
def in_language(words: Any) -> str:
    """The reader's word out of {"en": …, "hi": …}, else English, else whatever there is."""
    if not isinstance(words, dict):
        return str(words or "")
    return str(words.get((get_language() or "en")[:2]) or words.get("en") or next(iter(words.values()), ""))


@register.filter
def initials(user: Any) -> str:
    parts = str(getattr(user, "name", "") or getattr(user, "email", "?")).replace(".", " ").split()
    return "".join(part[0] for part in parts[:2]).upper()


@register.filter
def item(mapping: Any, key: object) -> object:
    """`mapping[key]` for a key that is itself a variable."""
    return mapping.get(key) if isinstance(mapping, dict) else None


@register.filter
def error_count(form: Any) -> int:
    return sum(len(errors) for errors in form.errors.values())


_MESSAGE = {
    "success": ("ok", "circle-check"),
    "warning": ("warn", "alert-triangle"),
    "error": ("bad", "alert-circle"),
}


@register.filter
def message_tone(level: str) -> str:
    return _MESSAGE.get(level, ("info", ""))[0]


@register.filter
def message_icon(level: str) -> str:
    return _MESSAGE.get(level, ("", "info-circle"))[1]


# What the record calls things, in words


@register.filter
def metric_name(name: str) -> str:
    return measures.name_of(name)


@register.filter
def figures(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The first four plain numbers of a set of metrics."""
    return [
        (name, metrics[name])
        for name in measures.in_order(metrics)
        if isinstance(metrics[name], int | float) and not isinstance(metrics[name], bool)
    ][:4]


@register.filter
def measured(version: Any, name: str) -> object:
    """One metric of a version: as the checks measured it, else as its author declared it."""
    return version.measured_metrics.get(name, version.declared_metrics.get(name))


_STRONG = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`([^`]+)`")


@register.filter
def card_text(text: str) -> SafeString:
    """The little Markdown that model cards are written in: headings, lists, **strong** and `code`.

    Everything is escaped first; no link and no tag of the author's gets through.
    """
    html: list[str] = []
    for block in re.split(r"\n\s*\n", str(text).replace("\r\n", "\n").strip()):
        lines = [line.strip() for line in block.split("\n")]
        while lines and lines[0].startswith("#"):
            html.append(f"<h3>{_inline(lines.pop(0).lstrip('# '))}</h3>")
        if lines and all(line.startswith(("- ", "* ")) for line in lines):
            html.append(
                f'<ul class="bullets">{"".join(f"<li>{_inline(line[2:])}</li>" for line in lines)}</ul>'
            )
        elif lines:
            html.append(f"<p>{'<br>'.join(map(_inline, lines))}</p>")
    return mark_safe("\n".join(html))  # noqa: S308 - escaped in _inline


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<strong>\1</strong>", escape(text)))


_CHECKS = {
    "hash": lazy("The stored bytes are what was uploaded"),
    "format": lazy("The file is of a known format"),
    "policy": lazy("It imports nothing but estimator code"),
    "inventory": lazy("It uses only names that were reviewed"),
    "environment": lazy("It was made with the versions that answer here"),
    "load": lazy("It loads in the sandbox"),
    "schema": lazy("The schema fits the reference data"),
    "predict": lazy("It answers 100 reference rows"),
    "rows": lazy("It answers 100 reference rows"),
    "latency": lazy("It answers in time"),
    "metrics": lazy("Metrics measured again"),
    "explanation": lazy("What its answers depend on"),
    "expected": lazy("It answers as its author expected"),
    "golden": lazy("Its golden rows are kept"),
    "compiled": lazy("It is compiled, and answers the same"),
    "examples": lazy("The examples work"),
    "gates": lazy("It passes the quality gates of this model"),
}


@register.filter
def check_words(name: str) -> str:
    return str(_CHECKS.get(name) or name.replace("_", " ").capitalize())


@register.filter
def action_words(action: str) -> str:
    """`version.checks_failed` → Version checks failed."""
    return action.replace(".", " ").replace("_", " ").capitalize()


class NameGroup(NamedTuple):
    """Names of a file that are said in one colour, and with one word."""

    key: str
    title: str
    names: list[str]

    @property
    def badge(self) -> str:
        return f"{self.key}_name"


@register.filter
def inventory(found: Any) -> list[NameGroup]:
    """What a file would import, the worst first; a group with nothing in it does not appear."""
    told = found if isinstance(found, dict) else {}
    dangerous, unknown = list(told.get("dangerous", [])), list(told.get("unknown", []))
    known = [name for name in told.get("names", []) if name not in {*dangerous, *unknown}]
    titles = {"skops": _("types that are known estimator code"), "onnx": _("operators that only calculate")}
    groups = [
        NameGroup("dangerous", _("names that act on the machine"), dangerous),
        NameGroup("unknown", _("names that are not on the reviewed list"), unknown),
        NameGroup("known", titles.get(str(told.get("format")), _("names of known estimator code")), known),
    ]
    return [group for group in groups if group.names]


@register.filter
def gates_shown(figures: Any) -> list[dict[str, Any]]:
    """The quality gates of a check, as they were judged last."""
    found = figures.get("against", {}).get(figures.get("shown", "")) if isinstance(figures, dict) else None
    return list(found or [])


@register.filter
def importance_shown(figures: Any) -> list[dict[str, Any]]:
    """The fields on which a version's answers depend most: each one's share of all, and of the strongest."""
    found = figures.get("importance", {}) if isinstance(figures, dict) else {}
    total, strongest = sum(found.values()), max(found.values(), default=0)
    return [
        {"name": name, "share": percent(share / total), "strength": share / strongest}
        for name, share in list(found.items())[:MOST_IMPORTANT]
        if share
    ]


@register.filter
def matrix_rows(matrix: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a table of two versions' answers; a flip is a cell beside the diagonal."""
    return [
        {
            "label": label,
            "cells": [
                {"count": n, "is_flip": row != column} for column, n in enumerate(matrix["counts"][row])
            ],
        }
        for row, label in enumerate(matrix["labels"])
    ]


@register.filter
def flat(mapping: Any) -> list[tuple[str, object]]:
    """One line for each plain value, one level deep: {"packages": {"numpy": "2"}} gives numpy 2."""
    lines: list[tuple[str, object]] = []
    for name, value in (mapping or {}).items():
        if isinstance(value, dict):
            lines += [(inner, text) for inner, text in value.items() if not isinstance(text, dict | list)]
        elif isinstance(value, list):
            lines.append((name, ", ".join(map(str, value))))
        else:
            lines.append((name, value))
    return lines
