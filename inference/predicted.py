"""The answers to many rows, by column: on the way to the log and to the caller no row becomes an object of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from inference import runners
from inference.explanations import UNASKED, Why
from inference.log import LoggedRow
from inference.ports import Label
from inference.validation import Checked, RowWarning
from registry.schema import Schema, Target

Chances = Mapping[str, float] | None


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
    """Each sequence has one entry a row; warnings and reasons are by position, where there are any."""

    ids: Sequence[str]
    labels: Sequence[Label | None]
    values: Sequence[float | None]
    probabilities: Sequence[Chances]
    inputs: Sequence[Mapping[str, Any]]
    warnings: Mapping[int, Sequence[RowWarning]]
    whys: Mapping[int, Why]

    @classmethod
    def of(
        cls, schema: Schema, checked: Checked, answer: runners.Answer, ids: Sequence[str]
    ) -> "Predictions":
        classes = [_class(schema.target, each) for each in answer.classes]
        inputs = checked.rows()
        count = len(inputs)
        return cls(
            ids=ids,
            labels=_labels(classes, answer, count),
            values=answer.values.tolist() if answer.values is not None else [None] * count,
            probabilities=_by_class(schema.target, classes, answer, count),
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
        cells = zip(self.ids, self.labels, self.values, self.probabilities, self.inputs, strict=True)
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
                "warnings": [],
                **UNASKED,
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

    def to_log(self) -> list[LoggedRow]:
        logged: list[LoggedRow] = [
            {
                "id": public_id,
                "inputs": inputs,
                "label": label,
                "value": value,
                "probabilities": chances,
                "warnings": [],
            }
            for public_id, inputs, label, value, chances in zip(
                self.ids, self.inputs, self.labels, self.values, self.probabilities, strict=True
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
    target: Target, classes: Sequence[Label], answer: runners.Answer, count: int
) -> Sequence[dict[str, float] | None]:
    """Each row's chances in the schema's order; a class that the schema does not know comes last."""
    if answer.probabilities is None:
        return [None] * count
    columns = {str(each): place for place, each in enumerate(classes)}
    names = list(dict.fromkeys([*map(str, target.classes), *columns]))
    # A class that the model never saw has no column; the zero behind the last one stands for it.
    places = [(name, columns.get(name, len(columns))) for name in names]
    rows = answer.probabilities.tolist()
    if len(names) > len(columns):
        rows = [[*row, 0.0] for row in rows]
    if [place for _name, place in places] == list(range(len(names))):
        return [dict(zip(names, row, strict=True)) for row in rows]
    return [{name: row[place] for name, place in places} for row in rows]
