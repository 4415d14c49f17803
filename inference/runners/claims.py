"""Values out of a runner's reply: each is a claim, checked for its form and cut to size."""

import math
from typing import Any

from inference.runner.wire import BadFrame
from registry.schema import Label

MAX_CLASSES = 10_000
MAX_TEXT = 1_000


def labels(claim: Any) -> tuple[Label, ...]:
    if claim is None:
        return ()
    if not isinstance(claim, list) or len(claim) > MAX_CLASSES:
        raise BadFrame("classes")
    if not all(type(label) in (str, int, bool, float) and len(str(label)) <= MAX_TEXT for label in claim):
        raise BadFrame("classes")
    return tuple(claim)


def texts(claim: Any) -> list[str]:
    if claim is None:
        return []
    if not isinstance(claim, list) or len(claim) > MAX_CLASSES:
        raise BadFrame("texts")
    return [text(each) for each in claim]


def words(claim: Any, most: int = 50) -> dict[str, str]:
    if not isinstance(claim, dict) or len(claim) > most:
        return {}
    return {text(key)[:MAX_TEXT]: text(value)[:300] for key, value in claim.items()}


def text(claim: Any) -> str:
    """A text that was written elsewhere: short, and without anything that moves a cursor."""
    given = claim[: 2 * MAX_TEXT] if isinstance(claim, str) else ""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in given)


def seconds(claim: Any) -> float:
    return float(claim) if isinstance(claim, float) and math.isfinite(claim) and claim >= 0 else 0.0
