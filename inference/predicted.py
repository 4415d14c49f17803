"""The answers to many rows, by column: on the way to the log and to the caller no row becomes an object of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from inference import runners
from inference.explanations import UNASKED, Why
from inference.logged import Logged, LoggedColumns, LoggedRow
from inference.ports import Label
from inference.validation import Checked, Columns, RowWarning, by_row
from registry.schema import Schema, Target

Chances = Mapping[str, float] | None

#: What an answer says of a row where nothing more is known.
_PLAIN: Mapping[str, Any] = {"warnings": [], **UNASKED}


class PredictedRow(NamedTuple):
    """The answer to one row. `value` is the positive class's probability (binary), or the regression."""

    id: str
    label: Label | None
    value: float | None
    probabilities: Chances
    inputs: Mapping[str, Any]
    warnings: Sequence[RowWarning]
    why: Why | None


@dataclass(frozen=True)
class Predictions:
    """Each sequence has one entry a row; warnings and reasons are by position, where there are any.

    Inputs are by column if they were judged so: many rows. `by_class` has the probabilities by column.
    """

    ids: Sequence[str]
    labels: Sequence[Label | None]
    values: Sequence[float | None]
    probabilities: Sequence[Chances]
    by_class: Mapping[str, Sequence[float]] | None
    inputs: Sequence[Mapping[str, Any]] | Columns
    warnings: Mapping[int, Sequence[RowWarning]]
    whys: Mapping[int, Why]

    @classmethod
    def of(
        cls, schema: Schema, checked: Checked, answer: runners.Answer, ids: Sequence[str]
    ) -> "Predictions":
        classes = [_class(schema.target, each) for each in answer.classes]
        inputs = checked.given if isinstance(checked.given, Columns) else checked.rows()
        count = len(inputs)
        chances = _by_class(schema.target, classes, answer)
        return cls(
            ids=ids,
            labels=_labels(classes, answer, count),
            values=answer.values.tolist() if answer.values is not None else [None] * count,
            probabilities=[None] * count if chances is None else by_row(chances),
            by_class=chances,
            inputs=inputs,
            warnings=checked.warnings,
            whys={},
        )

    def explained(self, found: Iterable[Why | RowWarning]) -> "Predictions":
        """With each row's reasons, or the warning that stands in their place."""
        whys, warnings = {}, dict(self.warnings)
        for position, each in enumerate(found):
            if isinstance(each, Why):
                whys[position] = each
            else:
                warnings[position] = [*warnings.get(position, ()), each]
        return replace(self, warnings=warnings, whys=whys)

    def rows(self) -> list[PredictedRow]:
        inputs = self.inputs.rows if isinstance(self.inputs, Columns) else self.inputs
        cells = zip(self.ids, self.labels, self.values, self.probabilities, inputs, strict=True)
        return [
            PredictedRow(*each, self.warnings.get(position, ()), self.whys.get(position))
            for position, each in enumerate(cells)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = [
            {
                "id": public_id,
                "label": label,
                "value": value,
                "probabilities": chances,
                **_PLAIN,
            }
            for public_id, label, value, chances in zip(
                self.ids, self.labels, self.values, self.probabilities, strict=True
            )
        ]
        for position, warnings in self.warnings.items():
            told[position]["warnings"] = [each.to_json() for each in warnings]
        for position, why in self.whys.items():
            told[position].update(why.to_json())
        return told

    def to_log(self) -> Logged:
        if isinstance(self.inputs, Columns):
            return self._logged_columns(self.inputs)
        return self._logged_rows(self.inputs)

    def _logged_columns(self, inputs: Columns) -> LoggedColumns:
        cells = (self.ids, self.labels, self.values, self.probabilities)
        if {len(inputs)} != set(map(len, cells)):
            raise ValueError("columns of different lengths: nobody could read them back")
        return {
            "id": self.ids,
            "inputs": inputs.values,
            "label": self.labels,
            "value": self.values,
            "probabilities": self.by_class,
            "warnings": {
                str(place): [each.to_json() for each in some] for place, some in self.warnings.items()
            },
            "why": {str(place): why.to_json() for place, why in self.whys.items()},
        }

    def _logged_rows(self, inputs: Sequence[Mapping[str, Any]]) -> list[LoggedRow]:
        logged: list[LoggedRow] = [
            {
                "id": public_id,
                "inputs": row,
                "label": label,
                "value": value,
                "probabilities": chances,
                "warnings": [],
            }
            for public_id, row, label, value, chances in zip(
                self.ids, inputs, self.labels, self.values, self.probabilities, strict=True
            )
        ]
        for position, warnings in self.warnings.items():
            logged[position]["warnings"] = [each.to_json() for each in warnings]
        for position, why in self.whys.items():
            logged[position]["why"] = why.to_json()
        return logged


def _class(target: Target, label: Label) -> Label:
    """The schema's own spelling of a class, which keeps its JSON type."""
    known = target.class_of(label)
    return label if known is None else known


def _labels(classes: Sequence[Label], answer: runners.Answer, count: int) -> Sequence[Label | None]:
    if answer.indices is None:
        return [None] * count
    return [classes[index] for index in answer.indices.tolist()]


def _by_class(
    target: Target, classes: Sequence[Label], answer: runners.Answer
) -> dict[str, list[float]] | None:
    """The chances of all rows in the schema's order; a class that the schema does not know comes last."""
    if answer.probabilities is None:
        return None
    count = len(answer.probabilities)
    columns = dict(zip(map(str, classes), answer.probabilities.T.tolist(), strict=True))
    # A class that the model never saw has no column.
    known = {name: columns.get(name) or [0.0] * count for name in map(str, target.classes)}
    return {**known, **columns}
