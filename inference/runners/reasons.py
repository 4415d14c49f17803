"""Why a version answered what it answered, as its runner says: a claim, checked for its form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from inference.runner import arrays, wire
from inference.runners import claims, errors
from inference.runners.answers import Facts, RunnerSpec, pack

SCALES = ("probability", "margin", "value")
METHODS = ("linear", "trees", "sampled")


@dataclass(frozen=True)
class Question:
    """Rows, the class of each that is to be explained (its place in `classes`; 0 for numbers), and reference rows."""

    rows: pa.Table
    outputs: Sequence[int]
    background: pa.Table
    seconds: float  # of explaining; what is not done by then stays without reasons

    def to_wire(self, spec: RunnerSpec) -> dict[str, Any]:
        why = {
            "background": pack(self.background, spec.columns),
            "outputs": list(self.outputs),
            "seconds": self.seconds,
        }
        return {"rows": pack(self.rows, spec.columns), "why": why}


@dataclass(frozen=True)
class Reasons:
    """rows × columns, and rows. On `scale`, base + contributions = answer; the rows from `done` on have none."""

    columns: tuple[str, ...]
    contributions: npt.NDArray[Any]
    base: npt.NDArray[Any]
    scale: str
    method: str
    done: int


def key_of(spec: RunnerSpec) -> str:
    """Explaining has a runner of its own, so that it keeps nobody from an answer."""
    return f"{spec.key}-why"


def reply_limit(question: Question, facts: Facts) -> int:
    columns: int = max(len(facts.features or ()), question.rows.num_columns)
    rows: int = question.rows.num_rows
    return (1 << 16) + rows * 8 * (columns + 2) + columns * claims.MAX_TEXT


def read(reply: dict[str, Any], question: Question) -> Reasons:
    """Raises ModelError where there are none, and BadFrame where the reply is not what was asked for."""
    if reply.get("ok") is not True:
        raise errors.unexplained(claims.text(reply.get("code")), claims.text(reply.get("error")))
    columns = tuple(claims.texts(reply.get("columns")))
    if not columns or not set(columns) <= set(question.rows.column_names):
        raise wire.BadFrame("columns that nobody asked about")
    rows, done = question.rows.num_rows, reply.get("done")
    contributions = arrays.unpack(reply.get("contributions"), (rows, len(columns)), "<f8")
    base = arrays.unpack(reply.get("base"), (rows,), "<f8")
    scale, method = reply.get("scale"), reply.get("method")
    if scale not in SCALES or method not in METHODS or type(done) is not int or not 0 <= done <= rows:
        raise wire.BadFrame("scale, method or count of the reasons")
    if not (np.isfinite(contributions).all() and np.isfinite(base).all()):
        raise wire.BadFrame("reasons that are no numbers")
    return Reasons(columns, contributions, base, scale, method, done)
