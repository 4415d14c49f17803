"""The answers to the rows of a chunk, whatever number of questions it took, in the words of the version's schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.runners import Answer
from registry.schema import Label, Schema


@dataclass(frozen=True)
class Answers:
    """One answer per row; `classes` is empty for a regression."""

    classes: tuple[Label, ...]
    indices: npt.NDArray[Any]  # of each row's label in `classes`; empty for a regression
    values: list[float | None]
    probabilities: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def labels(self) -> list[Label | None]:
        if not self.classes:
            return [None] * len(self)
        return [self.classes[index] for index in self.indices.tolist()]

    def label_texts(self) -> list[str | None]:
        texts = [str(label) for label in self.classes]
        return [texts[index] for index in self.indices.tolist()] if texts else [None] * len(self)

    @classmethod
    def joined(cls, answers: Sequence[Answer], schema: Schema) -> "Answers":
        """Put the answers to consecutive blocks together."""
        if schema.target.task == "regression":
            values = [value for each in answers for value in _numbers(each)]
            return cls((), np.empty(0, dtype=np.int64), values, None)
        classes = _in_schema_words(answers[0].classes, schema) if answers else schema.target.classes
        indices = [each.indices for each in answers if each.indices is not None]
        probabilities = [each.probabilities for each in answers if each.probabilities is not None]
        return cls(
            classes,
            np.concatenate(indices) if indices else np.empty(0, dtype=np.int64),
            [value for each in answers for value in _numbers(each)],
            np.concatenate(probabilities) if probabilities and len(probabilities) == len(answers) else None,
        )


def _numbers(answer: Answer) -> list[float | None]:
    if answer.values is not None:
        values: list[float | None] = answer.values.tolist()
        return values
    return [None] * (0 if answer.indices is None else len(answer.indices))


def _in_schema_words(classes: Sequence[Label], schema: Schema) -> tuple[Label, ...]:
    """The runner's classes, each as the schema writes it."""
    known = [schema.target.class_of(each) for each in classes]
    return tuple(each if found is None else found for each, found in zip(classes, known, strict=True))
