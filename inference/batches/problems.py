"""What was wrong with rows, grouped by cause: small enough to keep with a chunk, and it adds up over chunks."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from registry.errors import FieldError

Group = dict[str, Any]

MAX_GROUPS = 100
MAX_EXAMPLES = 3


class Problems:
    """Counts rows by field and code, with the first few row numbers of each group."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}

    def add(self, number: int, error: FieldError) -> None:
        group = self._group(error["field"], error["code"], error.get("expected", ""))
        group["count"] += 1
        if len(group["examples"]) < MAX_EXAMPLES:
            group["examples"].append({"row": number, "value": _shown(error.get("value"))})

    def merge(self, groups: Iterable[Group]) -> None:
        for each in groups:
            group = self._group(each["field"], each["code"], each["expected"])
            group["count"] += each["count"]
            room = MAX_EXAMPLES - len(group["examples"])
            group["examples"].extend(each["examples"][:room])

    def _group(self, field: str, code: str, expected: str) -> Group:
        if (field, code) not in self.groups and len(self.groups) >= MAX_GROUPS:
            field, code, expected = "", "other", ""
        empty: Group = {"field": field, "code": code, "expected": expected, "count": 0, "examples": []}
        return self.groups.setdefault((field, code), empty)

    def to_json(self) -> list[Group]:
        """Worst first."""
        return sorted(
            self.groups.values(), key=lambda group: (-group["count"], group["field"], group["code"])
        )


def _shown(value: object) -> str:
    return "" if value is None else str(value)[:80]


def sentence(error: Mapping[str, Any]) -> str:
    """One problem in words: the column, what it holds, what was expected."""
    name, value, code = error["field"], error.get("value"), error["code"]
    if code == "missing":
        return _("%(field)s: empty") % {"field": name}
    if code in {"ragged", "model_failed"}:
        return str(error.get("expected", ""))
    return _("%(field)s: “%(value)s”, expected %(expected)s") % {
        "field": name,
        "value": _shown(value),
        "expected": error.get("expected", ""),
    }


def title(group: Group) -> str:
    """The cause of a group, in words."""
    causes = {
        "missing": _("empty"),
        "not_a_number": _("not a number"),
        "not_an_integer": _("not a whole number"),
        "out_of_range": _("outside the allowed range"),
        "not_in_list": _("not one of the allowed values"),
        "not_a_boolean": _("neither yes nor no"),
        "too_long": _("too long"),
        "wrong_type": _("not the expected kind of value"),
        "ragged": _("Wrong number of values in the row"),
        "model_failed": _("The model could not score the row"),
        "other": _("Other problems"),
    }
    cause = causes.get(group["code"]) or str(group["code"])
    return f"{group['field']}: {cause}" if group["field"] else cause
