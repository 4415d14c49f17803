"""A plan while it is read: what is there so far, and what a claim may refer to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference.compiled.container import Array, BadForm, Parts
from inference.compiled.sources import Source

#: The values of a source, and the matrices of the nodes before; out comes this node's matrix.
Step = Callable[[Source, list[Array]], Array]


@dataclass
class Reader:
    parts: Parts
    inputs: Sequence[tuple[str, str]]
    widths: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _reads: list[frozenset[int]] = field(default_factory=list)
    _touched: set[int] = field(default_factory=set)

    def add(self, width: int, step: Step) -> None:
        self.widths.append(width)
        self.steps.append(step)
        self._reads.append(frozenset(self._touched))
        self._touched.clear()

    def needed_for(self, last: int) -> list[int]:
        """The nodes that this one is made of, and itself, in order; a plan may hold more than it uses."""
        found, todo = {last}, [last]
        while todo:
            more = self._reads[todo.pop()] - found
            found |= more
            todo += more
        return sorted(found)

    def before(self, ref: object) -> int:
        """A node that was read already: so no plan can loop."""
        if type(ref) is not int or not 0 <= ref < len(self.widths):
            raise BadForm("a node that is not there yet")
        self._touched.add(ref)
        return ref

    def name(self, place: object, kind: str) -> str:
        if type(place) is not int or not 0 <= place < len(self.inputs) or self.inputs[place][1] != kind:
            raise BadForm("input")
        return self.inputs[place][0]

    def mappings(self, claims: object) -> list[dict[str, Any]]:
        if not isinstance(claims, list) or not claims or not all(isinstance(each, dict) for each in claims):
            raise BadForm("tables")
        return claims
