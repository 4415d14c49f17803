"""What the record of a call says of its answered rows: row by row, or column by column where they are many.

Both forms are read for good: a segment on the disk may be older than this code, and one process may write both.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NotRequired, TypeAlias, TypedDict

from inference.ports import Label
from inference.validation import by_row


class LoggedRow(TypedDict):
    """One answered row as the log keeps it."""

    id: str
    inputs: Mapping[str, Any]
    label: Label | None
    value: float | None
    probabilities: Mapping[str, float] | None
    warnings: Sequence[Mapping[str, str]]
    why: NotRequired[Mapping[str, Any]]


class LoggedColumns(TypedDict):
    """The same of many rows: no name is written twice. Warnings and reasons are by position, where there are any."""

    id: Sequence[str]
    inputs: Mapping[str, Sequence[Any]]
    label: Sequence[Label | None]
    value: Sequence[float | None]
    probabilities: Mapping[str, Sequence[float]] | None  # by class
    warnings: Mapping[str, Sequence[Mapping[str, str]]]
    why: Mapping[str, Mapping[str, Any]]


Logged: TypeAlias = Sequence[LoggedRow] | LoggedColumns


def named(rows: Logged) -> dict[str, Logged]:
    """Under the name that tells the form."""
    return {"columns" if isinstance(rows, dict) else "rows": rows}


def rows_of(call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a record in either form, without those that were erased."""
    if "columns" not in call:
        return [row for row in call["rows"] if not row.get("erased")]
    columns: LoggedColumns = call["columns"]
    chances = columns["probabilities"]
    cells = zip(
        columns["id"],
        by_row(columns["inputs"]),
        columns["label"],
        columns["value"],
        by_row(chances) if chances else [None] * len(columns["id"]),
        strict=True,
    )
    return [
        {
            "id": public_id,
            "inputs": inputs,
            "label": label,
            "value": value,
            "probabilities": by_class,
            "warnings": columns["warnings"].get(str(place), []),
            "why": columns["why"].get(str(place)),
        }
        for place, (public_id, inputs, label, value, by_class) in enumerate(cells)
    ]


def erase(call: dict[str, Any], ids: Collection[str]) -> bool:
    """Leave nothing of those rows but, in one form, their ids: the record gets shorter. Whether it held any."""
    if "columns" in call:
        return _erase_columns(call, ids)
    if not any(row["id"] in ids and not row.get("erased") for row in call["rows"]):
        return False
    call["rows"] = [{"id": row["id"], "erased": True} if row["id"] in ids else row for row in call["rows"]]
    return True


def _erase_columns(call: dict[str, Any], ids: Collection[str]) -> bool:
    columns: LoggedColumns = call["columns"]
    kept = [place for place, each in enumerate(columns["id"]) if each not in ids]
    if len(kept) == len(columns["id"]):
        return False
    call["columns"] = _only(columns, kept)
    return True


def _only(columns: LoggedColumns, places: Sequence[int]) -> LoggedColumns:
    """The rows at those places; what is by position moves up with its row."""

    def cells(column: Sequence[Any]) -> list[Any]:
        return [column[place] for place in places]

    def moved(by_place: Mapping[str, Any]) -> dict[str, Any]:
        return {str(new): by_place[str(old)] for new, old in enumerate(places) if str(old) in by_place}

    chances = columns["probabilities"]
    return {
        "id": cells(columns["id"]),
        "inputs": {name: cells(column) for name, column in columns["inputs"].items()},
        "label": cells(columns["label"]),
        "value": cells(columns["value"]),
        "probabilities": chances and {name: cells(column) for name, column in chances.items()},
        "warnings": moved(columns["warnings"]),
        "why": moved(columns["why"]),
    }
