"""Whether schema, model and reference data speak of the same columns and classes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from django.utils.translation import gettext as _

from inference.checks.outcome import Problem
from inference.runners import Facts
from inference.validation import validate_columns
from registry.errors import FieldError
from registry.schema import Field, Label, Schema

ODD_SHARE = 0.05


def compare_features(facts: Facts, schema: Schema) -> list[str]:
    names = list(schema.names)
    if facts.feeds == "text":
        if len(names) != 1:
            raise Problem(
                _("The model reads one column of text; the schema has %(count)d fields.")
                % {"count": len(names)}
            )
        return []
    if facts.features is None:
        if facts.feature_count is not None and facts.feature_count != len(names):
            raise Problem(
                _(
                    "The model was trained on %(model)d columns without names; the schema has %(schema)d fields."
                )
                % {"model": facts.feature_count, "schema": len(names)}
            )
        return [_("The model knows no column names: the schema's order is the order of its columns.")]
    missing = [name for name in facts.features if name not in names]
    if missing:
        raise Problem(
            _("The model was trained with columns that the schema lacks: %(names)s. Add them to the schema.")
            % {"names": ", ".join(missing[:20])}
        )
    for each in schema.fields:
        _compare_encoder(each, facts.encoded.get(each.name, ""))
    unused = [name for name in names if name not in facts.features]
    return [_("The model does not use: %(names)s.") % {"names": ", ".join(unused)}] if unused else []


def _compare_encoder(each: Field, learned: str) -> None:
    """To an encoder that learned 1 and 2, the text “1” is unknown, and it would not even say so."""
    is_text = each.type in ("category", "text")
    if learned == "number" and is_text:
        raise Problem(
            _(
                "Column %(name)s: the model learned numbers as its categories, but the schema says %(type)s. "
                "Make it an integer or a number."
            )
            % {"name": each.name, "type": each.type}
        )
    if learned == "text" and each.is_numeric:
        raise Problem(
            _(
                "Column %(name)s: the model learned words as its categories, but the schema says %(type)s. "
                "Make it a category."
            )
            % {"name": each.name, "type": each.type}
        )


def compare_classes(model: Sequence[Label], schema: Sequence[Label]) -> None:
    if {(type(label), label) for label in model} == {(type(label), label) for label in schema}:
        return
    raise Problem(
        _("The model answers %(model)s; the schema says %(schema)s. Correct the classes in the schema.")
        % {"model": _shown(model), "schema": _shown(schema)}
    )


def _shown(labels: Sequence[Label]) -> str:
    words = ", ".join(repr(label) for label in labels[:10])
    return f"{words}, …" if len(labels) > 10 else words or "—"


def compare_reference(reference: pa.Table, schema: Schema) -> list[str]:
    """Judge the reference by the very rules that every later row meets; a few odd rows are only noted."""
    missing = [name for name in schema.names if name not in reference.column_names]
    if missing:
        raise Problem(
            _("The reference data lacks columns of the schema: %(names)s.")
            % {"names": ", ".join(missing[:20])}
        )
    checked = validate_columns(schema, reference)
    bad = int(np.count_nonzero(~checked.valid))
    log = [_explained(error) for error in checked.errors[:20]]
    if bad > ODD_SHARE * reference.num_rows:
        raise Problem(
            _(
                "%(bad)d of %(count)d reference rows do not fit the schema. Correct its types and limits: %(first)s"
            )
            % {"bad": bad, "count": reference.num_rows, "first": log[0]},
            *log,
        )
    return log


def _explained(error: FieldError) -> str:
    row = error.get("row")
    place = (
        error["field"]
        if row is None
        else _("%(field)s in row %(row)d") % {"field": error["field"], "row": row + 1}
    )
    return f"{place}: {error.get('value', '')!r} → {error.get('expected', '')}"
