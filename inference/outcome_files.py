"""Outcomes in a file: CSV or Parquet with the ids of predictions and what came true, through the verb for outcomes."""

import io
from collections.abc import Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import structlog
from django.utils.translation import gettext as _

from inference.feedback import MAX_ITEMS, Receipt, give_feedback
from registry import artifacts, audit, delimited, tables
from registry.errors import FieldError, Invalid, Refused, TooLarge
from registry.models import Dataset, RegisteredModel

logger = structlog.get_logger(__name__)

PREDICTION, ACTUAL, AT = ("prediction", "prediction_id", "id"), ("actual", "outcome"), ("at", "time")
FIRST_LINE = 2  # of a file: the header is line 1
SHOWN = 20


def record_file(file: IO[bytes], *, model: RegisteredModel, actor: Any, target: str = "") -> Receipt:
    """Record every outcome of the file, all or none; for more than the verb takes at once, send a dataset.

    `target` names the column of outcomes where it is not called `actual`. Ids of other models come back as unknown.
    """
    items = read_items(file, target)
    if len(items) > MAX_ITEMS:
        raise TooLarge(
            _("The file has %(rows)d rows; a page takes %(limit)d.")
            % {"rows": len(items), "limit": MAX_ITEMS},
            fix=_("Split it, or send it as a dataset with the role “feedback” through the API."),
        )
    return _record(items, 0, model, actor)


def take_in(dataset_id: int) -> Receipt | None:
    """Record a dataset of outcomes; what is refused is in the audit log with its reason. Twice changes nothing more."""
    dataset = Dataset.objects.select_related("model", "created_by").get(pk=dataset_id)
    if dataset.role != Dataset.Kind.FEEDBACK:
        return None
    receipt = Receipt()
    with audit.context(channel="task"):
        try:
            with artifacts.open_artifact(dataset.sha256) as file:
                items = read_items(file, dataset.target)
            for begin in range(0, len(items), MAX_ITEMS):
                part = _record(items[begin : begin + MAX_ITEMS], begin, dataset.model, dataset.created_by)
                receipt.accepted += part.accepted
                receipt.corrected += part.corrected
                receipt.unknown += part.unknown
        except Refused as error:
            audit.record_refusal(
                audit.Action.FEEDBACK_GIVEN, target=dataset.model, actor=dataset.created_by, error=error
            )
    logger.info("outcomes_taken_in", dataset=dataset.public_id, unknown=len(receipt.unknown))
    return receipt


def read_items(file: IO[bytes], target: str = "") -> list[dict[str, Any]]:
    """The rows as the verb takes them; Invalid where a column is missing."""
    table = _read(file)
    wanted = {
        "prediction": _column(table, PREDICTION),
        "actual": target if target in table.column_names else _column(table, ACTUAL),
    }
    missing = [name for name, column in wanted.items() if column is None]
    if missing:
        errors: list[FieldError] = [
            {"field": name, "code": "missing_column", "expected": "prediction, actual, at"}
            for name in missing
        ]
        raise Invalid(
            _("The file has no column %(names)s.") % {"names": ", ".join(f"“{name}”" for name in missing)},
            code="missing_column",
            fix=_("Name the columns prediction, actual and, if you know it, at."),
            errors=errors,
        )
    if (at := _column(table, AT)) is not None:
        wanted["at"] = at
    columns = [table[column].to_pylist() for column in wanted.values()]
    return [dict(zip(wanted, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _read(file: IO[bytes]) -> pa.Table:
    data = file.read(tables.MAX_BYTES + 1)
    if data[:4] == b"PAR1" or len(data) > tables.MAX_BYTES or not data:
        return tables.read_table(io.BytesIO(data))
    return tables.read_texts(delimited.read(data))  # as text: the version says what an outcome means


def _column(table: pa.Table, names: Sequence[str]) -> str | None:
    known = {name.strip().lower(): name for name in table.column_names}
    return next((known[name] for name in names if name in known), None)


def _record(items: Sequence[Mapping[str, Any]], before: int, model: RegisteredModel, actor: Any) -> Receipt:
    only = RegisteredModel.objects.visible_to(actor).filter(pk=model.pk)
    try:
        return give_feedback(items, actor=actor, among=only, as_text=True)
    except Invalid as error:
        raise _with_lines(error, before) from error


def _with_lines(error: Invalid, before: int) -> Invalid:
    """The verb counts rows from 0; a person looks at lines of a file."""
    told: list[FieldError] = []
    for each in error.errors[:SHOWN]:
        row = each.get("row")
        place = _("line %(line)d") % {"line": row + before + FIRST_LINE} if row is not None else each["field"]
        told.append({**each, "field": f"{place}, {each['field']}" if row is not None else place})
    if len(error.errors) > SHOWN:
        more = _("and %(count)d more") % {"count": len(error.errors) - SHOWN}
        told.append({"field": more, "code": "more", "fix": _("Mend these first.")})
    return Invalid(str(error), code=error.code, fix=error.fix, errors=told)
