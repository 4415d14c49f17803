"""What differs between two versions, in words: what clients send, what answers them, and what its author says of it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from registry.models import ModelVersion
from registry.schema import Change, diff

#: What of a field a client feels; labels, help and what training saw change nothing for it.
_FELT = ("type", "required", "min", "max", "unit", "categories", "strict", "task", "classes", "name")
_MOST_NAMES = 8


@dataclass(frozen=True)
class SchemaLine:
    """One field that is not as it was. `breaks`: some calls of today would be refused."""

    field: str
    kind: str  # added, removed, retyped, changed
    text: str
    breaks: bool


def schema_changes(before: ModelVersion | None, after: ModelVersion) -> list[Change]:
    """What a client feels of the change, if both have a schema."""
    if before is None or not (before.schema.get("fields") and after.schema.get("fields")):
        return []
    return [change for change in diff(before.schema_object, after.schema_object) if _is_felt(change)]


def _is_felt(change: Change) -> bool:
    return change.kind in ("added", "removed") or any(name in _FELT for name in change.what)


def schema_lines(changes: Iterable[Change]) -> list[SchemaLine]:
    return [SchemaLine(change.field, change.kind, _words(change), change.breaks) for change in changes]


def _words(change: Change) -> str:
    old, new = change.before or {}, change.after or {}
    if change.kind == "added":
        return _("is new (%s)") % _type(new)
    if change.kind == "removed":
        return _("is no longer used")
    parts = [
        _("%(old)s becomes %(new)s") % {"old": old[name], "new": new[name]}
        for name in ("type", "task")
        if name in change.what
    ]
    if "required" in change.what:
        parts.append(_("is required now") if new["required"] else _("may be missing now"))
    if {"min", "max"} & set(change.what):
        parts.append(_("range %(old)s becomes %(new)s") % {"old": _range(old), "new": _range(new)})
    for name, words in (("categories", _("categories")), ("classes", _("answers"))):
        if name in change.what:
            parts.append(f"{words}: {_listed(old.get(name) or [], new.get(name) or [])}")
    if "strict" in change.what:
        parts.append(_("only listed values are taken") if new["strict"] else _("other values are taken too"))
    if "unit" in change.what:
        parts.append(
            _("unit %(old)s becomes %(new)s") % {"old": old["unit"] or "–", "new": new["unit"] or "–"}
        )
    if "name" in change.what:
        parts.append(_("was called %s") % old["name"])
    return "; ".join(parts)


def _type(field: dict[str, Any]) -> str:
    return str(field["type"]) if field.get("required", True) else _("%s, optional") % field["type"]


def _range(field: dict[str, Any]) -> str:
    low, high = (f"{field[end]:.6g}" if field.get(end) is not None else "…" for end in ("min", "max"))
    return f"{low} – {high}"


def _listed(old: list[Any], new: list[Any]) -> str:
    added, gone = [x for x in new if x not in old], [x for x in old if x not in new]
    parts = []
    if added:
        parts.append(_("new %s") % _few(added))
    if gone:
        parts.append(_("gone %s") % _few(gone))
    return ", ".join(parts) or _("in another order")


def _few(values: list[Any]) -> str:
    shown = ", ".join(map(str, values[:_MOST_NAMES]))
    return f"{shown}, …" if len(values) > _MOST_NAMES else shown


def environment_changes(a: ModelVersion, b: ModelVersion) -> list[dict[str, str]]:
    """Packages that are not the same: what each was made with, and what answers for it."""
    before, after = _packages(a), _packages(b)
    return [
        {"name": name, "a": before.get(name, ""), "b": after.get(name, "")}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _packages(version: ModelVersion) -> dict[str, str]:
    environment = version.environment or {}
    found = {str(name): str(value) for name, value in (environment.get("packages") or {}).items()}
    for each in environment.get("made_with") or []:
        name, _space, value = str(each).partition(" ")
        found[_("made with %s") % name] = value
    return found


def names_changes(a: ModelVersion, b: ModelVersion) -> dict[str, list[str]]:
    """Names that one file would import and the other would not."""
    before, after = _names(a), _names(b)
    return {"added": sorted(after - before), "removed": sorted(before - after)}


def _names(version: ModelVersion) -> set[str]:
    found = version.globals or {}
    return {str(name) for key in ("names", "globals", "unknown") for name in found.get(key) or []}


def card_changes(a: ModelVersion, b: ModelVersion) -> list[dict[str, str]]:
    """The lines of the card that went and that came, in order."""
    lines = difflib.ndiff(a.card.splitlines(), b.card.splitlines())
    return [
        {"kind": "added" if line.startswith("+") else "removed", "text": line[2:]}
        for line in lines
        if line[:2] in ("+ ", "- ") and line[2:].strip()
    ]
