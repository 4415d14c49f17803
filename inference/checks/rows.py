"""Which rows of the data are asked."""

from typing import Any

import pyarrow as pa

from inference.validation import validate_columns
from registry.schema import Field, Schema


def made_up(schema: Schema) -> pa.Table:
    """Rows for a version without data: its examples, else one row from the middle of what is allowed."""
    rows = [dict(example.inputs) for example in schema.examples] or [
        {each.name: _middle(each) for each in schema.fields}
    ]
    return pa.table({each.name: [row.get(each.name) for row in rows] for each in schema.fields})


def _middle(each: Field) -> Any:
    if each.type in ("category", "text"):
        return each.categories[0] if each.categories else "text"
    if each.type == "boolean":
        return False
    ends = [end for end in (each.min, each.max, each.training.min, each.training.max) if end is not None]
    value = sum(ends) / len(ends) if ends else 0.0
    return round(value) if each.type == "integer" else value


def valid(table: pa.Table, schema: Schema) -> pa.Table:
    """The rows that would be answered, their inputs as every later row's are read, the other columns as they were."""
    checked = validate_columns(schema, table)
    for name in schema.names:
        column = checked.table.column(name)
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    return table.filter(pa.array(checked.valid))
