"""A plan in the making: nodes that turn a row's values into one matrix of numbers, and the arrays that they need.

A transformer is told which columns it is given and says which columns come out. A column of text has no numbers yet:
it remembers its input and what stands for nothing there, until an encoder makes numbers of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from .. import forms

MAX_CELLS = 16_000_000
MAX_WIDTH = 20_000
TEXT_TYPES = ("category", "text")


class NotCompiled(Exception):
    """The runner answers, because …: a sentence that names the step."""


@dataclass(frozen=True)
class Number:
    """A column of a node's matrix."""

    node: int
    place: int


@dataclass(frozen=True)
class Text:
    """An input that is text, and the word that stands where nothing is."""

    input: int
    fill: str | None = None


Column = Number | Text


@dataclass
class Plan:
    inputs: list[tuple[str, str]] = field(default_factory=list)  # name, "number" or "text"
    nodes: list[dict[str, Any]] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    graphs: list[bytes] = field(default_factory=list)
    cells: int = 0

    @classmethod
    def of(cls, inputs: Sequence[tuple[str, str]]) -> tuple["Plan", list[Column]]:
        """An empty plan, and its inputs as columns."""
        plan = cls(list(inputs))
        numbers = [place for place, (_name, kind) in enumerate(inputs) if kind == "number"]
        node = plan.read(numbers) if numbers else -1
        columns: list[Column] = [
            Number(node, numbers.index(place)) if kind == "number" else Text(place)
            for place, (_name, kind) in enumerate(inputs)
        ]
        return plan, columns

    def read(self, inputs: list[int]) -> int:
        return self.node("inputs", len(inputs), columns=self.array(inputs, "<i4"))

    def node(self, op: str, width: int, **fields: Any) -> int:
        if width > MAX_WIDTH:
            raise NotCompiled(f"its {width} columns are more than a compiled form holds")
        self.nodes.append({"op": op, **fields})
        self.widths.append(width)
        return len(self.nodes) - 1

    def array(self, values: Any, dtype: str = "<f8") -> int:
        array = np.ascontiguousarray(np.asarray(values), dtype)
        self.cells += array.size
        if self.cells > MAX_CELLS:
            raise NotCompiled("it is too large for a compiled form")
        self.arrays.append(array)
        return len(self.arrays) - 1

    def columns(self, node: int) -> list[Column]:
        return [Number(node, place) for place in range(self.widths[node])]

    def matrix(self, columns: Sequence[Column]) -> int:
        """The node whose matrix has exactly these columns, in this order."""
        if not columns or not all(isinstance(column, Number) for column in columns):
            raise NotCompiled("it is given text where a compiled form knows numbers only")
        numbers = [column for column in columns if isinstance(column, Number)]
        parts = [
            self._part(node, [column.place for column in run])
            for node, run in groupby(numbers, key=lambda column: column.node)
        ]
        return parts[0] if len(parts) == 1 else self.node("join", len(columns), of=parts)

    def _part(self, node: int, places: list[int]) -> int:
        if places == list(range(self.widths[node])):
            return node
        if self.nodes[node]["op"] == "inputs":
            inputs = self.arrays[self.nodes[node]["columns"]]
            return self.read([int(inputs[place]) for place in places])
        return self.node("take", len(places), of=node, columns=self.array(places, "<i4"))

    def arithmetic(self, how: str, columns: Sequence[Column], values: Any) -> list[Column]:
        """Each column with its number: add, subtract, multiply or divide."""
        node = self.matrix(columns)
        width = self.widths[node]
        values = np.broadcast_to(np.asarray(values, "<f8"), (width,))
        return self.columns(self.node(how, width, of=node, values=self.array(values)))

    def guard(self, columns: Sequence[Column], accepts: str = "nan") -> list[Column]:
        """Where scikit-learn refuses infinite (or missing) numbers, the form declines too."""
        node = self.matrix(columns)
        return self.columns(self.node("guard", self.widths[node], of=node, accepts=accepts))

    def pack(self, model: dict[str, Any], made_with: dict[str, str]) -> bytes:
        plan = {"inputs": [list(each) for each in self.inputs], "nodes": self.nodes, "model": model}
        data = forms.pack(plan, self.arrays, self.graphs, made_with)
        if len(data) > forms.MAX_FORM:
            raise NotCompiled("it is too large for a compiled form")
        return data
